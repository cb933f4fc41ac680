//! The checks of a field's value, and where to find them while attributes stream by.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::notes::Notes;
use crate::condition::{Check, Field};
use crate::otlp::view::AnyValue;

/// The checks of one value, each with the notes that it proves.
#[derive(Clone, Debug, Default)]
struct ValueChecks {
    /// What each string proves that some [`Check::OneOf`] names: one look-up for all of them.
    strings: HashMap<Box<[u8]>, Notes, FixedState>,
    others: Vec<(Check, Notes)>,
}

impl ValueChecks {
    fn add(&mut self, check: &Check, proven: Notes) {
        if let Check::OneOf(texts) = check {
            for text in texts {
                *self.strings.entry(text.as_bytes().into()).or_default() |= proven;
            }
        } else if let Some((_, notes)) = self.others.iter_mut().find(|(known, _)| known == check) {
            *notes |= proven;
        } else {
            self.others.push((check.clone(), proven));
        }
    }

    #[inline]
    fn note(&self, value: AnyValue<'_>, notes: &mut Notes) {
        if let AnyValue::String(text) = value
            && let Some(&proven) = self.strings.get(text)
        {
            *notes |= proven;
        }
        for (check, proven) in &self.others {
            if check.passes(value) {
                *notes |= *proven;
            }
        }
    }
}

/// The checks of attributes, by key.
#[derive(Clone, Debug, Default)]
pub(super) struct AttributeChecks {
    /// Bit `n` is set if a key of `n` bytes is asked for: most attributes are passed by on their length alone.
    key_lengths: u64,
    by_key: HashMap<Box<[u8]>, ValueChecks, FixedState>,
}

impl AttributeChecks {
    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub(super) fn add(&mut self, key: &str, check: &Check, proven: Notes) {
        self.key_lengths |= length_bit(key.len());
        self.by_key.entry(key.as_bytes().into()).or_default().add(check, proven);
    }

    #[inline]
    pub(super) fn note(&self, key: &[u8], value: AnyValue<'_>, notes: &mut Notes) {
        if self.key_lengths & length_bit(key.len()) != 0
            && let Some(checks) = self.by_key.get(key)
        {
            checks.note(value, notes);
        }
    }
}

/// Keys of 63 bytes and more share a bit.
#[inline]
fn length_bit(len: usize) -> u64 {
    1 << len.min(63)
}

/// The checks of what is no attribute.
#[derive(Clone, Debug, Default)]
pub(super) struct FieldChecks(Vec<(Field, ValueChecks)>);

impl FieldChecks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, field: &Field, check: &Check, proven: Notes) {
        match self.0.iter_mut().find(|(known, _)| known == field) {
            Some((_, checks)) => checks.add(check, proven),
            None => {
                let mut checks = ValueChecks::default();
                checks.add(check, proven);
                self.0.push((field.clone(), checks));
            }
        }
    }

    #[inline]
    pub(super) fn note<'a>(&self, value_of: impl Fn(&Field) -> AnyValue<'a>, notes: &mut Notes) {
        for (field, checks) in &self.0 {
            checks.note(value_of(field), notes);
        }
    }
}
