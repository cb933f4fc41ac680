use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValueList;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue as OtlpValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status as OtlpStatus, span as otlp};
use proptest::prelude::*;
use prost::Message;

use super::testing::{generate, reference};
use super::*;
use crate::otlp::scan::{NoProbe, Scan, scan};
use crate::otlp::testing::declared::compare;
use crate::proto::google::devtools::cloudtrace::v2::attribute_value::Value as V2Value;
use crate::proto::google::devtools::cloudtrace::v2::{
    self, AttributeValue, BatchWriteSpansRequest, TruncatableString, span::time_event,
};
use crate::proto::google::rpc::Status;
use crate::resource::Rewriter;
use crate::resource::cache::SHARED_BYTES_MAX;
use crate::resource::settings::{ActionType, AttributeAction, LiteralValue, ValueSource};
use crate::sampling::annotation::{ADJUSTED_COUNT, MISSING_PARENT, POLICY, TRIGGER, VERDICT};
use crate::sampling::{Parent, Threshold};

mod labels;
mod limits;
mod names;

#[test]
fn the_field_numbers_are_those_of_the_definitions() {
    compare(fields::DECLARED, crate::proto::GOOGLE_DESCRIPTORS);
}

fn encoder(annotate: bool) -> Encoder {
    let policy_names = ["errors".to_string(), "baseline".to_string()].into();
    let settings = EncoderSettings {
        default_project: "default".into(),
        allowed_projects: AllowedProjects::Any,
        annotate,
        policy_names,
        ..EncoderSettings::default()
    };
    Encoder::new(settings, Rewriter::default())
}

fn errors() -> Keep {
    Keep::new(0, Threshold::ALWAYS)
}

fn baseline() -> Keep {
    Keep::new(1, Threshold::from_percent(5.0))
}

/// Scans and encodes the body of an OTLP request. Returns the spans of the resulting `BatchWriteSpansRequest`.
fn encode_body(encoder: &mut Encoder, body: Vec<u8>, keep: Keep) -> Vec<v2::Span> {
    let mut found = Scan::default();
    let body = scan(Bytes::from(body), &NoProbe, &mut found).unwrap();
    let mut out = Vec::new();
    for fact in &found.facts {
        let scope = found.scopes[fact.scope as usize];
        let span = fact.span.of(&body);
        let origin = origin(encoder, scope.resource.of(&body), scope.scope.of(&body));
        encoder.span(&origin, span, keep, &mut out).unwrap();
    }
    let request = BatchWriteSpansRequest::decode(&out[..]).unwrap();
    // The output is as long as that of prost: no key occurs twice, no varint is longer than necessary, and no default
    // value is written.
    assert_eq!(request.encoded_len(), out.len());
    request.spans
}

/// Returns the origin of spans that belong to no request.
fn origin(encoder: &mut Encoder, resource: &[u8], scope: &[u8]) -> Arc<SpanOrigin> {
    encoder.origin(SpanBytes { resource, scope, ..SpanBytes::default() })
}

