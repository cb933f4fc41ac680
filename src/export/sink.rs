//! What kept spans are written to.

use std::fmt::Display;
use std::sync::Arc;

use tonic::Status;

use super::batch::Batch;
use crate::sampling::Keep;
use crate::tail::request::SpanBytes;

/// Writes batches. A call ends within a time of its own; it may be made again with the same batch.
pub trait Sink: Send + Sync + 'static {
    /// Writes all spans of the batch, or none of them.
    ///
    /// # Errors
    /// The sink's own status, or one for what went wrong on the way to it; [`super::retry`] says what each asks for.
    fn write(&self, batch: &Batch) -> impl Future<Output = Result<(), Status>> + Send;

    /// The account that its calls are made as, if that is known: for the log, to say what to grant to whom.
    fn identity(&self) -> Option<String> {
        None
    }
}

/// Makes a sink's spans of OTLP spans.
pub trait EncodeSpans: Send + 'static {
    /// An encoded resource; cheap to have again for the same bytes.
    type Resource: Send;
    /// Why a span cannot be encoded; says nothing of what it contains.
    type Error: Display;

    /// Encodes an OTLP `Resource`.
    fn resource(&mut self, resource: &[u8]) -> Self::Resource;

    /// The project that the spans of a resource belong to.
    fn project(resource: &Self::Resource) -> &Arc<str>;

    /// Appends the span as a record of `BatchWriteSpansRequest.spans`, with its key and length.
    ///
    /// # Errors
    /// The span cannot be encoded; what was appended is to be thrown away.
    fn span(
        &mut self,
        resource: &Self::Resource,
        span: SpanBytes<'_>,
        keep: Keep,
        out: &mut Vec<u8>,
    ) -> Result<(), Self::Error>;
}
