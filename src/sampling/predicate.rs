//! Span predicates: each that a policy needs is one bit, set while the span's bytes are scanned.

use crate::condition::Condition;
use crate::otlp::scan::{Bits, Probe};
use crate::otlp::view::{AnyValue, StatusCode};

/// The predicates of all policies, each with its bit.
#[derive(Clone, Debug, Default)]
pub(super) struct Predicates {
    all: Vec<Condition>,
}

impl Predicates {
    /// The bit of `condition`; `None` if there are more conditions than bits. Equal conditions share one.
    pub(super) fn bit(&mut self, condition: &Condition) -> Option<Bits> {
        let index = self.all.iter().position(|p| p == condition).unwrap_or(self.all.len());
        let bit = (1 as Bits).checked_shl(index as u32)?;
        if index == self.all.len() {
            self.all.push(condition.clone());
        }
        Some(bit)
    }
}

impl Probe for Predicates {
    #[inline]
    fn resource_attribute(&self, _key: &[u8], _value: AnyValue<'_>) -> Bits {
        todo!()
    }

    #[inline]
    fn span_attribute(&self, _key: &[u8], _value: AnyValue<'_>) -> Bits {
        todo!()
    }

    #[inline]
    fn status(&self, _code: StatusCode) -> Bits {
        todo!()
    }
}