fn body(resource: Option<&Resource>, scope: Option<&InstrumentationScope>, span: &Span) -> Vec<u8> {
    let spans = vec![span.clone()];
    let scope_spans = vec![ScopeSpans { scope: scope.cloned(), spans, ..Default::default() }];
    let resource_spans = vec![ResourceSpans { resource: resource.cloned(), scope_spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn int(value: i64) -> AttributeValue {
    AttributeValue { value: Some(V2Value::IntValue(value)) }
}

fn cut_text(value: &str, truncated_byte_count: i32) -> AttributeValue {
    let text = TruncatableString { value: value.into(), truncated_byte_count };
    AttributeValue { value: Some(V2Value::StringValue(text)) }
}

fn text(value: &str) -> AttributeValue {
    cut_text(value, 0)
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(OtlpValue { value: Some(value) }), ..Default::default() }
}

fn string(key: &str, value: &str) -> KeyValue {
    pair(key, Value::StringValue(value.into()))
}

fn resource(attributes: Vec<KeyValue>) -> Resource {
    Resource { attributes, ..Default::default() }
}

/// Returns a span that has only ids, a name, a kind and times.
fn plain_span() -> Span {
    Span {
        trace_id: (1..=16).collect(),
        span_id: (1..=8).collect(),
        name: "GET /".into(),
        kind: 2,
        start_time_unix_nano: 1_790_000_000_000_000_001,
        end_time_unix_nano: 1_790_000_001_500_000_000,
        ..Default::default()
    }
}

fn with_attributes(attributes: Vec<KeyValue>) -> Span {
    Span { attributes, ..plain_span() }
}

/// Asserts that the encoder and the reference return the same span, with and without annotations. Returns the span
/// without annotations.
#[track_caller]
fn check(resource: &Resource, scope: &InstrumentationScope, span: &Span) -> v2::Span {
    let annotation = Some(("baseline", int(20)));
    for (annotate, annotation) in [(true, annotation), (false, None)] {
        let found = encode_body(&mut encoder(annotate), body(Some(resource), Some(scope), span), baseline());
        let context = reference::Context { default_project: "default", version: VERSION, annotation };
        assert_eq!(found, [reference::encode(&context, resource, scope, span)]);
        if !annotate {
            return found.into_iter().next().unwrap();
        }
    }
    unreachable!()
}

/// Does the same as [`check`] for a span without a resource and without a scope.
#[track_caller]
fn check_span(span: &Span) -> v2::Span {
    check(&Resource::default(), &InstrumentationScope::default(), span)
}

/// Returns the attribute map of a span with these attributes, without the scope's name and the agent.
#[track_caller]
fn map_of(attributes: Vec<KeyValue>) -> Vec<(String, AttributeValue)> {
    let found = check_span(&with_attributes(attributes)).attributes.unwrap().attribute_map;
    let mut map: Vec<_> = found.into_iter().filter(|(k, _)| k != "otel.scope.name" && k != "g.co/agent").collect();
    map.sort_by(|a, b| a.0.cmp(&b.0));
    map
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(192) })]
    #[test]
    fn equals_the_reference(
        resource in generate::resource(), scope in generate::scope(), span in generate::span()
    ) {
        // The reference does not know that only the beginning of a larger resource or scope is read.
        prop_assume!(resource.encoded_len().max(scope.encoded_len()) <= SHARED_BYTES_MAX);
        check(&resource, &scope, &span);
    }
}

#[test]
fn every_field_of_a_plain_span_is_converted() {
    let found = check_span(&plain_span());
    assert_eq!(found.name, "projects/default/traces/0102030405060708090a0b0c0d0e0f10/spans/0102030405060708");
    assert_eq!(found.span_id, "0102030405060708");
    assert_eq!(found.parent_span_id, "");
    assert_eq!(found.display_name.unwrap(), TruncatableString { value: "GET /".into(), truncated_byte_count: 0 });
    assert_eq!(found.start_time.unwrap(), prost_types::Timestamp { seconds: 1_790_000_000, nanos: 1 });
    assert_eq!(found.end_time.unwrap(), prost_types::Timestamp { seconds: 1_790_000_001, nanos: 500_000_000 });
    assert_eq!(found.span_kind, v2::span::SpanKind::Server as i32);
    assert_eq!((found.status, found.time_events, found.links), (None, None, None));
    assert_eq!((found.stack_trace, found.same_process_as_parent_span, found.child_span_count), (None, None, None));
    let agent = text(&format!("spansieve {VERSION}"));
    let expected = [("otel.scope.name".to_string(), text("")), ("g.co/agent".to_string(), agent)].into();
    assert_eq!(found.attributes.unwrap().attribute_map, expected);
}

