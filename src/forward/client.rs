//! The client of OTLP over gRPC: batches whose bytes exist already.

use std::sync::Arc;

use super::encode::{EncodeError, Encoder, Origin};
use crate::export::batch::{Form, Place};
use crate::export::ledger::DropReason;
use crate::export::sink::EncodeSpans;
use crate::sampling::Keep;
use crate::tail::request::SpanBytes;

impl EncodeSpans for Encoder {
    const FORM: Form = Form::Otlp;
    type Origin = Arc<Origin>;
    type Error = EncodeError;

    fn origin(&mut self, span: SpanBytes<'_>) -> Self::Origin {
        self.origin(span)
    }

    fn place(origin: &Self::Origin) -> Place<'_> {
        Place { project: origin.project(), resource: origin.resource(), head: origin.scope() }
    }

    fn span(
        &mut self,
        origin: &Self::Origin,
        span: SpanBytes<'_>,
        keep: Keep,
        out: &mut Vec<u8>,
    ) -> Result<(), Self::Error> {
        self.span(origin, span.span, keep, out)
    }

    fn drop_reason(error: &Self::Error) -> DropReason {
        match error {
            EncodeError::Project(_) => DropReason::Project,
            EncodeError::Wire(_) => DropReason::Encode,
        }
    }
}
