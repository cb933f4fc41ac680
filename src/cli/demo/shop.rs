//! The demo's shop: five services, made-up requests, real OTLP spans.
//!
//! - `shop-api` answers HTTP. It calls `orders`, `inventory` and `payments` over gRPC, and `storage`.
//! - One checkout in a hundred fails in `payments`. Some spans of failed checkouts have no span status, as in real
//!   code.
//! - Reading an invoice sometimes takes `storage` 1.1 s. The API gives up after 1 s and answers 504. For an archived
//!   invoice it waits, and answers late.
//! - A scraper floods one healthy route.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{Span, Status, status::StatusCode};

const MS: u64 = 1_000_000;

/// The names of the services, by index.
pub(super) const SERVICES: [&str; 5] = ["shop-api", "orders", "inventory", "payments", "storage"];
const API: usize = 0;
const ORDERS: usize = 1;
const INVENTORY: usize = 2;
const PAYMENTS: usize = 3;
const STORAGE: usize = 4;

/// A span and the service (an index into [`SERVICES`]) that sends it.
pub(super) type Sent = (usize, Span);

/// One request of a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    /// The visitor looks at products.
    Browse,
    /// The visitor buys something.
    Checkout { fails: bool },
    /// The visitor reads an invoice.
    Invoice(Storage),
    /// The scraper loads a product page.
    Scrape,
}

/// The speed at which `storage` reads an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    /// 60 ms.
    Healthy,
    /// 1.1 s: too late for the API.
    Stalled,
    /// 1.1 s, but the API waits.
    Archived,
}

impl Visit {
    /// Returns a random visit. One checkout in a hundred fails, and one invoice in twenty is late.
    pub(super) fn random(random: &mut fastrand::Rng) -> Self {
        match random.u32(..10) {
            0..6 => Visit::Browse,
            6..9 => Visit::Checkout { fails: random.u32(..100) == 0 },
            _ => Visit::Invoice(match random.u32(..40) {
                0 => Storage::Stalled,
                1 => Storage::Archived,
                _ => Storage::Healthy,
            }),
        }
    }

    /// Returns the spans of this visit, which began at `start` (nanoseconds of Unix time).
    pub(super) fn spans(self, start: u64, random: &mut fastrand::Rng) -> Vec<Sent> {
        let mut trace = DemoTrace { id: random.u128(1..), spans: Vec::with_capacity(8) };
        match self {
            Visit::Browse => browse(&mut trace, start, random),
            Visit::Checkout { fails } => checkout(&mut trace, start, fails, random),
            Visit::Invoice(storage) => invoice(&mut trace, start, storage, random),
            Visit::Scrape => scrape(&mut trace, start, random),
        }
        trace.spans
    }
}

struct DemoTrace {
    id: u128,
    spans: Vec<Sent>,
}

/// The arguments of [`DemoTrace::add`]: the values that differ from span to span.
struct ServiceCall<'a> {
    service: usize,
    parent: Option<u64>,
    name: String,
    kind: SpanKind,
    start: u64,
    millis: u64,
    attributes: Vec<KeyValue>,
    error: Option<&'a str>,
}

impl DemoTrace {
    fn add(&mut self, call: ServiceCall<'_>, random: &mut fastrand::Rng) -> u64 {
        let id = random.u64(1..);
        let status = call.error.map(|message| Status { message: message.into(), code: StatusCode::Error as i32 });
        let span = Span {
            trace_id: self.id.to_be_bytes().to_vec(),
            span_id: id.to_be_bytes().to_vec(),
            parent_span_id: call.parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
            name: call.name,
            kind: call.kind as i32,
            start_time_unix_nano: call.start,
            end_time_unix_nano: call.start + call.millis * MS,
            attributes: call.attributes,
            status,
            flags: 1,
            ..Span::default()
        };
        self.spans.push((call.service, span));
        id
    }
}

fn browse(trace: &mut DemoTrace, start: u64, random: &mut fastrand::Rng) {
    let millis = random.u64(8..60);
    let root = trace.add(http(API, "GET", "/products", 200, start, millis, "Mozilla/5.0"), random);
    rpc(trace, root, (API, INVENTORY), "shop.Inventory/List", start + 2 * MS, millis - 4, 0, random);
}