#[test]
fn values_of_every_type_are_converted() {
    let double = |v| Value::DoubleValue(v);
    let array = |values: Vec<Value>| {
        let values = values.into_iter().map(|v| OtlpValue { value: Some(v) }).collect();
        Value::ArrayValue(ArrayValue { values })
    };
    let map = |values| Value::KvlistValue(KeyValueList { values });
    let bool = |v| AttributeValue { value: Some(V2Value::BoolValue(v)) };
    let cases = [
        (Value::StringValue("é€😀".into()), text("é€😀")),
        (Value::StringValue(String::new()), text("")),
        (Value::BoolValue(true), bool(true)),
        (Value::BoolValue(false), bool(false)),
        (Value::IntValue(0), int(0)),
        (Value::IntValue(-1), int(-1)),
        (Value::IntValue(i64::MAX), int(i64::MAX)),
        (double(1.0), text("1")),
        (double(0.1), text("0.1")),
        (double(1e21), text("1000000000000000000000")),
        (double(-0.0), text("-0")),
        (double(1e-7), text("0.0000001")),
        (double(f64::NAN), text("NaN")),
        (double(f64::INFINITY), text("+Inf")),
        (double(f64::NEG_INFINITY), text("-Inf")),
        (Value::BytesValue(vec![0xfb, 0xff]), text("+/8=")),
        (Value::BytesValue(vec![]), text("")),
        (array(vec![]), text("[]")),
        (map(vec![]), text("{}")),
        (
            array(vec![
                Value::StringValue("a\"\\\n\u{1}<é".into()),
                Value::IntValue(-7),
                Value::BoolValue(false),
                double(2.50),
                double(f64::NAN),
                Value::BytesValue(vec![0xff]),
                array(vec![Value::IntValue(1), map(vec![string("k", "v"), KeyValue::default()])]),
            ]),
            text(r#"["a\"\\\n\u0001<é",-7,false,2.5,"NaN","/w==",[1,{"k":"v","":null}]]"#),
        ),
    ];
    for (value, expected) in cases {
        assert_eq!(map_of(vec![pair("key", value)]), [("key".to_string(), expected)]);
    }
    let empty = KeyValue { key: "key".into(), value: Some(OtlpValue { value: None }), ..Default::default() };
    assert_eq!(map_of(vec![empty]), [("key".to_string(), text(""))]);
}

#[test]
fn keys_that_the_console_knows_are_renamed_everywhere() {
    let names = ["method", "host", "path", "user_agent", "status_code"];
    let sent: Vec<_> = names.iter().map(|name| string(&format!("http.{name}"), name)).collect();
    let mut expected: Vec<_> = names.iter().map(|name| (format!("/http/{name}"), text(name))).collect();
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(map_of(sent.clone()), expected);
    assert_eq!(map_of(vec![string("http.url", "x")]), [("http.url".to_string(), text("x"))]);

    let event = otlp::Event { attributes: sent.clone(), ..Default::default() };
    let link =
        otlp::Link { attributes: sent.clone(), trace_id: vec![1; 16], span_id: vec![1; 8], ..Default::default() };
    let span = Span { events: vec![event], links: vec![link], ..plain_span() };
    let found = check(&resource(sent), &InstrumentationScope::default(), &span);
    assert!(found.attributes.unwrap().attribute_map.contains_key("/http/method"));
    assert_eq!(found.links.unwrap().link[0].attributes.clone().unwrap().attribute_map.len(), 5);
}

#[test]
fn the_last_attribute_with_a_key_wins() {
    let last = |key: &str, value| [(key.to_string(), text(value))];
    assert_eq!(map_of(vec![string("a", "1"), string("a", "2")]), last("a", "2"));
    assert_eq!(map_of(vec![string("http.host", "1"), string("/http/host", "2")]), last("/http/host", "2"));
    assert_eq!(map_of(vec![string("/http/host", "1"), string("http.host", "2")]), last("/http/host", "2"));

    let resource = resource(["service.name", "a", "b"].map(|key| string(key, "resource")).into());
    let span = with_attributes(vec![string("b", "span"), string("service.name", "span")]);
    let found = check(&resource, &InstrumentationScope::default(), &span).attributes.unwrap().attribute_map;
    assert_eq!([&found["service.name"], &found["a"], &found["b"]], [&text("span"), &text("resource"), &text("span")]);
}

#[test]
fn the_scope_is_written_unless_the_user_has_set_its_keys() {
    let scope = InstrumentationScope { name: "lib".into(), version: "1.2".into(), ..Default::default() };
    let map = |resource: &Resource, span: &Span| {
        let map = check(resource, &scope, span).attributes.unwrap().attribute_map;
        (map["otel.scope.name"].clone(), map["otel.scope.version"].clone())
    };
    let mine = || vec![string("otel.scope.name", "mine")];
    assert_eq!(map(&Resource::default(), &plain_span()), (text("lib"), text("1.2")));
    assert_eq!(map(&Resource::default(), &with_attributes(mine())), (text("mine"), text("1.2")));
    assert_eq!(map(&resource(mine()), &plain_span()), (text("mine"), text("1.2")));
}

#[test]
fn annotations_say_why_a_span_was_kept() {
    let span = with_attributes(vec![string("spansieve.policy", "mine"), string("spansieve.adjusted_count", "mine")]);
    let third = Threshold::from_percent(30.0);
    let cases = [
        (errors(), "errors", int(1)),
        (baseline(), "baseline", int(20)),
        (Keep::new(1, third), "baseline", text(&third.adjusted_count().to_string())),
        (baseline(), "baseline", int(20)),
    ];
    let mut encoder = encoder(true);
    for (keep, policy, adjusted_count) in cases {
        let found = encode_body(&mut encoder, body(None, None, &span), keep).remove(0).attributes.unwrap();
        assert_eq!(found.attribute_map[POLICY], text(policy));
        assert_eq!(found.attribute_map[ADJUSTED_COUNT], adjusted_count);
    }
    let rescued = Keep { rescued: true, ..errors() };
    let incomplete = |parent| Keep { missing_parent: Some(parent), ..baseline() };
    let cases = [
        (errors(), None, None),
        (rescued, Some("rescue"), None),
        (errors(), None, None),
        (incomplete(Parent::Local), None, Some("local")),
        (incomplete(Parent::Remote), None, Some("remote")),
        (baseline(), None, None),
    ];
    for (keep, trigger, missing_parent) in cases {
        let forged = with_attributes(vec![string(TRIGGER, "mine"), string(MISSING_PARENT, "mine")]);
        let found = encode_body(&mut encoder, body(None, None, &forged), keep).remove(0).attributes.unwrap();
        assert_eq!(found.attribute_map.get(TRIGGER), trigger.map(text).as_ref());
        assert_eq!(found.attribute_map.get(MISSING_PARENT), missing_parent.map(text).as_ref());
        assert_eq!(found.dropped_attributes_count, 0);
    }
    assert_eq!(map_of(span.attributes)[1], ("spansieve.policy".to_string(), text("mine")));
}

#[test]
fn annotations_of_a_dry_run_say_the_verdict() {
    let forged = with_attributes(vec![string(VERDICT, "mine")]);
    let kept = Keep { dry_run: true, ..baseline() };
    let cases = [
        (kept, Some("baseline"), int(20), Some("kept")),
        (baseline(), Some("baseline"), int(20), None),
        (Keep::only_dry_run(Some(0)), Some("errors"), int(0), Some("dropped")),
        (Keep::only_dry_run(None), None, int(0), Some("dropped")),
        (errors(), Some("errors"), int(1), None),
    ];
    let mut encoder = encoder(true);
    for (keep, policy, adjusted_count, verdict) in cases {
        let found = encode_body(&mut encoder, body(None, None, &forged), keep).remove(0).attributes.unwrap();
        assert_eq!(found.attribute_map.get(POLICY), policy.map(text).as_ref());
        assert_eq!(found.attribute_map[ADJUSTED_COUNT], adjusted_count);
        assert_eq!(found.attribute_map.get(VERDICT), verdict.map(text).as_ref());
    }
}

#[test]
fn replaced_actions_apply_to_resources_that_were_rewritten_before() {
    let shared = SharedRewriter::default();
    let mut encoder = Encoder::new(encoder(false).settings, shared.clone());
    let sent = body(Some(&resource(vec![string("env", "dev")])), None, &plain_span());
    let mut env = || {
        let found = encode_body(&mut encoder, sent.clone(), errors()).remove(0).attributes.unwrap();
        found.attribute_map["env"].clone()
    };
    assert_eq!(env(), text("dev"));
    let source = ValueSource::Value(LiteralValue::String("prod".into()));
    let action = ActionType::Upsert { key: "env".into(), source };
    shared.replace(&[AttributeAction { condition: None, action }]);
    assert_eq!(env(), text("prod"));
    shared.replace(&[]);
    assert_eq!(env(), text("dev"));
}

#[test]
fn times_are_mended() {
    let time = |seconds| prost_types::Timestamp { seconds, nanos: 0 };
    let cases = [((5, 9), (5, 9)), ((5, 5), (5, 5)), ((9, 5), (9, 9)), ((5, 0), (5, 5)), ((0, 5), (5, 5))];
    for ((start, end), (start_written, end_written)) in cases {
        let event = otlp::Event::default();
        let found = check_span(&Span {
            start_time_unix_nano: start * 1_000_000_000,
            end_time_unix_nano: end * 1_000_000_000,
            events: vec![event],
            ..plain_span()
        });
        assert_eq!((found.start_time.unwrap(), found.end_time.unwrap()), (time(start_written), time(end_written)));
        assert_eq!(found.time_events.unwrap().time_event[0].time.unwrap(), time(start_written));
    }
}

#[test]
fn a_span_whose_clock_is_days_off_fails_alone() {
    const NOW: u64 = 1_700_000_000_000_000_000;
    let mut encoder = encoder(false);
    let origin = origin(&mut encoder, &[], &[]);
    let mut out = vec![];
    let encode = |encoder: &mut Encoder, start, end, out: &mut Vec<u8>| {
        let span = Span { start_time_unix_nano: start, end_time_unix_nano: end, ..plain_span() };
        encoder.span(&origin, &span.encode_to_vec(), errors(), out)
    };
    assert_eq!(encode(&mut encoder, 1, 2, &mut out), Ok(()), "any time is accepted before the clock is set");
    encoder.set_now(NOW);
    let (earliest, latest) = (NOW - PAST_NANOS_MAX, NOW + FUTURE_NANOS_MAX);
    let cases = [
        (earliest, NOW, Ok(())),
        (earliest - 1, NOW, Err(EncodeError::Past)),
        (0, earliest - 1, Err(EncodeError::Past)),
        (0, 0, Err(EncodeError::Past)),
        (NOW, latest, Ok(())),
        (NOW, latest + 1, Err(EncodeError::Future)),
        (latest + 1, 0, Err(EncodeError::Future)),
        (NOW, u64::MAX, Err(EncodeError::Future)),
    ];
    for (start, end, expected) in cases {
        let before = out.clone();
        assert_eq!(encode(&mut encoder, start, end, &mut out), expected, "{start} {end}");
        assert_eq!(out == before, expected.is_err());
    }
}

#[test]
fn events_that_are_too_early_are_moved_to_the_start_of_the_span() {
    let start = plain_span().start_time_unix_nano;
    let cases = [
        (0, start),
        (1, start),
        (start - EVENT_LEAD_NANOS_MAX - 1, start),
        (start - EVENT_LEAD_NANOS_MAX, start - EVENT_LEAD_NANOS_MAX),
        (start - 1, start - 1),
        (u64::MAX, u64::MAX),
    ];
    for (time_unix_nano, written) in cases {
        let event = otlp::Event { time_unix_nano, ..Default::default() };
        let found = check_span(&Span { events: vec![event], ..plain_span() }).time_events.unwrap();
        let time = found.time_event[0].time.unwrap();
        assert_eq!(time.seconds as u64 * 1_000_000_000 + time.nanos as u64, written);
    }
}

#[test]
fn parents_and_their_process_are_converted() {
    let parent = vec![9; 8];
    let cases = [
        (vec![], 0x100, "", None),
        (vec![0; 8], 0x100, "", None),
        ((1..=8).collect(), 0x100, "", None),
        (parent.clone(), 0, "0909090909090909", None),
        (parent.clone(), 0x200, "0909090909090909", None),
        (parent.clone(), 0x101, "0909090909090909", Some(true)),
        (parent, 0x301, "0909090909090909", Some(false)),
    ];
    for (parent_span_id, flags, written, same_process) in cases {
        let found = check_span(&Span { parent_span_id, flags, ..plain_span() });
        assert_eq!((&*found.parent_span_id, found.same_process_as_parent_span), (written, same_process));
    }
}

#[test]
fn kinds_and_statuses_are_converted() {
    for (kind, written) in [(0, 1), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 1), (-1, 1)] {
        assert_eq!(check_span(&Span { kind, ..plain_span() }).span_kind, written);
    }
    let rpc = |code, message: &str| Some(Status { code, message: message.into(), ..Default::default() });
    for (code, written) in [(0, None), (1, rpc(0, "")), (2, rpc(2, "why")), (7, None)] {
        let status = Some(OtlpStatus { code, message: "why".into() });
        assert_eq!(check_span(&Span { status, ..plain_span() }).status, written);
    }
}

