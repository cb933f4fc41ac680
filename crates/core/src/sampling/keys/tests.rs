use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::otlp::reference::{Event, KeyValue, Request, Resource, ResourceSpans, ScopeSpans, Span, Status, Value};
use crate::otlp::scan::{Bits, Probe, Scan, SpanFields, scan};

/// A short description of a span and its service.
#[derive(Clone, Debug, Default, PartialEq)]
struct Plain {
    service: u8,
    name: &'static str,
    start_ms: u64,
    duration_ms: u64,
    child: bool,
    error: bool,
    attributes: Vec<(&'static str, Value)>,
    exceptions: Vec<&'static str>,
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

fn key_value(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(value.into()), ..KeyValue::default() }
}

impl Plain {
    fn with(key: &'static str, value: Value) -> Self {
        Plain { attributes: vec![(key, value)], ..Plain::default() }
    }

    fn message(&self) -> ResourceSpans {
        let exception = |name: &&str| Event {
            attributes: if name.is_empty() { vec![] } else { vec![key_value("exception.type", text(name))] },
            ..Event::default()
        };
        let nano = |ms: u64| ms * 1_000_000;
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            parent_span_id: if self.child { vec![3; 8] } else { vec![] },
            name: self.name.into(),
            start_time_unix_nano: nano(self.start_ms),
            end_time_unix_nano: if self.start_ms == 0 { 0 } else { nano(self.start_ms + self.duration_ms) },
            attributes: self.attributes.iter().map(|(key, value)| key_value(key, value.clone())).collect(),
            events: self.exceptions.iter().map(exception).collect(),
            status: Some(Status { code: if self.error { 2 } else { 0 }, ..Status::default() }),
            ..Span::default()
        };
        let service = key_value("service.name", text(&format!("service {}", self.service)));
        let zone = key_value("zone", text("a"));
        ResourceSpans {
            resource: Some(Resource { attributes: vec![zone, service], ..Resource::default() }),
            scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }
    }
}

/// A probe that notes only the resource attributes of keys.
struct Resources<'k>(&'k PolicyKeys);

