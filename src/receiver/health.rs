//! grpc.health.v1 (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>) over [`Health`].

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Response;
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tonic::codegen::tokio_stream::Stream;
use tonic::{Request, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{self, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::grpc;
use super::reply::ReplyBody;
use crate::telemetry::Health;

/// Paths of the health service begin so.
pub(super) const PREFIX: &str = "/grpc.health.v1.Health/";

/// The method that names the health of all services, which tonic's service does not have.
pub(super) const LIST: &str = "/grpc.health.v1.Health/List";

/// The method whose answer goes on until the caller or the process ends it.
pub(super) const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// The services that have a health: the process, and the one that takes spans.
const SERVICES: [&str; 2] = ["", "opentelemetry.proto.collector.trace.v1.TraceService"];

/// How often a watched health is looked at: well under the seconds in which a load balancer reacts.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// A health request names a service: far less than this.
const REQUEST_BYTES_MAX: usize = 4 << 10;

/// Watches at once: a load balancer has one for each connection at most; each costs some KiB.
const WATCHES_MAX: usize = 1024;

/// The health service as tonic serves it.
pub(super) type Server = HealthServer<HealthService>;

pub(super) fn server(health: Arc<Health>) -> Server {
    HealthServer::new(HealthService::new(health)).max_decoding_message_size(REQUEST_BYTES_MAX)
}

#[derive(Debug)]
pub(super) struct HealthService {
    health: Arc<Health>,
    watches: Arc<Semaphore>,
}

impl HealthService {
    fn new(health: Arc<Health>) -> Self {
        HealthService { health, watches: Arc::new(Semaphore::new(WATCHES_MAX)) }
    }
}

fn status(health: &Health) -> ServingStatus {
    if health.is_ready() { ServingStatus::Serving } else { ServingStatus::NotServing }
}

/// The answer of [`LIST`] (grpc.health.v1 `HealthListResponse`).
#[derive(Clone, PartialEq, prost::Message)]
struct Listed {
    #[prost(btree_map = "string, message", tag = "1")]
    statuses: BTreeMap<String, HealthCheckResponse>,
}

/// Answers [`LIST`]. Its request is an empty message, which need not be read.
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
        let watches = Arc::clone(&self.watches);
        let place = watches.try_acquire_owned().map_err(|_| Status::resource_exhausted("too many watches"))?;
        let mut ticks = interval(WATCH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let known = SERVICES.contains(&request.get_ref().service.as_str());
        Ok(tonic::Response::new(Watch { health: Arc::clone(&self.health), known, ticks, last: None, _place: place }))
    }
}

/// The status of a service now and whenever it changes. It ends with the process' stop, so that no connection is
/// kept open by it.
#[derive(Debug)]
pub(super) struct Watch {
    health: Arc<Health>,
    known: bool,
    ticks: Interval,
    last: Option<ServingStatus>,
    _place: OwnedSemaphorePermit,
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
