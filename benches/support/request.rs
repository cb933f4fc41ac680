//! The request that every benchmark reads: what a batch processor of a busy web service sends.
//!
//! 512 spans of about 568 bytes in two scopes of one resource; 12 attributes a span, 8 a resource. A tenth of the
//! spans carry an event, one in fifty an error.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

/// Spans in a request: the batch size that the SDKs default to.
pub(crate) const SPAN_COUNT: usize = 512;
const SPANS_PER_TRACE: u64 = 6;
const START_UNIX_NANO: u64 = 1_790_000_000_000_000_000;
const USER_AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

/// The request as a message.
pub(crate) fn request() -> ExportTraceServiceRequest {
    let mut scopes = [scope_spans("io.opentelemetry.tomcat-10.0"), scope_spans("io.opentelemetry.jdbc")];
    for n in 0..SPAN_COUNT as u64 {
        scopes[usize::from(n % 3 == 2)].spans.push(span(n));
    }
    let resource = Resource { attributes: resource_attributes(), ..Default::default() };
    let resource_spans = ResourceSpans { resource: Some(resource), scope_spans: scopes.into(), ..Default::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

fn scope_spans(name: &str) -> ScopeSpans {
    let scope = InstrumentationScope { name: name.into(), version: "2.21.0-alpha".into(), ..Default::default() };
    ScopeSpans { scope: Some(scope), ..Default::default() }
}

fn resource_attributes() -> Vec<KeyValue> {
    vec![
        text("service.name", "checkout"),
        text("service.namespace", "shop"),
        text("service.version", "2026.11.3"),
        text("service.instance.id", "checkout-7c9f8d6b54-0a3f1"),
        text("deployment.environment.name", "staging"),
        text("host.name", "checkout-7c9f8d6b54"),
        text("telemetry.sdk.name", "opentelemetry"),
        text("telemetry.sdk.language", "java"),
    ]
}

fn span(n: u64) -> Span {
    let error = n % 50 == 7;
    let trace = mix(n / SPANS_PER_TRACE);
    let start = START_UNIX_NANO + n * 1_000_003;
    let parent = if n.is_multiple_of(SPANS_PER_TRACE) { Vec::new() } else { mix(n - 1).to_be_bytes().into() };
    let (name, kind, attributes) = match n % 3 {
        0 => ("GET /orders/{id}", SpanKind::Server, server_attributes(n, error)),
        1 => ("OrderService.apply", SpanKind::Internal, internal_attributes(n)),
        _ => ("SELECT shop.order_items", SpanKind::Client, database_attributes(n)),
    };
    Span {
        trace_id: [trace, mix(trace)].map(u64::to_be_bytes).concat(),
        span_id: mix(n).to_be_bytes().into(),
        parent_span_id: parent,
        flags: 0x101,
        name: name.into(),
        kind: kind.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 7_654_321,
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

/// A bijection on 64 bits without visible pattern (splitmix64), never 0 here.
fn mix(n: u64) -> u64 {
    let mut z = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