impl Probe for Resources<'_> {
    type Notes = ();

    fn notes(&self) {}

    fn resource_attribute(&self, (): &mut (), _: &[u8], _: AnyValue<'_>) {}

    fn key_attributes(&self) -> usize {
        self.0.resource_attributes()
    }

    fn key_attribute(&self, keys: &mut [u64], key: &[u8], value: AnyValue<'_>) {
        self.0.note_resource_attribute(keys, key, value);
    }

    fn asks_of_scopes(&self) -> bool {
        false
    }

    fn scope(&self, (): &mut (), _: &[u8]) {}

    fn span_attribute(&self, (): &mut (), _: &[u8], _: AnyValue<'_>) {}

    fn span(&self, (): &mut (), _: &SpanFields<'_>) -> Bits {
        0
    }
}

/// Returns the summary of a request with these spans.
fn summary(keys: &PolicyKeys, spans: &[Plain]) -> Summary {
    let request = Request { resource_spans: spans.iter().map(Plain::message).collect() };
    let mut found = Scan::default();
    let body = scan(Bytes::from(request.encode_to_vec()), &Resources(keys), &mut found).unwrap();
    let mut summary = Summary::default();
    found.facts.iter().for_each(|fact| summary.add(fact));
    keys.note(&mut summary, &found.facts.iter(), &found, &body);
    summary
}

fn keys(keys: &[TraceKey]) -> PolicyKeys {
    let mut slots = PolicyKeys::default();
    keys.iter().enumerate().for_each(|(slot, key)| assert_eq!(slots.slot(key), Some(slot)));
    slots
}

fn key(field: KeyField) -> TraceKey {
    TraceKey { fields: vec![field], of: KeySpan::Entry }
}

/// Returns the hash of the key of a trace with one span.
fn hash(field: &KeyField, span: &Plain) -> u64 {
    summary(&keys(&[key(field.clone())]), std::slice::from_ref(span)).key(0).unwrap().hash
}

#[test]
fn a_key_depends_on_the_values_of_its_fields() {
    let named = |name| Plain { name, ..Plain::default() };
    let and = |a: Plain, b: Plain| Plain { attributes: [a.attributes, b.attributes].concat(), ..a };
    let http = |code: Value| Plain::with("http.response.status_code", code);
    let rpc = |service, method| and(Plain::with("rpc.service", text(service)), Plain::with("rpc.method", text(method)));
    let thrown = |exceptions: &[&'static str]| Plain { exceptions: exceptions.to_vec(), ..Plain::default() };
    let attribute = |key: &str| KeyField::Attribute(key.into());
    let other_service = Plain { service: 1, ..named("a") };
    let (alike, different) = (true, false);
    for (field, a, b, expected) in [
        (KeyField::Service, named("a"), named("b"), alike),
        (KeyField::Service, named("a"), other_service.clone(), different),
        (KeyField::Name, named("a"), other_service, alike),
        (KeyField::Name, named("a"), named("b"), different),
        (KeyField::Route, named("a"), named("b"), different),
        (KeyField::Route, Plain::with("http.route", text("/x")), Plain::with("http.route", text("/y")), different),
        (
            KeyField::Route,
            Plain::with("http.route", text("/x")),
            and(Plain { name: "b", ..Plain::with("http.route", text("/x")) }, rpc("s", "m")),
            alike,
        ),
        (KeyField::Route, Plain::with("http.route", text("a")), named("a"), different),
        (KeyField::Route, rpc("s", "m"), rpc("s", "n"), different),
        (KeyField::Route, rpc("s", "m"), rpc("t", "m"), different),
        (KeyField::Route, rpc("s", "m"), Plain { name: "b", ..rpc("s", "m") }, alike),
        (KeyField::Status, http(Value::Int(200)), http(Value::Int(500)), different),
        (KeyField::Status, http(Value::Int(500)), http(text("500")), alike),
        (KeyField::Status, http(Value::Int(500)), Plain::with("http.status_code", Value::Int(500)), alike),
        (KeyField::Status, http(Value::Int(2)), Plain::with("rpc.grpc.status_code", Value::Int(2)), different),
        (KeyField::Status, http(Value::Int(2)), Plain { error: true, ..Plain::default() }, different),
        (KeyField::Status, Plain::default(), Plain { error: true, ..Plain::default() }, different),
        (KeyField::Exception, thrown(&["E"]), thrown(&["", "E", "F"]), alike),
        (KeyField::Exception, thrown(&["E"]), thrown(&["F"]), different),
        (KeyField::Exception, thrown(&["E"]), Plain::with("error.type", text("E")), different),
        (KeyField::Exception, thrown(&["E"]), and(thrown(&["E"]), Plain::with("error.type", text("x"))), alike),
        (KeyField::Exception, Plain::default(), Plain::with("error.type", text("x")), different),
        (attribute("x"), Plain::with("x", text("1")), Plain::with("x", Value::Int(1)), different),
        (
            attribute("x"),
            Plain::with("x", text("1")),
            and(Plain::with("x", text("1")), Plain::with("x", text("2"))),
            alike,
        ),
        (attribute("x"), Plain::with("x", text("")), Plain::default(), different),
        (attribute("x"), Plain::with("y", text("1")), Plain::default(), alike),
        (attribute("zone"), Plain::with("zone", text("a")), Plain::default(), alike),
        (attribute("zone"), Plain::with("zone", text("b")), Plain::default(), different),
    ] {
        assert_eq!(hash(&field, &a) == hash(&field, &b), expected, "{field:?} {a:?} {b:?}");
    }
}

/// Instances that share traffic must compute the same hash, and also after a restart. So the expected number is fixed.
#[test]
fn a_hash_is_the_same_on_every_instance() {
    let span = Plain { name: "GET /", ..Plain::default() };
    assert_eq!(hash(&KeyField::Name, &span), 15_683_381_037_976_434_920);
}

#[test]
fn the_boundary_between_two_fields_changes_the_hash() {
    let both =
        TraceKey { fields: vec![KeyField::Attribute("x".into()), KeyField::Attribute("y".into())], of: KeySpan::Entry };
    let keys = keys(&[both]);
    let span = |x, y| Plain { attributes: vec![("x", text(x)), ("y", text(y))], ..Plain::default() };
    let of = |x, y| summary(&keys, &[span(x, y)]).key(0);
    assert_ne!(of("ab", "c"), of("a", "bc"));
    assert_ne!(of("ab", ""), of("", "ab"));
}

#[test]
fn a_key_is_read_from_the_entry_span_or_the_first_failed_span() {
    let root = |start_ms| Plain { start_ms, duration_ms: start_ms * 10, name: "root", ..Plain::default() };
    let child = |start_ms| Plain { child: true, name: "child", ..root(start_ms) };
    let failed = |span: Plain| Plain { error: true, ..span };
    for (spans, entry, error) in [
        (vec![child(1), root(5)], Some(50), None),
        (vec![root(6), root(5)], Some(50), None),
        (vec![child(7), child(3)], Some(30), None),
        // Spans with a start have precedence over those without.
        (vec![child(0), child(3)], Some(30), None),
        (vec![child(0)], Some(0), None),
        (vec![root(5), failed(child(7)), failed(child(6)), child(1)], Some(50), Some(60)),
        (vec![failed(root(5)), failed(child(4))], Some(50), Some(40)),
    ] {
        let of = |of| TraceKey { fields: vec![KeyField::Name], of };
        let summary = summary(&keys(&[of(KeySpan::Entry), of(KeySpan::Error)]), &spans);
        let durations = [0, 1].map(|slot| summary.key(slot).map(|fact| fact.duration_ms));
        assert_eq!(durations, [entry, error], "{spans:?}");
    }
    assert_eq!(Summary::default().key(0), None);
}

#[test]
fn equal_keys_share_one_of_eight_slots() {
    let mut slots = PolicyKeys::default();
    assert_eq!(slots.heap_bytes(), 0);
    let numbered = |n: usize| key(KeyField::Attribute(n.to_string()));
    assert!((0..8).all(|n| slots.slot(&numbered(n)) == Some(n)));
    assert_eq!(slots.slot(&numbered(3)), Some(3));
    assert_eq!(slots.slot(&numbered(8)), None);
}

fn plain() -> impl Strategy<Value = Plain> {
    let fields = (0..2u8, prop::sample::select(vec!["a", "b"]), 0..3u64, 0..3u64, any::<bool>(), any::<bool>());
    fields.prop_map(|(service, name, start_ms, duration_ms, child, error)| Plain {
        service,
        name,
        start_ms,
        duration_ms,
        child,
        error,
        ..Plain::default()
    })
}

proptest! {
    /// The order of spans, their distribution over requests and the order of the requests have no effect.
    #[test]
    fn any_order_and_any_split_give_the_same_summary(
        (spans, shuffled) in prop::collection::vec(plain(), 1..8).prop_flat_map(|spans| {
            (Just(spans.clone()), Just(spans).prop_shuffle())
        }),
        splits: [bool; 8],
        reversed: bool,
    ) {
        let fields = vec![KeyField::Service, KeyField::Name];
        let keys = keys(&[KeySpan::Entry, KeySpan::Error].map(|of| TraceKey { fields: fields.clone(), of }));
        let mut requests: Vec<Vec<Plain>> = vec![vec![]];
        for (span, split) in shuffled.into_iter().zip(splits) {
            if split {
                requests.push(vec![]);
            }
            requests.last_mut().unwrap().push(span);
        }
        let mut parts: Vec<_> = requests.iter().map(|spans| summary(&keys, spans)).collect();
        if reversed {
            parts.reverse();
        }
        let mut merged = Summary::default();
        parts.iter().for_each(|part| merged.merge(part));
        let whole = summary(&keys, &spans);
        prop_assert_eq!(merged, whole);
    }
}
