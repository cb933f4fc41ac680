//! Sends the spans of the shop's visits as five services would: one OTLP/gRPC request for each service, a few times a
//! second.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use super::shop::{self, SERVICES, Sent, Storage, Visit};
use crate::clock;

/// The interval at which each service exports.
pub(super) const TICK: Duration = Duration::from_millis(200);
/// The visits of people and of the scraper in each tick: together 300 traces a second.
const VISITS: usize = 12;
const SCRAPES: usize = 48;

const EXPORT: PathAndQuery = PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");

/// The exporters of the shop.
pub(super) struct Player {
    client: tonic::client::Grpc<Channel>,
    random: fastrand::Rng,
    /// Spans that end in the future. They wait here until they have ended.
    unsent: Vec<Sent>,
    /// The first visits. They show every kind of failure of the shop.
    first: Vec<Visit>,
}

impl Player {
    /// Returns a player that sends to `otlp`.
    pub(super) fn new(otlp: String) -> Result<Self, Status> {
        let endpoint = Endpoint::from_shared(otlp).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let client = tonic::client::Grpc::new(endpoint.connect_lazy());
        let failures =
            [Visit::Checkout { fails: true }, Visit::Invoice(Storage::Stalled), Visit::Invoice(Storage::Archived)];
        Ok(Player { client, random: fastrand::Rng::new(), unsent: Vec::new(), first: failures.into() })
    }

    /// Plays the visits of one tick, and sends the spans that have ended.
    pub(super) async fn send(&mut self) -> Result<(), Status> {
        let now = clock::unix_nano();
        for _ in 0..VISITS {
            let visit = self.first.pop().unwrap_or_else(|| Visit::random(&mut self.random));
            self.unsent.extend(visit.spans(now, &mut self.random));
        }
        for _ in 0..SCRAPES {
            self.unsent.extend(Visit::Scrape.spans(now, &mut self.random));
        }
        let ended = self.unsent.extract_if(.., |(_, span)| span.end_time_unix_nano <= now);
        let mut requests: [Vec<Span>; SERVICES.len()] = Default::default();
        ended.for_each(|(service, span)| requests[service].push(span));
        for (service, spans) in requests.into_iter().enumerate().filter(|(_, spans)| !spans.is_empty()) {
            self.export(request(service, spans)).await?;
        }
        Ok(())
    }

    async fn export(&mut self, request: ExportTraceServiceRequest) -> Result<(), Status> {
        self.client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<ExportTraceServiceRequest, ExportTraceServiceResponse>::default();
        match self.client.unary(Request::new(request), EXPORT, codec).await {
            // A stock exporter would send these spans again; the demo continues without them.
            Err(status) if status.code() == tonic::Code::ResourceExhausted => Ok(()),
            result => result.map(|_| ()),
        }
    }
}

fn request(service: usize, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope { name: "shop.demo".into(), version: "1.0.0".into(), ..Default::default() };
    let resource = Resource { attributes: shop::resource(service), ..Default::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..Default::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans, ..Default::default() }],
    }
}