#[test]
fn unnamed_spans_get_a_name() {
    assert_eq!(check_span(&Span { name: String::new(), ..plain_span() }).display_name.unwrap().value, "unknown");
}

#[test]
fn an_exception_becomes_an_annotation() {
    let attributes =
        vec![string("exception.type", "E"), string("exception.message", "why"), string("exception.stacktrace", "at")];
    let event = otlp::Event {
        name: "exception".into(),
        time_unix_nano: 1_790_000_000_000_000_002,
        attributes,
        ..Default::default()
    };
    let found = check_span(&Span { events: vec![event], ..plain_span() });
    assert_eq!(found.stack_trace, None);
    let events = found.time_events.unwrap();
    assert_eq!(events.time_event[0].time.unwrap(), prost_types::Timestamp { seconds: 1_790_000_000, nanos: 2 });
    let Some(time_event::Value::Annotation(annotation)) = &events.time_event[0].value else { panic!("no annotation") };
    assert_eq!(annotation.description.as_ref().unwrap().value, "exception");
    let map = &annotation.attributes.as_ref().unwrap().attribute_map;
    assert_eq!((map.len(), &map["exception.stacktrace"]), (3, &text("at")));
}

/// Returns the field number `field` with length-delimited `content`.
fn raw_field(field: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write::bytes(&mut out, field, content);
    out
}

