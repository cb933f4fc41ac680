//! What kept spans are written to.

use tonic::Status;

use super::batch::Batch;

/// Writes batches. A call ends within a time of its own; it may be made again with the same batch.
pub trait Sink: Send + Sync + 'static {
    /// Writes all spans of the batch, or none of them.
    ///
    /// # Errors
    /// The sink's own status, or one for what went wrong on the way to it; [`super::retry`] says what each asks for.
    fn write(&self, batch: &Batch) -> impl Future<Output = Result<(), Status>> + Send;
}
