//! The client of OTLP over gRPC: batches whose bytes exist already.

use std::sync::Arc;

use super::encode::{Encoder, Origin};
use crate::export::batch::{Form, Place};
use crate::export::sink::EncodeSpans;
use crate::otlp::wire::WireError;
use crate::sampling::Keep;
use crate::tail::request::SpanBytes;

impl EncodeSpans for Encoder {
    const FORM: Form = Form::Otlp;
    type Origin = Arc<Origin>;
    type Error = WireError;

    fn origin(&mut self, span: SpanBytes<'_>) -> Self::Origin {
        self.origin(span)
    }

    fn place(origin: &Self::Origin) -> Place<'_> {
        Place { project: origin.project(), resource: origin.resource(), head: origin.scope() }
    }

    fn span(
        &mut self,
        _: &Self::Origin,
        span: SpanBytes<'_>,
        keep: Keep,
        out: &mut Vec<u8>,
    ) -> Result<(), Self::Error> {
        self.span(span.span, keep, out)
    }
}