fn checkout(trace: &mut DemoTrace, start: u64, fails: bool, random: &mut fastrand::Rng) {
    let millis = random.u64(60..300);
    let status = if fails { 500 } else { 200 };
    let root = trace.add(http(API, "POST", "/checkout", status, start, millis, "Mozilla/5.0"), random);
    let code = if fails { 13 } else { 0 };
    let orders = rpc(trace, root, (API, ORDERS), "shop.Orders/Place", start + 2 * MS, millis - 5, code, random);
    rpc(trace, orders, (ORDERS, INVENTORY), "shop.Inventory/Reserve", start + 6 * MS, millis / 4, 0, random);
    let paying = start + (8 + millis / 4) * MS;
    rpc(trace, orders, (ORDERS, PAYMENTS), "shop.Payments/Charge", paying, millis / 3, code, random);
}

/// Adds the spans of reading an invoice. The storage call may end after the API has given up. The trace is complete
/// only after that end.
fn invoice(trace: &mut DemoTrace, start: u64, storage: Storage, random: &mut fastrand::Rng) {
    let (status, code, millis, storage_millis) = match storage {
        Storage::Healthy => (200, 0, 90, 60),
        Storage::Stalled => (504, 4, 1_000, 1_100),
        Storage::Archived => (200, 0, 1_130, 1_100),
    };
    let root = trace.add(http(API, "GET", "/invoices/{id}", status, start, millis, "Mozilla/5.0"), random);
    let orders = rpc(trace, root, (API, ORDERS), "shop.Orders/Invoice", start + 3 * MS, millis - 5, code, random);
    let read = ServiceCall {
        service: STORAGE,
        parent: Some(orders),
        name: "storage.objects.get".into(),
        kind: SpanKind::Client,
        start: start + 6 * MS,
        millis: storage_millis,
        attributes: vec![text("rpc.method", "storage.objects.get"), text("gcp.storage.bucket", "shop-invoices")],
        error: None,
    };
    trace.add(read, random);
}

fn scrape(trace: &mut DemoTrace, start: u64, random: &mut fastrand::Rng) {
    let millis = random.u64(3..12);
    let root = trace.add(http(API, "GET", "/products/{id}", 200, start, millis, "Scrapebot/2.1"), random);
    rpc(trace, root, (API, INVENTORY), "shop.Inventory/Get", start + MS, millis - 2, 0, random);
}

fn http(
    service: usize,
    method: &str,
    route: &str,
    status: i64,
    start: u64,
    millis: u64,
    user_agent: &str,
) -> ServiceCall<'static> {
    let attributes = vec![
        text("http.request.method", method),
        text("http.route", route),
        text("url.scheme", "https"),
        text("user_agent.original", user_agent),
        int("http.response.status_code", status),
    ];
    // A server span of a 5xx response should have status ERROR. This one has none, so the status code alone must be
    // enough.
    let name = format!("{method} {route}");
    ServiceCall { service, parent: None, name, kind: SpanKind::Server, start, millis, attributes, error: None }
}

/// Adds a client span and the server span that answers it. Returns the id of the server span.
#[allow(clippy::too_many_arguments, reason = "a call has this many parts")]
fn rpc(
    trace: &mut DemoTrace,
    parent: u64,
    (caller, callee): (usize, usize),
    method: &str,
    start: u64,
    millis: u64,
    code: i64,
    random: &mut fastrand::Rng,
) -> u64 {
    let error = (code != 0).then_some(if code == 4 { "deadline exceeded" } else { "the card processor hung up" });
    let mut side = |parent, service, kind, start, millis| {
        let attributes =
            vec![text("rpc.system", "grpc"), text("rpc.method", method), int("rpc.grpc.status_code", code)];
        let name = method.to_owned();
        trace.add(ServiceCall { service, parent: Some(parent), name, kind, start, millis, attributes, error }, random)
    };
    let client = side(parent, caller, SpanKind::Client, start, millis.max(2));
    side(client, callee, SpanKind::Server, start + MS / 2, millis.max(2) - 1)
}

/// Returns the resource attributes of a service.
pub(super) fn resource(service: usize) -> Vec<KeyValue> {
    vec![
        text("service.name", SERVICES[service]),
        text("service.namespace", "shop"),
        text("service.version", "2026.11.3"),
        text("service.instance.id", &format!("{}-7c9f8d6b54-1", SERVICES[service])),
        text("cloud.platform", "gcp_cloud_run"),
        text("cloud.region", "europe-west1"),
        text("team", if service == PAYMENTS { "money" } else { "shop" }),
    ]
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
