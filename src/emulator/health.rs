//! grpc.health.v1 (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>) of the embedded Cloud Trace: it
//! serves for as long as it answers.

use std::pin::Pin;

use tonic::codegen::tokio_stream::{self, Stream};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{self, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// Paths of the health service begin so.
pub(super) const PREFIX: &str = "/grpc.health.v1.Health/";

/// The services that have a health: the process, and the one that takes spans.
const SERVICES: [&str; 2] = ["", "google.devtools.cloudtrace.v2.TraceService"];

/// A health request names a service: far less than this.
const REQUEST_BYTES_MAX: usize = 4 << 10;

/// The health service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Health;

impl Health {
    /// The service as hyper can serve it.
    pub(super) fn server() -> HealthServer<Self> {
        HealthServer::new(Health).max_decoding_message_size(REQUEST_BYTES_MAX)
    }
}

fn status(request: &Request<HealthCheckRequest>) -> Option<HealthCheckResponse> {
    let is_known = SERVICES.contains(&request.get_ref().service.as_str());
    is_known.then(|| HealthCheckResponse { status: ServingStatus::Serving.into() })
}

#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        status(&request).map(Response::new).ok_or_else(|| Status::not_found("no such service"))
    }

    /// The status does not change: the stream has it once, and ends with the connection.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
        let now = tokio_stream::once(Ok(status(&request).unwrap_or(unknown)));
        Ok(Response::new(Box::pin(tokio_stream::StreamExt::chain(now, tokio_stream::pending()))))
    }
}
