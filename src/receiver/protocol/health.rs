//! The gRPC health service grpc.health.v1 over [`Health`]
//! (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Response;
use prost::Message;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tonic::codegen::tokio_stream::Stream;
use tonic::{Request, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{self, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::grpc;
use super::reply::ReplyBody;
use crate::receiver::admission::places::{Place, Places};
use crate::receiver::transport::connection::Connection;
use crate::telemetry::Health;

/// Prefix of the paths of the health service.
pub(super) const PREFIX: &str = "/grpc.health.v1.Health/";

/// Method that lists the health of all services. tonic's health service does not have it.
pub(super) const LIST: &str = "/grpc.health.v1.Health/List";

/// Method whose answer goes on until the caller or the process ends it.
pub(super) const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Services with a health status: the process, and the service that receives spans.
const SERVICES: [&str; 2] = ["", "opentelemetry.proto.collector.trace.v1.TraceService"];

/// Time between two checks of a watched service: well below the seconds in which a load balancer reacts.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Largest size of a health request in bytes. A request names one service and is far smaller.
const REQUEST_BYTES_MAX: usize = 4 << 10;

/// Largest number of concurrent watches. A load balancer has at most one for each connection. Each costs a few KiB.
const WATCHES_MAX: usize = 1024;

/// tonic's server of the health service.
pub(super) type GrpcHealthServer = HealthServer<HealthService>;

pub(in crate::receiver) fn server(health: Arc<Health>) -> GrpcHealthServer {
    HealthServer::new(HealthService::new(health)).max_decoding_message_size(REQUEST_BYTES_MAX)
}

#[derive(Debug)]
pub(in crate::receiver) struct HealthService {
    health: Arc<Health>,
    watches: Arc<Places>,
}

impl HealthService {
    fn new(health: Arc<Health>) -> Self {
        HealthService { health, watches: Places::new(WATCHES_MAX) }
    }
}

fn status(health: &Health) -> ServingStatus {
    if health.is_ready() { ServingStatus::Serving } else { ServingStatus::NotServing }
}

/// Answer to [`LIST`] (grpc.health.v1 `HealthListResponse`).
#[derive(Clone, PartialEq, prost::Message)]
struct Listed {
    #[prost(btree_map = "string, message", tag = "1")]
    statuses: BTreeMap<String, HealthCheckResponse>,
}

/// Answers [`LIST`]. The request is an empty message, so it is not read.
pub(super) fn list(health: &Health) -> Response<ReplyBody> {
    let answer = HealthCheckResponse { status: status(health).into() };
    let listed = Listed { statuses: SERVICES.map(|service| (service.to_owned(), answer)).into() };
    grpc::message(&listed.encode_to_vec())
}

#[tonic::async_trait]
impl health_server::Health for HealthService {
    type WatchStream = Watch;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        if !SERVICES.contains(&request.get_ref().service.as_str()) {
            return Err(Status::not_found("no such service"));
        }
        Ok(tonic::Response::new(HealthCheckResponse { status: status(&self.health).into() }))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<tonic::Response<Watch>, Status> {
        // The router puts the connection there.
        let connection = request.extensions().get::<Arc<Connection>>();
        let place = connection.and_then(|connection| self.watches.take(connection));
        let place = place.ok_or_else(|| Status::resource_exhausted("too many watches"))?;
        let mut ticks = interval(WATCH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let known = SERVICES.contains(&request.get_ref().service.as_str());
        Ok(tonic::Response::new(Watch { health: Arc::clone(&self.health), known, ticks, last: None, _place: place }))
    }
}

/// Stream with the status of a service now and after each change. It ends when the process stops, so that it keeps no
/// connection open.
#[derive(Debug)]
pub(in crate::receiver) struct Watch {
    health: Arc<Health>,
    known: bool,
    ticks: Interval,
    last: Option<ServingStatus>,
    _place: Place,
}

impl Stream for Watch {
    type Item = Result<HealthCheckResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let stopping = self.health.is_stopping();
            let now = if self.known { status(&self.health) } else { ServingStatus::ServiceUnknown };
            if self.last.replace(now) != Some(now) {
                return Poll::Ready(Some(Ok(HealthCheckResponse { status: now.into() })));
            }
            if stopping {
                return Poll::Ready(None);
            }
            ready!(self.ticks.poll_tick(cx));
        }
    }
}

#[cfg(test)]
mod tests;
