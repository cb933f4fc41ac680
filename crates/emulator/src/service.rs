//! The service `google.devtools.cloudtrace.v2.TraceService` and its gRPC interface.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tonic::{Request, Response, Status};

use super::check::{self, ValidationError};
use super::store::TraceStore;
use crate::proto::google::devtools::cloudtrace::v2::trace_service_server::{TraceService, TraceServiceServer};
use crate::proto::google::devtools::cloudtrace::v2::{BatchWriteSpansRequest, Span};

/// Maximum bytes of a call. Google documents no limit; this one is far above `export.batch.max_bytes`.
pub const CALL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The service, which checks spans and writes them to the store.
#[derive(Clone, Debug)]
pub struct EmulatorService {
    store: Arc<TraceStore>,
}

impl EmulatorService {
    /// Returns a service that writes to `store`.
    #[must_use]
    pub fn new(store: Arc<TraceStore>) -> Self {
        EmulatorService { store }
    }

    /// Returns the service in the form that hyper can serve over gRPC.
    #[must_use]
    pub fn server(self) -> TraceServiceServer<Self> {
        TraceServiceServer::new(self).max_decoding_message_size(CALL_BYTES_MAX)
    }

    /// `BatchWriteSpans`: stores all spans or none.
    ///
    /// # Errors
    /// Returns the first violation, and counts the call as refused.
    pub fn batch_write(&self, request: BatchWriteSpansRequest) -> Result<(), ValidationError> {
        let spans = check::batch(request, now_unix_nano()).inspect_err(|violation| self.store.refuse(violation))?;
        self.store.write(&spans);
        Ok(())
    }

    /// `CreateSpan`: stores the span and returns it.
    ///
    /// # Errors
    /// Returns the first violation, and counts the call as refused.
    pub fn create(&self, span: Span) -> Result<Span, ValidationError> {
        let span = check::single(span, now_unix_nano()).inspect_err(|violation| self.store.refuse(violation))?;
        self.store.write(std::slice::from_ref(&span));
        Ok(span.span)
    }
}

fn refusal(violation: &ValidationError) -> Status {
    Status::invalid_argument(violation.to_string())
}

/// Returns nanoseconds since 1970; 0 if the clock shows an earlier time.
fn now_unix_nano() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i64
}

#[tonic::async_trait]
impl TraceService for EmulatorService {
    async fn batch_write_spans(&self, request: Request<BatchWriteSpansRequest>) -> Result<Response<()>, Status> {
        self.batch_write(request.into_inner()).map(Response::new).map_err(|violation| refusal(&violation))
    }

    async fn create_span(&self, request: Request<Span>) -> Result<Response<Span>, Status> {
        self.create(request.into_inner()).map(Response::new).map_err(|violation| refusal(&violation))
    }
}