fn raw_pair(key: &[u8], any_value: &[u8]) -> Vec<u8> {
    [raw_field(1, key), raw_field(2, any_value)].concat()
}

#[test]
fn text_that_is_not_utf8_is_mended() {
    let (bad, mended) = (&b"a\xff\xf0\x9f\x98b"[..], "a\u{fffd}\u{fffd}b");
    let array = raw_field(5, &raw_field(1, &raw_field(1, bad)));
    let map = raw_field(6, &raw_field(1, &raw_pair(bad, &[])));
    let long = raw_field(1, &[&b"v".repeat(65_530)[..], b"\xff\xff"].concat());
    let attributes = [
        raw_pair(b"string", &raw_field(1, bad)),
        raw_pair(b"array", &array),
        raw_pair(b"map", &map),
        raw_pair(b"long", &long),
        raw_pair(bad, &[]),
        raw_pair(b"a\xfe\xfeb", &raw_field(1, b"later")),
        raw_pair(&[b'\xff'; 171], &[]),
    ];
    let event = [raw_field(2, bad), raw_field(3, &raw_pair(bad, &[]))].concat();
    let mut span = [raw_field(1, &[1; 16]), raw_field(2, &[1; 8]), raw_field(5, bad), raw_field(11, &event)].concat();
    attributes.iter().for_each(|pair| span.extend(raw_field(9, pair)));
    span.extend(raw_field(15, &[raw_field(2, bad), vec![3 << 3, 2]].concat()));
    let scope = raw_field(1, bad);
    let resource = raw_field(1, &raw_pair(b"host.name", &raw_field(1, bad)));
    let scope_spans = [raw_field(1, &scope), raw_field(2, &span)].concat();
    let body = raw_field(1, &[raw_field(1, &resource), raw_field(2, &scope_spans)].concat());

    let found = encode_body(&mut encoder(false), body, errors()).remove(0);
    assert_eq!(found.display_name.unwrap().value, mended);
    assert_eq!(found.status.unwrap().message, mended);
    let Some(time_event::Value::Annotation(event)) = &found.time_events.as_ref().unwrap().time_event[0].value else {
        panic!("no annotation")
    };
    assert_eq!(event.description.as_ref().unwrap().value, mended);
    assert!(event.attributes.as_ref().unwrap().attribute_map.contains_key(mended));
    let attributes = found.attributes.unwrap();
    let map = attributes.attribute_map;
    assert_eq!(map["string"], text(mended));
    assert_eq!(map["array"], text(&format!("[\"{mended}\"]")));
    assert_eq!(map["map"], text(&format!("{{\"{mended}\":null}}")));
    assert_eq!(map["long"], cut_text(&"v".repeat(65_530), 6));
    // Two keys that become equal when they are mended are one key.
    assert_eq!(map[mended], text("later"));
    assert_eq!(map["otel.scope.name"], text(mended));
    assert_eq!(map["host.name"], text(mended));
    assert_eq!(map["g.co/r/generic_node/node_id"], text(mended));
    // A key of 171 invalid bytes becomes 513 bytes when mended, which is too long.
    assert_eq!(attributes.dropped_attributes_count, 1);
}

#[test]
fn malformed_spans_leave_the_output_alone() {
    let mut encoder = encoder(true);
    let origin = origin(&mut encoder, &[], &[]);
    let (trace_id, span_id) = (raw_field(1, &[1; 16]), raw_field(2, &[1; 8]));
    let cases = [
        (vec![0xff], EncodeError::Wire(WireError::Truncated)),
        (span_id.clone(), EncodeError::TraceId),
        ([raw_field(1, &[0; 16]), span_id].concat(), EncodeError::TraceId),
        (trace_id.clone(), EncodeError::SpanId),
        ([trace_id, raw_field(2, &[0; 8])].concat(), EncodeError::SpanId),
    ];
    for (span, error) in cases {
        let mut out = b"before".to_vec();
        assert_eq!(encoder.span(&origin, &span, errors(), &mut out), Err(error));
        assert_eq!(out, b"before");
    }
}
