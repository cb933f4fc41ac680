//! The gRPC service `google.devtools.cloudtrace.v2.TraceService`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tonic::{Request, Response, Status};

use super::check::{self, Violation};
use super::store::Store;
use crate::proto::google::devtools::cloudtrace::v2::trace_service_server::{TraceService, TraceServiceServer};
use crate::proto::google::devtools::cloudtrace::v2::{BatchWriteSpansRequest, Span};

/// Bytes of one call. Google documents no limit; this one is far above `cloud_trace.batch.max_bytes`.
pub const CALL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Checks what is written and puts it into the store.
#[derive(Clone, Debug)]
pub struct Service {
    store: Arc<Store>,
}

impl Service {
    /// The service as hyper can serve it.
    #[must_use]
    pub fn server(store: Arc<Store>) -> TraceServiceServer<Self> {
        TraceServiceServer::new(Service { store }).max_decoding_message_size(CALL_BYTES_MAX)
    }

    fn refuse(&self, violation: &Violation) -> Status {
        self.store.refuse(violation);
        Status::invalid_argument(violation.to_string())
    }
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn batch_write_spans(&self, request: Request<BatchWriteSpansRequest>) -> Result<Response<()>, Status> {
        let spans = check::batch(request.into_inner(), now_ns()).map_err(|violation| self.refuse(&violation))?;
        self.store.write(&spans);
        Ok(Response::new(()))
    }

    async fn create_span(&self, request: Request<Span>) -> Result<Response<Span>, Status> {
        let span = check::single(request.into_inner(), now_ns()).map_err(|violation| self.refuse(&violation))?;
        self.store.write(std::slice::from_ref(&span));
        Ok(Response::new(span.span))
    }
}

/// Nanoseconds since the epoch; 0 on a machine whose clock stands before it.
fn now_ns() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}
