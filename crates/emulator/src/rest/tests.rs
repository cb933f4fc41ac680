//! Tests of Google's JSON: valid and invalid messages, answers and errors.

use std::sync::Arc;

use http_body_util::Full;

use super::*;
use crate::proto::google::devtools::cloudtrace::v2::attribute_value::Value;
use crate::proto::google::devtools::cloudtrace::v2::span::time_event;
use crate::proto::google::devtools::cloudtrace::v2::{AttributeValue, Span};
use crate::samples::NOW_NS;
use crate::store::TraceStore;

const TRACE: &str = "00000000000000000000000000000001";
const SPAN: &str = "0000000000000002";

fn span(body: &str) -> Result<Span, String> {
    let span: messages::Span = serde_json::from_str(body).map_err(|error| error.to_string())?;
    span.into_proto().map_err(str::to_owned)
}

#[test]
fn paths() {
    let cases = [
        ("/v2/projects/p/traces:batchWrite", Some(ApiMethod::BatchWrite { name: "projects/p" })),
        ("/v2/projects/a.b:p/traces:batchWrite", Some(ApiMethod::BatchWrite { name: "projects/a.b:p" })),
        ("/v2/projects/p/traces/t/spans/s", Some(ApiMethod::CreateSpan { name: "projects/p/traces/t/spans/s" })),
        ("/v2/projects//traces:batchWrite", None),
        ("/v2/projects/p/q/traces:batchWrite", None),
        ("/v2/folders/p/traces:batchWrite", None),
        ("/v2/projects/p/traces/t/spans/", None),
        ("/v2/projects/p/traces", None),
        ("/v1/projects/p/traces:batchWrite", None),
    ];
    for (path, expected) in cases {
        assert_eq!(ApiMethod::of(path), expected, "{path}");
    }
}

