//! The requests that all benchmarks and the load generator send: traffic of a shop, as its services' batch processors
//! send it.
//!
//! Spans have about 568 bytes and 12 attributes. A request has two scopes and one resource of 8 attributes. A tenth of
//! the spans has an event, 1 % of the traces has an error, and 1 % is slow. The spans of a trace come from up to three
//! services, and so in as many requests.
#![allow(dead_code)] // Each benchmark uses a part.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

/// Spans in a request, which is the default batch size of the SDKs.
pub(crate) const SPAN_COUNT: usize = 512;
const SERVICES: [&str; 6] = ["storefront", "gateway", "cart", "checkout", "inventory", "payments"];
const SERVICES_PER_TRACE: usize = 3;
const MILLISECOND: u64 = 1_000_000;
const USER_AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

/// The size and structure of the traffic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) services: usize,
    pub(crate) traces: usize,
    pub(crate) spans_per_trace: usize,
    pub(crate) spans_per_request: usize,
    /// Earliest start of the traces of one pass, in nanoseconds since 1970. They end within three seconds after it.
    pub(crate) start_unix_nano: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Shape {
            services: SERVICES.len(),
            traces: 1_024,
            spans_per_trace: 6,
            spans_per_request: SPAN_COUNT,
            start_unix_nano: 1_790_000_000_000_000_000,
        }
    }
}

/// Returns the first of [`requests`] as a message.
pub(crate) fn request() -> ExportTraceServiceRequest {
    requests(&Shape::default()).swap_remove(0)
}

/// Returns the requests of all traces, in the order in which the services fill them.
pub(crate) fn requests(shape: &Shape) -> Vec<ExportTraceServiceRequest> {
    let mut open: Vec<Vec<Span>> = vec![Vec::new(); shape.services];
    let mut requests = Vec::new();
    for trace in 0..shape.traces {
        for index in 0..shape.spans_per_trace {
            let hop = index * SERVICES_PER_TRACE / shape.spans_per_trace;
            let service = (trace + hop) % shape.services;
            open[service].push(span(shape, trace as u64, index as u64));
            if open[service].len() == shape.spans_per_request {
                requests.push(request_of(service, std::mem::take(&mut open[service])));
            }
        }
    }
    let rest = open.into_iter().enumerate().filter(|(_, spans)| !spans.is_empty());
    requests.extend(rest.map(|(service, spans)| request_of(service, spans)));
    requests
}

/// Returns the spans of a request in the order of the encoded message.
pub(crate) fn spans(request: &ExportTraceServiceRequest) -> impl Iterator<Item = &Span> {
    request.resource_spans.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans)
}

/// Returns true if the span has an error. A trace with an error has one such span.
pub(crate) fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
}

/// Returns true if the span is the root of a trace that takes longer than a second.
pub(crate) fn is_slow_root(span: &Span) -> bool {
    span.parent_span_id.is_empty() && span.end_time_unix_nano - span.start_time_unix_nano > 1_000 * MILLISECOND
}

