use std::fmt::Write as _;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, any_value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::{JsonError, MESSAGE_LEN_MAX, to_protobuf};
use crate::scan::{self, NoProbe, RejectReason, Scan};

const TRACE_ID: &str = "5b8efff798038103d269b633813fc60c";
const SPAN_ID: &str = "eee19b7ec3c1b174";

/// Scans the output. The scan must accept it and return it unchanged.
fn scanned(wire: &[u8]) -> Scan {
    let mut scan = Scan::default();
    let body = scan::scan(Bytes::copy_from_slice(wire), &NoProbe, &mut scan).expect("the scan accepts the output");
    assert_eq!(body, wire, "the output is in canonical form");
    scan
}

fn decoded(wire: &[u8]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(wire).expect("the output is protobuf")
}

fn error(body: impl AsRef<[u8]>) -> JsonError {
    to_protobuf(body.as_ref()).expect_err("the body is refused")
}

fn one_span(content: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{content}}}]}}]}}]}}"#)
}

fn span_with(fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { "," };
    one_span(&format!(r#""traceId":"{TRACE_ID}","spanId":"{SPAN_ID}"{comma}{fields}"#))
}

fn value(value: &str) -> String {
    span_with(&format!(r#""attributes":[{{"key":"k","value":{value}}}]"#))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// One row of the tables in `docs/otlp-json.md`.
struct Row {
    sent: String,
    outcome: String,
    body: fn(&str) -> String,
}

fn documented() -> Vec<Row> {
    let mut body: fn(&str) -> String = str::to_owned;
    let mut rows = Vec::new();
    for line in include_str!("../../../../docs/otlp-json.md").lines() {
        match line {
            "## Bodies" => body = str::to_owned,
            "## Ids" => body = one_span,
            "## Spans" => body = span_with,
            "## Attribute values" => body = value,
            _ => {}
        }
        if let Some(cells) = line.strip_prefix("| `").and_then(|line| line.strip_suffix(" |")) {
            let (sent, cells) = cells.split_once("` | ").expect(line);
            let (_, outcome) = cells.split_once(" | ").expect(line);
            rows.push(Row { sent: sent.to_owned(), outcome: outcome.to_owned(), body });
        }
    }
    rows
}

/// Checks that the body of the row has the outcome in the third column.
fn check(row: &Row) {
    let Row { sent, outcome, body } = row;
    let result = to_protobuf(body(sent).as_bytes());
    if let Some(reason) = outcome.strip_prefix("refuses: ") {
        let message = result.expect_err(sent).message.replace('`', "");
        assert!(message.contains(reason), "{sent}: {message}");
        return;
    }
    let wire = result.unwrap_or_else(|error| panic!("{sent}: {error}"));
    let scan = scanned(&wire);
    if let Some(reason) = outcome.strip_prefix("rejects the span: ") {
        let reason = match reason {
            "trace id" => RejectReason::TraceId,
            "parent span id" => RejectReason::ParentSpanId,
            _ => RejectReason::SpanId,
        };
        assert_eq!((scan.facts.len(), scan.rejected[reason as usize]), (0, 1), "{sent}");
        return;
    }
    assert_eq!(scan.rejected_count(), 0, "{sent}");
    if let Some(bytes) = outcome.strip_prefix("bytes ") {
        assert!(hex(&wire).ends_with(bytes.trim_matches('`')), "{sent}: {}", hex(&wire));
        return;
    }
    let meaning = match outcome.as_str() {
        "as sent" => sent,
        "as if absent" => "",
        json => json.trim_matches('`'),
    };
    let stock: ExportTraceServiceRequest = serde_json::from_str(&body(meaning)).expect(meaning);
    assert_eq!(decoded(&wire), stock, "{sent}");
}

#[test]
fn the_documented_tables_hold() {
    let rows = documented();
    assert!(rows.len() > 150, "only {} rows", rows.len());
    rows.iter().for_each(check);
}

/// Errors that a table of one-line JSON cannot show, as (body, line, column, message).
#[test]
fn errors_have_a_line_and_a_column() {
    for (body, line, column, message) in [
        (&b""[..], 1, 0, "the body is empty; a request without spans is `{}`"),
        (b" \r\n", 1, 0, "the body is empty; a request without spans is `{}`"),
        (b"\xef\xbb\xbf{}", 1, 0, "the body begins with a byte order mark, which JSON does not allow"),
        (b"\xff\xfe{\0}\0", 1, 1, "expected value"),
        (b"{\n  \"resourceSpans\": 5\n}", 2, 20, "invalid type: integer `5`, expected a list as `resourceSpans`"),
        (b"{\n\"foo\": 1\n}", 3, 1, "no `resourceSpans` in ExportTraceServiceRequest, but the unknown key \"foo\""),
        (b"{\n\"resourceSpans\": [\n", 3, 0, "EOF while parsing a list"),
    ] {
        let error = error(body);
        assert_eq!((error.line, error.column, &*error.message), (line, column, message), "{body:?}");
        assert_eq!(error.to_string(), format!("{message} at line {line} column {column}"));
    }
}

#[test]
fn errors_are_short_however_long_the_body() {
    let long = "x".repeat(100_000);
    for body in [
        format!(r#"{{"{long}":1}}"#),
        format!(r#"{{"resourceSpans":"{long}"}}"#),
        span_with(&format!(r#""startTimeUnixNano":"{long}""#)),
        value(&format!(r#"{{"bytesValue":"!{long}"}}"#)),
    ] {
        assert!(error(&body).message.len() <= MESSAGE_LEN_MAX);
    }
}

#[test]
fn a_bad_id_harms_no_other_span() {
    let body = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[
            {{"traceId":"not hexadecimal!","spanId":"{SPAN_ID}","name":"a"}},
            {{"traceId":"{TRACE_ID}","spanId":"{SPAN_ID}","name":"b"}},
            null,
            {{"traceId":"{TRACE_ID}","name":"c"}},
            {{"traceId":"{TRACE_ID}","spanId":"{SPAN_ID}","parentSpanId":"xyz","name":"d"}}
        ]}}]}}]}}"#
    );
    let scan = scanned(&to_protobuf(body.as_bytes()).unwrap());
    assert_eq!((scan.facts.len(), scan.rejected), (1, [2, 1, 1]));
}

#[test]
fn bytes_that_are_not_utf8_pass_as_from_protobuf_senders() {
    let mut body = span_with(r#""name":"a?b""#).into_bytes();
    let at = body.iter().position(|&b| b == b'?').unwrap();
    body[at] = 0xff;
    let wire = to_protobuf(&body).unwrap();
    assert!(wire.windows(5).any(|w| w == b"\x2a\x03a\xffb"), "{}", hex(&wire));
    assert_eq!(scanned(&wire).facts.len(), 1);
}

/// Checks arrays of arrays and lists of lists, as deep as serde_json reads them.
#[test]
fn values_nested_as_deep_as_json_allows_pass_the_scan() {
    for (open, close) in
        [(r#"{"arrayValue":{"values":["#, "]}}"), (r#"{"kvlistValue":{"values":[{"key":"k","value":"#, "}]}}")]
    {
        let nested = |depth: usize| value(&format!("{}{{}}{}", open.repeat(depth), close.repeat(depth)));
        let deepest = (0..100).take_while(|&depth| to_protobuf(nested(depth).as_bytes()).is_ok()).last().unwrap();
        assert!((20..50).contains(&deepest), "{deepest}");
        assert_eq!(scanned(&to_protobuf(nested(deepest).as_bytes()).unwrap()).facts.len(), 1);
        assert_eq!(error(nested(deepest + 1)).message, "recursion limit exceeded");
        assert_eq!(error(nested(100_000)).message, "recursion limit exceeded");
    }
}

/// The lengths are around those where the length prefix grows to two, three and four bytes.
#[test]
fn submessages_of_every_length_are_framed() {
    for len in [0, 1, 100, 110, 120, 126, 127, 128, 129, 16_300, 16_383, 16_384, 2_097_151, 2_097_152] {
        let body = value(&format!(r#"{{"stringValue":"{}"}}"#, "v".repeat(len)));
        let wire = to_protobuf(body.as_bytes()).unwrap();
        assert_eq!(decoded(&wire), serde_json::from_str(&body).unwrap(), "{len}");
        assert_eq!(wire.capacity(), wire.len(), "{len}");
    }
}

/// The output is the same as that of prost. (Only fields with their default value would differ: prost leaves them out.)
#[test]
fn a_stock_request_gives_the_bytes_of_its_protobuf() {
    let body = span_with(
        r#""traceState":"a=b","parentSpanId":"0102030405060708","name":"n","kind":2,"startTimeUnixNano":"1",
           "endTimeUnixNano":"2","attributes":[{"key":"k","value":{"boolValue":true}}],
           "events":[{"timeUnixNano":"1","name":"e"}],"links":[{"traceId":"01","spanId":"02","flags":3}],
           "status":{"message":"m","code":2},"flags":257"#,
    );
    let wire = to_protobuf(body.as_bytes()).unwrap();
    assert_eq!(hex(&wire), hex(&decoded(&wire).encode_to_vec()));
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    use any_value::Value;
    let leaf = prop_oneof![
        Just(None),
        any::<String>().prop_map(|v| Some(Value::StringValue(v))),
        any::<bool>().prop_map(|v| Some(Value::BoolValue(v))),
        any::<i64>().prop_map(|v| Some(Value::IntValue(v))),
        prop::num::f64::NORMAL.prop_map(|v| Some(Value::DoubleValue(v))),
        vec(any::<u8>(), 0..40).prop_map(|v| Some(Value::BytesValue(v))),
    ];
    let value = leaf.prop_map(|value| AnyValue { value });
    value.prop_recursive(4, 16, 4, |inner| {
        let pair = (any::<String>(), inner.clone()).prop_map(|(key, value)| key_value(key, Some(value)));
        prop_oneof![
            vec(inner, 0..4).prop_map(|values| Value::ArrayValue(ArrayValue { values })),
            vec(pair, 0..4).prop_map(|values| Value::KvlistValue(KeyValueList { values })),
        ]
        .prop_map(|value| AnyValue { value: Some(value) })
    })
}

fn key_value(key: String, value: Option<AnyValue>) -> KeyValue {
    KeyValue { key, value, ..Default::default() }
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    vec((any::<String>(), any_value()).prop_map(|(key, value)| key_value(key, Some(value))), 0..4)
}

fn event() -> impl Strategy<Value = Event> {
    (any::<u64>(), any::<String>(), attributes(), any::<u32>()).prop_map(
        |(time_unix_nano, name, attributes, dropped_attributes_count)| Event {
            time_unix_nano,
            name,
            attributes,
            dropped_attributes_count,
        },
    )
}

fn link() -> impl Strategy<Value = Link> {
    (vec(any::<u8>(), 16), vec(any::<u8>(), 8), any::<String>(), attributes(), any::<u32>(), any::<u32>()).prop_map(
        |(trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags)| Link {
            trace_id,
            span_id,
            trace_state,
            attributes,
            dropped_attributes_count,
            flags,
        },
    )
}

fn span() -> impl Strategy<Value = Span> {
    let ids = (vec(any::<u8>(), 16), vec(any::<u8>(), 8), vec(any::<u8>(), 0..9));
    let texts = (any::<String>(), any::<String>(), prop::option::of((any::<String>(), 0..3i32)));
    let lists = (attributes(), vec(event(), 0..3), vec(link(), 0..3));
    (ids, texts, lists, any::<[u64; 2]>(), any::<[u32; 4]>(), any::<i32>()).prop_map(
        |(ids, texts, lists, times, counts, kind)| Span {
            trace_id: ids.0,
            span_id: ids.1,
            parent_span_id: ids.2,
            trace_state: texts.0,
            name: texts.1,
            status: texts.2.map(|(message, code)| Status { message, code }),
            attributes: lists.0,
            events: lists.1,
            links: lists.2,
            start_time_unix_nano: times[0],
            end_time_unix_nano: times[1],
            flags: counts[0],
            dropped_attributes_count: counts[1],
            dropped_events_count: counts[2],
            dropped_links_count: counts[3],
            kind,
        },
    )
}

fn resource() -> impl Strategy<Value = Resource> {
    let entity = (any::<String>(), any::<String>(), vec(any::<String>(), 0..3), vec(any::<String>(), 0..3)).prop_map(
        |(schema_url, r#type, id_keys, description_keys)| EntityRef { schema_url, r#type, id_keys, description_keys },
    );
    (attributes(), any::<u32>(), vec(entity, 0..2)).prop_map(|(attributes, dropped_attributes_count, entity_refs)| {
        Resource { attributes, dropped_attributes_count, entity_refs }
    })
}

fn scope_spans() -> impl Strategy<Value = ScopeSpans> {
    let scope = (any::<String>(), any::<String>(), attributes(), any::<u32>()).prop_map(
        |(name, version, attributes, dropped_attributes_count)| InstrumentationScope {
            name,
            version,
            attributes,
            dropped_attributes_count,
        },
    );
    (prop::option::of(scope), vec(span(), 0..3), any::<String>()).prop_map(|(scope, spans, schema_url)| ScopeSpans {
        scope,
        spans,
        schema_url,
    })
}

fn request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let resource_spans = (prop::option::of(resource()), vec(scope_spans(), 0..3), any::<String>())
        .prop_map(|(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url });
    vec(resource_spans, 0..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

/// Pieces of requests in any order. Far more of these bodies are nearly valid than arbitrary text would be.
fn near_json() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "null",
        "true",
        "1",
        "-1.5e3",
        "\"\\ud800\"",
        "\"a\"",
        "\"key\":",
        "\"value\":{",
        "\"stringValue\":",
        "\"intValue\":",
        "\"arrayValue\":{\"values\":[",
        "{\"resourceSpans\":[{",
        "\"resource\":{",
        "\"scopeSpans\":[{",
        "\"spans\":[{",
        "\"traceId\":\"00\",",
        "\"status\":{",
        "\"code\":",
        "\"attributes\":[{",
        "}]}]}]}",
        "}]}]",
        "}}",
        "}]",
    ]);
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// The JSON that opentelemetry-proto writes decodes to the original. Doubles are normal numbers only, because
    /// serde_json's shortest form preserves no others.
    #[test]
    fn stock_json_decodes_to_the_original(request in request(), pretty: bool) {
        let body = if pretty { serde_json::to_vec_pretty(&request) } else { serde_json::to_vec(&request) }.unwrap();
        let wire = to_protobuf(&body).map_err(|e| TestCaseError::fail(e.to_string()))?;
        scanned(&wire);
        prop_assert_eq!(decoded(&wire), request);
    }

    #[test]
    fn every_accepted_body_passes_the_scan(body in prop_oneof![any::<String>(), near_json(), near_json().prop_map(|s| span_with(&s))]) {
        if let Ok(wire) = to_protobuf(body.as_bytes()) {
            scanned(&wire);
        }
    }

    #[test]
    fn a_cut_request_is_refused(request in request(), cut: prop::sample::Index) {
        let body = serde_json::to_vec(&request).unwrap();
        prop_assert!(to_protobuf(&body[..cut.index(body.len())]).is_err());
    }
}
