//! The traces for both programs. Some are made by hand, each for a rule that can be read in two ways; many are random.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

const RANDOM_COUNT: u64 = 400;
const MILLISECOND: u64 = 1_000_000;

/// A trace, with the requests in which it is sent.
pub struct Trace {
    pub name: String,
    pub id: Vec<u8>,
    pub requests: Vec<ExportTraceServiceRequest>,
}

/// A span with the attributes of its resource.
#[derive(Clone, Default)]
struct Part {
    service: &'static str,
    resource: Vec<KeyValue>,
    scope: &'static str,
    span: Span,
}

/// Returns the time from which spans' times count, in nanoseconds since 1970: five minutes ago.
fn epoch() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (now.as_secs() - 300) * 1_000_000_000
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

/// Returns a span of a service, with start and end in milliseconds after [`epoch`]. The first span of a trace is its
/// root.
fn span(service: &'static str, start_ms: u64, end_ms: u64) -> Part {
    let at = |ms: u64| epoch() + ms * MILLISECOND;
    let span = Span {
        name: "GET /item".into(),
        kind: 2,
        start_time_unix_nano: at(start_ms),
        end_time_unix_nano: at(end_ms),
        ..Span::default()
    };
    Part { service, scope: "library", span, ..Part::default() }
}

impl Part {
    fn with(mut self, change: impl FnOnce(&mut Span)) -> Self {
        change(&mut self.span);
        self
    }

    fn attributes(self, attributes: Vec<KeyValue>) -> Self {
        self.with(|span| span.attributes = attributes)
    }

    fn status(self, code: i32) -> Self {
        self.with(|span| span.status = Some(Status { code, message: String::new() }))
    }
}

/// Returns a trace of these parts, in one request or in one request for each part.
fn trace(number: u64, name: impl Into<String>, mut parts: Vec<Part>, split: bool) -> Trace {
    // The id is random enough for ratios, and the same in each run.
    let id = [splitmix(number), splitmix(number ^ 0x5eed)].map(u64::to_be_bytes).concat();
    for (i, part) in parts.iter_mut().enumerate() {
        part.span.trace_id.clone_from(&id);
        part.span.span_id = ((number << 8) | (i as u64 + 1)).to_be_bytes().to_vec();
        if i > 0 {
            part.span.parent_span_id = (number << 8 | 1).to_be_bytes().to_vec();
        }
    }
    let requests = if split {
        parts.iter().map(|part| request(std::slice::from_ref(part))).collect()
    } else {
        vec![request(&parts)]
    };
    Trace { name: name.into(), id, requests }
}