#[test]
fn a_span_with_all_fields_is_read_in_camel_and_snake_case() {
    let camel = r#"{
        "name": "n", "spanId": "s", "parentSpanId": "p", "displayName": {"value": "d", "truncatedByteCount": 1},
        "startTime": "2026-11-21T00:00:00.000000001Z", "endTime": "2026-11-21T01:00:00+01:00",
        "attributes": {"attributeMap": {
            "text": {"stringValue": {"value": "v"}}, "int": {"intValue": "-9223372036854775808"}, "yes": {"boolValue": true},
            "none": {}}, "droppedAttributesCount": 2},
        "stackTrace": {"stackFrames": {"frame": [{"functionName": {"value": "f"}, "lineNumber": "7",
            "loadModule": {"module": {"value": "m"}}}], "droppedFramesCount": 3}, "stackTraceHashId": "4"},
        "timeEvents": {"timeEvent": [
            {"time": "2026-11-21T00:00:00Z", "annotation": {"description": {"value": "a"}}},
            {"messageEvent": {"type": "SENT", "id": "1", "uncompressedSizeBytes": 2}}], "droppedAnnotationsCount": 5},
        "links": {"link": [{"traceId": "t", "spanId": "s", "type": "PARENT_LINKED_SPAN"}], "droppedLinksCount": 6},
        "status": {"code": 2, "message": "m", "details": [{"@type": "t", "x": 1}]},
        "sameProcessAsParentSpan": false, "childSpanCount": 8, "spanKind": "SERVER"
    }"#;
    let read = span(camel).unwrap();
    assert_eq!(read.start_time.unwrap().nanos, 1);
    assert_eq!(i128::from(read.end_time.unwrap().seconds) * 1_000_000_000, i128::from(NOW_NS));
    let map = &read.attributes.as_ref().unwrap().attribute_map;
    assert_eq!(map["int"], AttributeValue { value: Some(Value::IntValue(i64::MIN)) });
    assert_eq!(map["none"], AttributeValue { value: None });
    assert_eq!((read.span_kind, read.same_process_as_parent_span, read.child_span_count), (2, Some(false), Some(8)));
    let events = read.time_events.as_ref().unwrap();
    assert!(matches!(&events.time_event[1].value, Some(time_event::Value::MessageEvent(event)) if event.r#type == 1));
    assert_eq!(read.links.as_ref().unwrap().link[0].r#type, 2);
    assert_eq!(read.stack_trace.as_ref().unwrap().stack_frames.as_ref().unwrap().frame[0].line_number, 7);
    assert_eq!(read.status.as_ref().unwrap().code, 2);

    // The same span with every key in snake case, and null for each field that is not set.
    let snake: String = camel
        .split('"')
        .enumerate()
        .map(|(i, part)| {
            let is_key = i % 2 == 1 && part.chars().next().is_some_and(|c| c.is_ascii_lowercase());
            let part = part.chars().flat_map(|c| match c.is_ascii_uppercase() && is_key {
                true => vec!['_', c.to_ascii_lowercase()],
                false => vec![c],
            });
            (if i == 0 { String::new() } else { "\"".to_owned() }) + &part.collect::<String>()
        })
        .collect();
    assert!(snake.contains("\"same_process_as_parent_span\""));
    assert_eq!(span(&snake).unwrap(), read);
    assert_eq!(span(r#"{"attributes": null, "spanKind": null, "displayName": null}"#), Ok(Span::default()));
    assert_eq!(span(r#"{"spanKind": 3}"#).unwrap().span_kind, 3);
}

#[test]
fn an_invalid_span_is_refused_with_the_reason() {
    let cases = [
        (r#"{"spanID": "s"}"#, "unknown field `spanID`"),
        (r#"{"startTime": "yesterday"}"#, "\"yesterday\" is not a time of RFC 3339"),
        (r#"{"startTime": 5}"#, "invalid type"),
        (r#"{"childSpanCount": 5000000000}"#, "5000000000 is out of range"),
        (r#"{"childSpanCount": "many"}"#, "\"many\" is not a whole number"),
        (r#"{"spanKind": "BUTLER"}"#, "\"BUTLER\" is not a value of this enumeration"),
        (
            r#"{"attributes": {"attributeMap": {"k": {"boolValue": true, "intValue": 1}}}}"#,
            "more than one of stringValue",
        ),
        (
            r#"{"timeEvents": {"timeEvent": [{"annotation": {}, "messageEvent": {}}]}}"#,
            "both annotation and messageEvent",
        ),
        ("[", "EOF"),
    ];
    for (body, expected) in cases {
        let said = span(body).expect_err(body);
        assert!(said.contains(expected), "{body}: {said}");
    }
}

/// Returns the status and JSON of the answer to a POST of `body`.
async fn post(store: &Arc<TraceStore>, path: &str, content_type: &str, body: &str) -> (u16, Json) {
    let headers = [(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap())].into_iter().collect();
    let body = Full::new(Bytes::from(body.to_owned()));
    let response = respond(&EmulatorService::new(Arc::clone(store)), &Method::POST, path, &headers, body).await;
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

fn now() -> String {
    prost_types::Timestamp::from(std::time::SystemTime::now()).to_string()
}

fn good_span() -> Json {
    json!({"name": format!("projects/p/traces/{TRACE}/spans/{SPAN}"), "spanId": SPAN,
        "displayName": {"value": "GET /"}, "startTime": now(), "endTime": now()})
}

#[tokio::test]
async fn calls_are_answered_as_google_answers() {
    let store = Arc::new(TraceStore::new(1 << 20));
    let batch = "/v2/projects/p/traces:batchWrite";
    let one = format!("/v2/projects/p/traces/{TRACE}/spans/0000000000000003");
    let (json_type, json_utf8) = ("application/json", "Application/JSON; charset=utf-8");
    let good = json!({"name": "projects/other", "spans": [good_span()]}).to_string();
    assert_eq!(post(&store, batch, json_type, &good).await, (200, json!({})));
    assert_eq!(post(&store, batch, json_utf8, "{}").await, (200, json!({})));

    let mut span = good_span();
    span["spanId"] = json!("0000000000000003");
    span["name"] = Json::Null;
    let (status, created) = post(&store, &one, json_type, &span.to_string()).await;
    assert_eq!((status, &created["name"], &created["displayName"]), (200, &json!(one[4..]), &span["displayName"]));
    assert_eq!(store.span_count(), 2);

    let mut nameless = good_span();
    nameless["displayName"] = Json::Null;
    let bad = json!({"spans": [good_span(), nameless]}).to_string();
    let many = format!("{{\"spans\": [{}]}}", vec!["{}"; 25_001].join(","));
    let cases = [
        (batch, json_type, bad.as_str(), 400, "INVALID_ARGUMENT", "spans[1]"),
        (
            batch,
            json_type,
            "{\"span\": []}",
            400,
            "INVALID_ARGUMENT",
            "Invalid JSON payload received: unknown field `span`",
        ),
        (batch, json_type, "spans", 400, "INVALID_ARGUMENT", "Invalid JSON payload received"),
        (batch, json_type, many.as_str(), 400, "INVALID_ARGUMENT", "more than 25000 spans"),
        (batch, "text/plain", good.as_str(), 415, "INVALID_ARGUMENT", "application/json"),
        (one.as_str(), json_type, "{}", 400, "INVALID_ARGUMENT", "span_id must be the last part of name"),
        ("/v2/projects/p/traces", json_type, "{}", 404, "NOT_FOUND", "traces:batchWrite"),
    ];
    for (path, content_type, body, code, status, message) in cases {
        let (http, answer) = post(&store, path, content_type, body).await;
        let error = &answer["error"];
        assert_eq!((http, &error["code"], &error["status"]), (code, &json!(code), &json!(status)), "{path} {answer}");
        assert!(error["message"].as_str().unwrap().contains(message), "{path}: {answer}");
    }
    assert_eq!(store.span_count(), 2, "a refused batch stores nothing");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let store = Arc::new(TraceStore::new(1 << 20));
    let body = " ".repeat(BODY_BYTES_MAX + 1);
    let (status, answer) = post(&store, "/v2/projects/p/traces:batchWrite", "application/json", &body).await;
    assert_eq!((status, &answer["error"]["status"]), (400, &json!("INVALID_ARGUMENT")));
    assert!(answer["error"]["message"].as_str().unwrap().contains("limit"), "{answer}");
}
