//! Tests of routes, queries, JSON and headers.

use serde_json::{Value as Json, json};

use super::*;
use crate::origin::{TraceFate, TrafficCounts};
use crate::proto::google::devtools::cloudtrace::v2::attribute_value::Value;
use crate::proto::google::devtools::cloudtrace::v2::span::time_event::{Annotation, Value as EventValue};
use crate::proto::google::devtools::cloudtrace::v2::span::{Link, Links, TimeEvent, TimeEvents};
use crate::proto::google::devtools::cloudtrace::v2::{AttributeValue, Span};
use crate::proto::google::rpc;
use crate::samples::{NOW_NS, attributes, checked, span, stored, string, text, timestamp};

const HOSTILE: &str = "</script><script>alert(1)</script><img src=x onerror=alert(1)>";
const TRACE: &str = "00000000000000000000000000000001";

fn get(store: &TraceStore, uri: &str) -> Response<Bytes> {
    respond(Site { store, origin: None }, &Method::GET, &uri.parse().unwrap())
}

/// A daemon that knows traces by the last byte of their ids.
#[derive(Debug)]
struct Knows(&'static [(u8, TraceFate)]);

impl DaemonQueries for Knows {
    fn fate(&self, id: TraceId) -> TraceFate {
        self.0.iter().find(|(last, _)| *last == id.0[15]).map_or(TraceFate::Unknown, |(_, fate)| fate.clone())
    }

    fn traffic(&self) -> TrafficCounts {
        TrafficCounts { received_spans: 27, sampled_out_traces: 9, sampled_out_spans: 27, ..TrafficCounts::default() }
    }
}

fn get_json(store: &TraceStore, uri: &str) -> (u16, Json) {
    let response = get(store, uri);
    assert_eq!(response.headers()[CONTENT_TYPE], JSON, "{uri}");
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

fn full_span() -> Span {
    let annotation =
        Annotation { description: Some(text("retry")), attributes: Some(attributes(&[("n", Value::IntValue(1))])) };
    let event = TimeEvent { time: Some(timestamp(NOW_NS + 1)), value: Some(EventValue::Annotation(annotation)) };
    let mut attributes = attributes(&[
        ("service.name", string("api")),
        ("spansieve.policy", string("errors")),
        ("spansieve.adjusted_count", Value::IntValue(1)),
        ("big", Value::IntValue(i64::MAX)),
        ("small", Value::IntValue(-7)),
        ("yes", Value::BoolValue(true)),
    ]);
    let mut cut = text("beginning");
    cut.truncated_byte_count = 11;
    attributes.attribute_map.insert("cut".into(), AttributeValue { value: Some(Value::StringValue(cut)) });
    attributes.dropped_attributes_count = 4;
    let link = Link { trace_id: TRACE.into(), span_id: "0000000000000009".into(), ..Link::default() };
    Span {
        attributes: Some(attributes),
        time_events: Some(TimeEvents {
            time_event: vec![event],
            dropped_annotations_count: 2,
            dropped_message_events_count: 1,
        }),
        links: Some(Links { link: vec![link], dropped_links_count: 3 }),
        status: Some(rpc::Status { code: 2, message: "broken".into(), details: Vec::new() }),
        span_kind: 2,
        ..span(1, 2, 77, 0..2)
    }
}

fn store_of(spans: Vec<Span>) -> TraceStore {
    let store = TraceStore::new(1 << 20);
    store.write(&spans.into_iter().map(checked).collect::<Vec<_>>());
    store
}

#[test]
fn a_list_row() {
    let (status, rows) = get_json(&store_of(vec![full_span()]), "/api/traces");
    let row = json!({
        "trace_id": TRACE, "root_name": "span 2", "root_service": "api", "services": ["api"], "service_colors": {"api": 0},
        "start": "2026-11-21T00:00:00Z", "start_ns": NOW_NS.to_string(), "duration_ms": 2.0,
        "span_count": 1, "error_count": 1, "policy": "errors", "adjusted_count": 1.0,
    });
    assert_eq!((status, rows), (200, json!([row])));
}

#[test]
fn a_whole_trace() {
    let (status, trace) = get_json(&store_of(vec![full_span()]), &format!("/api/traces/{TRACE}"));
    let expected_span = json!({
        "span_id": "0000000000000002", "parent_span_id": "000000000000004d", "parent_stored": false, "depth": 0,
        "project": "p", "name": "span 2", "kind": "SERVER", "service": "api",
        "start_ns": NOW_NS.to_string(), "end_ns": (NOW_NS + 2_000_000).to_string(), "duration_ms": 2.0,
        "status": {"code": 2, "name": "UNKNOWN", "message": "broken"}, "error": true,
        "attributes": {
            "service.name": "api", "spansieve.policy": "errors", "spansieve.adjusted_count": 1,
            "big": "9223372036854775807", "small": -7, "yes": true, "cut": "beginning",
        },
        "truncated_byte_counts": {"cut": 11}, "dropped_attribute_count": 4,
        "events": [{
            "time_ns": (NOW_NS + 1).to_string(), "name": "retry", "attributes": {"n": 1}, "dropped_attribute_count": 0,
        }],
        "dropped_event_count": 3,
        "links": [{"trace_id": TRACE, "span_id": "0000000000000009", "attributes": {}, "dropped_attribute_count": 0}],
        "dropped_link_count": 3,
    });
    assert_eq!(status, 200);
    assert_eq!(trace["spans"], json!([expected_span]));
    assert_eq!(trace["trace_id"], TRACE);
    assert_eq!(trace["end_ns"], (NOW_NS + 2_000_000).to_string());
}

#[test]
fn statuses_by_path() {
    let store = store_of(vec![span(1, 1, 0, 0..1)]);
    let cases = [
        ("/", 200, HTML),
        ("/?filter=errors", 200, HTML),
        ("/assets/style.css", 200, "text/css; charset=utf-8"),
        ("/assets/list.js", 200, "text/javascript; charset=utf-8"),
        ("/livez", 200, TEXT),
        ("/assets/none", 404, JSON),
        ("/api/status", 200, JSON),
        ("/api/traces", 200, JSON),
        ("/api/traces/00000000000000000000000000000001", 200, JSON),
        ("/api/traces/00000000000000000000000000000002", 404, JSON),
        ("/api/traces/0000000000000000000000000000000A", 400, JSON),
        ("/api/traces/", 400, JSON),
        ("/api/traces/00000000000000000000000000000001/spans", 400, JSON),
        ("/traces/00000000000000000000000000000001", 200, HTML),
        ("/traces/00000000000000000000000000000002", 404, HTML),
        ("/traces/x", 400, HTML),
        ("/nowhere", 404, JSON),
    ];
    for (path, status, content_type) in cases {
        let response = get(&store, path);
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(response.headers()[CONTENT_TYPE], content_type, "{path}");
    }
}

/// A daemon in the same process explains why a trace is not stored.
#[test]
fn a_trace_that_is_not_stored_is_explained() {
    let knows = Knows(&[(1, TraceFate::SampledOut { rescuable: false }), (2, TraceFate::Pending)]);
    let store = TraceStore::new(1 << 20);
    let cases = [
        (Some(&knows as &dyn DaemonQueries), 1, json!("sampled_out"), "sampled out: no policy kept it"),
        (Some(&knows), 2, json!("pending"), "has not decided yet"),
        (Some(&knows), 3, json!("unknown"), "does not know this trace"),
        (None, 1, Json::Null, "no span of it came"),
    ];
    for (origin, id, fate, text) in cases {
        let uri = format!("/api/traces/{id:032x}").parse().unwrap();
        let response = respond(Site { store: &store, origin }, &Method::GET, &uri);
        let body: Json = serde_json::from_slice(response.body()).unwrap();
        assert_eq!((response.status().as_u16(), &body["fate"]), (404, &fate));
        assert!(body["error"].as_str().unwrap().contains(text), "{body}");
    }
}

#[test]
fn the_status_reports_the_daemons_counts() {
    let store = TraceStore::new(1 << 20);
    let status = |origin| {
        let response = respond(Site { store: &store, origin }, &Method::GET, &Uri::from_static("/api/status"));
        serde_json::from_slice::<Json>(response.body()).unwrap()
    };
    let daemon = &status(Some(&Knows(&[])))["daemon"];
    assert_eq!((&daemon["received_spans"], &daemon["sampled_out_traces"]), (&json!(27), &json!(9)));
    assert_eq!(status(None)["daemon"], Json::Null);
}

#[test]
fn queries_are_read_or_refused() {
    let store = TraceStore::new(1 << 20);
    let slow =
        checked(Span { attributes: Some(attributes(&[("service.name", string("a b&c"))])), ..span(1, 1, 0, 0..900) });
    store.write(&[slow, stored(2, 1, 0, 0..1)]);
    let cases = [
        ("", Ok(2)),
        ("?filter=newest&policy=&service=&limit=", Ok(2)),
        ("?filter=slow&limit=1", Ok(1)),
        ("?filter=errors", Ok(0)),
        ("?service=a%20b%26c", Ok(1)),
        ("?service=a+b%26c", Ok(1)),
        ("?filter=fast", Err("unknown filter \"fast\"")),
        ("?limit=0", Err("limit must be")),
        ("?limit=1001", Err("limit must be")),
        ("?limit=many", Err("limit must be")),
        ("?pol%C3%ADcy=x", Err("unknown parameter \"polícy\"")),
    ];
    for (query, expected) in cases {
        let (status, body) = get_json(&store, &format!("/api/traces{query}"));
        match expected {
            Ok(count) => assert_eq!((status, body.as_array().unwrap().len()), (200, count), "{query}"),
            Err(message) => {
                assert_eq!(status, 400, "{query}");
                assert!(body["error"].as_str().unwrap().contains(message), "{query}: {body}");
            }
        }
    }
}

#[test]
fn only_get_and_head_are_allowed() {
    let site = Site { store: &TraceStore::new(1), origin: None };
    let response = respond(site, &Method::POST, &Uri::from_static("/api/traces"));
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()[ALLOW], "GET, HEAD");
}

/// Names with markup stay data. The HTML is the same for every trace, browsers never treat the JSON as HTML, only the
/// page's own scripts may run, and those scripts cannot turn a string into markup.
#[test]
fn names_with_markup_cannot_run_a_script() {
    let mut hostile = full_span();
    hostile.display_name = Some(text(HOSTILE));
    hostile.attributes = Some(attributes(&[(HOSTILE, string(HOSTILE)), ("service.name", string(HOSTILE))]));
    let (plain, hostile) = (store_of(vec![full_span()]), store_of(vec![hostile]));
    for path in ["/", &format!("/traces/{TRACE}"), "/api/traces", "/api/status", &format!("/api/traces/{TRACE}")] {
        let response = get(&hostile, path);
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        if response.headers()[CONTENT_TYPE] == HTML {
            assert_eq!(response.body(), get(&plain, path).body(), "{path}");
        } else {
            assert_eq!(response.headers()[CONTENT_TYPE], JSON, "{path}");
        }
    }
    let scripts = ASSETS.iter().filter(|(path, ..)| path.ends_with(".js"));
    for (path, _, script) in scripts {
        for way in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "javascript:"]
        {
            assert!(!script.contains(way), "{path} uses {way}");
        }
    }
    for page in [LIST_PAGE, TRACE_PAGE] {
        assert!(!page.contains("<script>") && !page.contains(" style=") && !page.contains(" onclick="));
    }
}

#[test]
fn the_pages_refer_only_to_files_of_this_server() {
    let store = TraceStore::new(1);
    for page in [LIST_PAGE, TRACE_PAGE] {
        assert!(!page.contains("=\"http") && !page.contains("=\"//"), "a page refers to an external address");
        let references = page.split('"').filter(|part| part.starts_with("/assets/"));
        for reference in references {
            assert_eq!(get(&store, reference).status(), StatusCode::OK, "{reference}");
        }
    }
}
