//! The health service grpc.health.v1 (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>) of the
//! embedded Cloud Trace. Its status is always SERVING.

use std::pin::Pin;

use tonic::codegen::tokio_stream::{self, Stream};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{self, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// The beginning of the health service's paths.
pub(super) const PREFIX: &str = "/grpc.health.v1.Health/";

/// The service names with a health status: the whole process (empty), and the service that accepts spans.
const SERVICES: [&str; 2] = ["", "google.devtools.cloudtrace.v2.TraceService"];

/// Maximum bytes of a health request. A request has only a service name, which is far shorter.
const REQUEST_BYTES_MAX: usize = 4 << 10;

/// The implementation of the health service.
#[derive(Clone, Copy, Debug)]
pub(super) struct EmulatorHealth;

impl EmulatorHealth {
    /// Returns the service in the form that hyper can serve.
    pub(super) fn server() -> HealthServer<Self> {
        HealthServer::new(EmulatorHealth).max_decoding_message_size(REQUEST_BYTES_MAX)
    }
}

fn status(request: &Request<HealthCheckRequest>) -> Option<HealthCheckResponse> {
    let is_known = SERVICES.contains(&request.get_ref().service.as_str());
    is_known.then(|| HealthCheckResponse { status: ServingStatus::Serving.into() })
}

#[tonic::async_trait]
impl health_server::Health for EmulatorHealth {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        status(&request).map(Response::new).ok_or_else(|| Status::not_found("no such service"))
    }

    /// Streams the status. It never changes: the stream sends it once, and ends with the connection.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
        let now = tokio_stream::once(Ok(status(&request).unwrap_or(unknown)));
        Ok(Response::new(Box::pin(tokio_stream::StreamExt::chain(now, tokio_stream::pending()))))
    }
}
