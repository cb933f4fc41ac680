//! `spansieve explain --from`: traces that the daemon holds, with its own answers or with another configuration.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;

use super::asking::{config, document, file, get, spansieve, start};
use crate::support::{self, Client, error, otlp, request, span, trace_id};

/// Returns the configuration with a long wait, so that traces stay pending.
fn waiting() -> String {
    config().replacen("decision_wait: 1s", "decision_wait: 60s", 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spans_of_a_trace_in_memory_are_those_that_were_sent() {
    let daemon = support::start(&waiting()).await;
    let mut sender = Client::new(&otlp(&daemon));
    let (trace, other) = (trace_id(false), trace_id(false));
    let sent = request("shop", vec![span(trace, "a"), span(trace, "b")]);
    let both = request("shop", vec![span(other, "x"), span(trace, "c")]);
    sender.export(sent.clone()).await.unwrap();
    sender.export(both.clone()).await.unwrap();
    let answer = document(&daemon, &format!("/api/traces/{trace:032x}")).await;
    assert_eq!((&answer["fate"]["fate"], &answer["fate"]["spans"]), (&"pending".into(), &3.into()), "{answer}");
    let bytes = STANDARD.decode(answer["request"].as_str().unwrap()).unwrap();
    let found = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
    let mut expected = sent;
    expected.resource_spans.extend(both.resource_spans);
    expected.resource_spans[1].scope_spans[0].spans.remove(0);
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_is_not_in_memory_is_refused_with_its_fate() {
    let daemon = start().await;
    let url = daemon.api_url().unwrap();
    let trace = trace_id(false);
    Client::new(&otlp(&daemon)).export(request("shop", vec![error(trace, "a")])).await.unwrap();
    let (status, _, body) = get(&format!("{url}/api/traces/{trace:032x}")).await;
    assert!(status == 404 && body.contains("no span of this trace is in memory. The policy errors kept"), "{body}");
    let (status, _, body) = get(&format!("{url}/api/traces/4bf9")).await;
    assert!(status == 400 && body.contains("32 hexadecimal digits"), "{body}");
    let printed = spansieve(&["explain", "--from", url, &format!("{trace:032x}")]).await;
    assert_eq!((printed.code, printed.stdout.as_str()), (Some(1), ""));
    assert!(printed.stderr.contains("no span of this trace is in memory. The policy errors kept"), "{printed:?}");
    let printed = spansieve(&["explain", "--from", url, "trace.json"]).await;
    assert!(printed.code == Some(1) && printed.stderr.contains("a trace id has 32 hexadecimal digits"), "{printed:?}");
    let printed = spansieve(&["explain", "--token-file", "t", "trace.json"]).await;
    assert!(printed.code == Some(2) && printed.stderr.contains("--from"), "{printed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_is_too_large_for_an_answer_is_refused() {
    let daemon = support::start(&waiting()).await;
    let trace = trace_id(false);
    let mut sender = Client::new(&otlp(&daemon));
    for n in 0..5 {
        let mut large = span(trace, &n.to_string());
        let value = AnyValue { value: Some(Value::StringValue("x".repeat(1 << 20))) };
        large.attributes.push(KeyValue { key: "body".to_owned(), value: Some(value), ..KeyValue::default() });
        sender.export(request("shop", vec![large])).await.unwrap();
    }
    let (status, _, body) = get(&format!("{}/api/traces/{trace:032x}", daemon.api_url().unwrap())).await;
    assert!(status == 413 && body.contains("more than 4194304 bytes"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_trace_is_explained_by_the_daemon_or_by_a_changed_configuration() {
    let daemon = support::start(&waiting()).await;
    let url = daemon.api_url().unwrap();
    let trace = trace_id(false);
    Client::new(&otlp(&daemon)).export(request("shop", vec![span(trace, "checkout")])).await.unwrap();
    let id = format!("{trace:032x}");
    let printed = spansieve(&["explain", "--from", url, &id]).await;
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    assert!(printed.stdout.starts_with(&format!("{id}: pending\n")), "{printed:?}");
    for text in ["    errors    does not keep\n", "  spans\n  shop  checkout  "] {
        assert!(printed.stdout.contains(text), "{text} is missing: {}", printed.stdout);
    }
    let printed = spansieve(&["explain", "--from", url, "--format", "json", &id]).await;
    let json: serde_json::Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!((&json["fate"]["fate"], &json["spans"][0]["name"]), (&"pending".into(), &"checkout".into()));
    let changed = file("tail_sampling: {policies: [{name: all, type: always_sample}]}\nexport: {endpoint: embedded}\n");
    let path = changed.path().to_str().unwrap();
    let printed = spansieve(&["explain", "--from", url, "--config", path, &id]).await;
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    assert!(printed.stdout.starts_with(&format!("trace {id}: kept by all (")), "{printed:?}");
    assert!(printed.stdout.contains("  written:\n"), "{printed:?}");
}