fn request_of(service: usize, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let is_client = |span: &Span| span.kind() == SpanKind::Client;
    let (clients, others): (Vec<_>, Vec<_>) = spans.into_iter().partition(is_client);
    let scope_spans =
        vec![scope_spans("io.opentelemetry.tomcat-10.0", others), scope_spans("io.opentelemetry.jdbc", clients)];
    let resource = Resource { attributes: resource_attributes(service), ..Default::default() };
    let resource_spans = ResourceSpans { resource: Some(resource), scope_spans, ..Default::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

fn scope_spans(name: &str, spans: Vec<Span>) -> ScopeSpans {
    let scope = InstrumentationScope { name: name.into(), version: "2.21.0-alpha".into(), ..Default::default() };
    ScopeSpans { scope: Some(scope), spans, ..Default::default() }
}

fn resource_attributes(service: usize) -> Vec<KeyValue> {
    let name = SERVICES.get(service).map_or_else(|| format!("service-{service}"), ToString::to_string);
    vec![
        text("service.name", &name),
        text("service.namespace", "shop"),
        text("service.version", "2026.11.3"),
        text("service.instance.id", &format!("{name}-7c9f8d6b54-0a3f1")),
        text("deployment.environment.name", "staging"),
        text("host.name", &format!("{name}-7c9f8d6b54")),
        text("telemetry.sdk.name", "opentelemetry"),
        text("telemetry.sdk.language", "java"),
    ]
}

fn span(shape: &Shape, trace: u64, index: u64) -> Span {
    let chance = mix(trace ^ 0x5bd1_e995);
    let count = shape.spans_per_trace as u64;
    let error = chance % 100 == 7 && index == trace % count;
    let slow = chance / 100 % 100 == 7;
    let duration = if slow { 1_100 + chance % 1_500 } else { 20 + chance % 600 } * MILLISECOND;
    // Each span lies within the span before it.
    let inset = duration / 2 * index / count;
    let start = shape.start_unix_nano + chance % 200 * MILLISECOND + inset;
    let id = [mix(trace * 2), mix(trace * 2 + 1)];
    let span_id = |index: u64| mix(id[1].wrapping_add(index)).to_be_bytes().to_vec();
    let n = trace * count + index;
    let (name, kind, attributes) = match index % 3 {
        0 => ("GET /orders/{id}", SpanKind::Server, server_attributes(n, error)),
        1 => ("SELECT shop.order_items", SpanKind::Client, database_attributes(n)),
        _ => ("OrderService.apply", SpanKind::Internal, internal_attributes(n)),
    };
    Span {
        trace_id: id.map(u64::to_be_bytes).concat(),
        span_id: span_id(index),
        parent_span_id: if index == 0 { Vec::new() } else { span_id(index - 1) },
        flags: 0x101,
        name: name.into(),
        kind: kind.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + duration - 2 * inset,
        attributes,
        events: if error || n.is_multiple_of(10) { vec![event(n, error, start)] } else { Vec::new() },
        status: error.then(|| Status { message: "Connection is not available".into(), code: StatusCode::Error.into() }),
        ..Default::default()
    }
}

fn server_attributes(n: u64, error: bool) -> Vec<KeyValue> {
    vec![
        text("http.request.method", "GET"),
        text("url.path", &format!("/orders/{}", n * 977)),
        text("url.scheme", "https"),
        int("http.response.status_code", if error { 500 } else { 200 }),
        text("server.address", "checkout.shop.svc.cluster.local"),
        int("server.port", 8443),
        text("network.protocol.version", "1.1"),
        text("network.peer.address", &format!("10.{}.{}.{}", n % 4, n % 251, n % 241)),
        text("http.route", "/orders/{id}"),
        text("user_agent.original", USER_AGENT),
        text("client.address", &format!("203.0.113.{}", n % 254)),
        int("thread.id", n % 64),
    ]
}

fn internal_attributes(n: u64) -> Vec<KeyValue> {
    vec![
        text("code.function.name", "com.shop.checkout.orders.Service.apply"),
        text("code.file.path", "src/main/java/com/shop/checkout/orders/Service.java"),
        int("code.line.number", n * 7 % 900),
        text("shop.order.id", &format!("ord_{n:010}")),
        text("shop.customer.tier", "plus"),
        int("shop.items", n % 17),
        attribute("shop.cached", Value::BoolValue(n.is_multiple_of(2))),
        attribute("shop.total", Value::DoubleValue(n as f64 * 1.25)),
        text("feature_flag.key", "new-pricing"),
        text("feature_flag.result.variant", "on"),
        int("thread.id", n % 64),
        text("thread.name", &format!("http-nio-8443-exec-{}", n % 64)),
    ]
}

fn database_attributes(n: u64) -> Vec<KeyValue> {
    vec![
        text("db.system.name", "postgresql"),
        text("db.namespace", "shop"),
        text("db.collection.name", "order_items"),
        text("db.operation.name", "SELECT"),
        text(
            "db.query.text",
            "SELECT id, sku, qty, price_cents, updated_at FROM order_items WHERE tenant_id = ? AND id = ?",
        ),
        text("db.query.summary", "SELECT order_items"),
        text("server.address", "pg-main.shop.svc.cluster.local"),
        int("server.port", 5432),
        text("network.transport", "tcp"),
        int("db.response.returned_rows", n % 50),
        text("db.client.connection.pool.name", "main"),
        text("thread.name", &format!("http-nio-8443-exec-{}", n % 64)),
    ]
}

fn event(n: u64, error: bool, time_unix_nano: u64) -> Event {
    let (name, attributes) = if error {
        let stack =
            "java.sql.SQLTransientConnectionException: main\n\tat com.shop.Service.apply(Service.java:118)".repeat(4);
        let kind = "java.sql.SQLTransientConnectionException";
        ("exception", vec![text("exception.type", kind), text("exception.stacktrace", &stack)])
    } else {
        ("cache.miss", vec![text("cache.key", &format!("order_items:{n}"))])
    };
    Event { time_unix_nano, name: name.into(), attributes, ..Default::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn int(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(value.cast_signed()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

/// A bijection on 64 bits whose results have no visible pattern (splitmix64). It never returns 0 here.
pub(crate) fn mix(n: u64) -> u64 {
    let mut z = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