fn request(parts: &[Part]) -> ExportTraceServiceRequest {
    let one = |part: &Part| ResourceSpans {
        resource: Some(Resource {
            attributes: [vec![text("service.name", part.service)], part.resource.clone()].concat(),
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope { name: part.scope.into(), ..InstrumentationScope::default() }),
            spans: vec![part.span.clone()],
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: parts.iter().map(one).collect() }
}

/// A pseudorandom generator without any state of its own (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators").
fn splitmix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Returns all traces, in the order in which they are sent.
pub fn all() -> Vec<Trace> {
    let mut traces: Vec<_> = handmade()
        .into_iter()
        .zip(1..)
        .map(|((name, parts, split), number)| trace(number, name, parts, split))
        .collect();
    traces.extend((0..RANDOM_COUNT).map(|i| random(1000 + i)));
    traces
}

fn handmade() -> Vec<(&'static str, Vec<Part>, bool)> {
    let ok = || span("api", 0, 5);
    let with = |key: &str, value: Value| vec![ok().attributes(vec![attribute(key, value)])];
    let string = |key: &str, value: &str| with(key, Value::StringValue(value.into()));
    let event = |name: &str, attributes| Event { name: name.into(), attributes, ..Event::default() };
    vec![
        ("fast", vec![ok(), span("db", 1, 3)], false),
        ("error", vec![ok(), span("db", 1, 3).status(2)], false),
        ("error late", vec![ok(), span("db", 1, 3).status(2)], true),
        ("status ok", vec![ok().status(1)], false),
        ("slow", vec![span("api", 0, 1500)], false),
        ("slow in parts", vec![span("api", 0, 10), span("worker", 1490, 1500)], true),
        ("exactly 1000 ms", vec![span("api", 0, 1000)], false),
        ("1000.9 ms", vec![span("api", 0, 1000).with(|s| s.end_time_unix_nano += 900_000)], false),
        ("500 ms, child first", vec![span("db", 0, 20), span("api", 0, 500)], true),
        ("500 ms, root first", vec![span("api", 0, 500), span("db", 0, 20)], true),
        ("no end", vec![ok().with(|s| s.end_time_unix_nano = 0)], false),
        ("no start", vec![ok().with(|s| s.start_time_unix_nano = 0)], false),
        (
            "a clock 5 s behind",
            vec![
                ok(),
                span("db", 1, 3).with(|s| {
                    s.start_time_unix_nano -= 5_000 * MILLISECOND;
                    s.end_time_unix_nano -= 5_000 * MILLISECOND;
                }),
            ],
            false,
        ),
        ("int 75", with("number", Value::IntValue(75)), false),
        ("int 50", with("number", Value::IntValue(50)), false),
        ("int 100", with("number", Value::IntValue(100)), false),
        ("int 101", with("number", Value::IntValue(101)), false),
        ("int 0", with("number", Value::IntValue(0)), false),
        ("int -5", with("number", Value::IntValue(-5)), false),
        ("double 75", with("number", Value::DoubleValue(75.0)), false),
        ("double 100.5", with("number", Value::DoubleValue(100.5)), false),
        ("number as text", string("number", "75"), false),
        (
            "number on the resource",
            vec![Part { resource: vec![attribute("number", Value::IntValue(75))], ..ok() }],
            false,
        ),
        ("route /live", string("route", "/live"), false),
        ("route /api/livestock", string("route", "/api/livestock"), false),
        ("route /health", string("route", "/health"), false),
        ("route empty", string("route", ""), false),
        ("route on the resource", vec![Part { resource: vec![text("route", "/health")], ..ok() }], false),
        ("route is a number", with("route", Value::IntValue(7)), false),
        ("route is a list", with("route", Value::ArrayValue(ArrayValue { values: vec![] })), false),
        (
            "two routes",
            vec![
                ok().attributes(vec![text("route", "/health")]),
                span("db", 1, 3).attributes(vec![text("route", "/other")]),
            ],
            false,
        ),
        ("flag true", with("flag", Value::BoolValue(true)), false),
        ("flag false", with("flag", Value::BoolValue(false)), false),
        ("flag as text", string("flag", "true"), false),
        ("tracestate vendor=a", vec![ok().with(|s| s.trace_state = "vendor=a,other=b".into())], false),
        ("tracestate vendor=c", vec![ok().with(|s| s.trace_state = "vendor=c".into())], false),
        ("sampled flag", vec![ok().with(|s| s.flags = 1)], false),
        ("other flag", vec![ok().with(|s| s.flags = 2)], false),
        ("one span", vec![ok()], false),
        ("five spans", vec![ok(); 5], true),
        ("twenty spans", vec![ok(); 20], false),
        (
            "exception",
            vec![ok().with(|s| s.events = vec![event("exception", vec![text("exception.type", "Timeout")])])],
            false,
        ),
        ("other event", vec![ok().with(|s| s.events = vec![event("retry", vec![])])], false),
        ("a client span", vec![ok().with(|s| s.kind = 3)], false),
        ("no parent here", vec![ok().with(|s| s.parent_span_id = vec![9; 8])], false),
        ("error on the health route", vec![ok().attributes(vec![text("route", "/health")]).status(2)], false),
        (
            "error beside the health route",
            vec![ok().attributes(vec![text("route", "/health")]), span("db", 1, 3).status(2)],
            false,
        ),
    ]
}

/// Returns a trace of one to four spans. Some of their values match the policies, others do not.
fn random(number: u64) -> Trace {
    let mut state = number;
    let mut next = |count: u64| {
        state = splitmix(state);
        state % count
    };
    let parts = (0..=next(4)).map(|_| {
        let service = ["api", "db", "shop", "worker"][next(4) as usize];
        let mut attributes = Vec::new();
        if next(3) == 0 {
            attributes.push(attribute("number", Value::IntValue(next(200) as i64)));
        }
        if next(3) == 0 {
            attributes.push(text("route", ["/health", "/live", "/item", "/api/livestock"][next(4) as usize]));
        }
        if next(4) == 0 {
            attributes.push(attribute("flag", Value::BoolValue(next(2) == 0)));
        }
        let start = next(50);
        let duration = [3, 40, 600, 1200][next(4) as usize];
        let status = [0, 0, 0, 1, 2][next(5) as usize];
        let kind = next(6) as i32;
        span(service, start, start + duration).attributes(attributes).status(status).with(|span| span.kind = kind)
    });
    let parts = parts.collect();
    trace(number, format!("random {number}"), parts, number.is_multiple_of(2))
}
