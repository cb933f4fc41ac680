//! The OTLP sink: kept spans go to a server with scripted answers, and to another Spansieve.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(unreachable_pub, clippy::default_trait_access)]
pub mod server;

use std::collections::BTreeSet;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use server::{Call, Rule, Script, partial};
use spansieve::daemon::Daemon;
use spansieve_test_support::sink::with_retry_info;
use tonic::{Code, Status};

use crate::support::{self, Client, conservation, error, eventually, metric, request, span, trace_id};

/// Returns the usual configuration with `export` as its sink.
fn config(export: &str) -> String {
    let (head, tail) = support::CONFIG.split_once("export:").unwrap();
    let memory = tail.split_once("memory:").unwrap().1;
    format!("{head}export:\n  batch: {{max_delay: 100ms}}\n{export}\nmemory:{memory}")
        .replace("decision_wait: 1s", "decision_wait: 50ms")
}

async fn start(export: &str) -> Daemon {
    support::start(&config(export)).await
}

/// Sends a span for each name. Each is an error in a trace of its own, and is kept.
async fn keep(daemon: &Daemon, names: &[&str]) {
    let spans = names.iter().map(|name| error(trace_id(false), name)).collect();
    Client::new(&support::otlp(daemon)).export(request("shop", spans)).await.unwrap();
}

/// Waits until no span is held; returns the numbers of exported and of refused spans.
async fn settled(daemon: &Daemon) -> (f64, f64) {
    let scrape = daemon.scrape().clone();
    eventually("everything is settled", || {
        metric(&scrape(), "spansieve_held_spans", &["pending"]) == 0.0
            && metric(&scrape(), "spansieve_held_spans", &["export"]) == 0.0
    })
    .await;
    let text = scrape();
    let (received, accounted) = conservation(&text);
    assert_eq!(received, accounted);
    let exported = metric(&text, "spansieve_exported_spans_total", &[]);
    (exported, metric(&text, "spansieve_dropped_spans_total", &["refused"]))
}

fn bad_span(call: &Call) -> Option<Status> {
    call.spans().any(|span| span.name == "bad").then(|| Status::invalid_argument("a bad span"))
}

fn at_most_three(call: &Call) -> Option<Status> {
    let message = "grpc: received message larger than max (5000 vs. 4096)";
    (call.spans().count() > 3).then(|| Status::resource_exhausted(message))
}

const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "bad", "f", "g", "h", "i"];

#[tokio::test]
async fn every_span_is_stored_once_or_counted_for_every_answer() {
    type Case = (&'static str, Option<Rule>, Vec<Result<(), Status>>, f64, std::ops::RangeInclusive<usize>);
    let cases: [Case; 5] = [
        ("fine", None, vec![], 0.0, 1..=1),
        ("away, with a wish", None, vec![Err(with_retry_info(Code::Unavailable, 1))], 0.0, 2..=2),
        ("a quota, with a wish", None, vec![Err(with_retry_info(Code::ResourceExhausted, 1))], 0.0, 2..=2),
        // The whole batch first, then two halves at each step.
        ("one bad span", Some(bad_span), vec![], 1.0, 5..=9),
        ("a message too large, by another code", Some(at_most_three), vec![], 0.0, 5..=9),
    ];
    for (case, rule, answers, refused, calls) in cases {
        let waits = !answers.is_empty();
        let script = Script::new(rule, answers.into_iter().map(|answer| answer.map(|()| Default::default())));
        let daemon = start(&format!("  api: otlp\n  endpoint: \"{}\"", script.serve().await)).await;
        keep(&daemon, &NAMES).await;
        assert_eq!(settled(&daemon).await, (10.0 - refused, refused), "{case}");
        let (stored, again) = script.stored();
        assert_eq!((stored.len(), again), (10 - refused as usize, 0), "{case}");
        assert!(refused == 0.0 || stored.iter().all(|span| span.name != "bad"), "{case}");
        let made = script.calls();
        assert!(calls.contains(&made.len()), "{case}: {} calls", made.len());
        if waits {
            assert_eq!(made[0].request, made[1].request, "{case}: the retry has the same content");
            assert!(made[1].at - made[0].at >= Duration::from_secs(1), "{case}");
        }
        daemon.stop(Duration::from_secs(2)).await;
    }
}

#[tokio::test]
async fn partial_success_is_honoured() {
    // The number of spans that the server rejects, and the number that is counted: never more than were sent.
    for (rejected, refused) in [(2, 2.0), (0, 0.0), (-1, 0.0), (99, 10.0)] {
        let script = Script::new(None, [partial(rejected, "attributes without end")]);
        let daemon = start(&format!("  api: otlp\n  endpoint: \"{}\"", script.serve().await)).await;
        keep(&daemon, &NAMES).await;
        assert_eq!(settled(&daemon).await, (10.0 - refused, refused), "{rejected}");
        daemon.stop(Duration::from_secs(2)).await;
        assert_eq!(script.calls().len(), 1, "{rejected}: not sent again");
    }
}

#[tokio::test]
async fn calls_carry_headers_and_spans_carry_policy_and_adjusted_count() {
    let script = Script::new(None, []);
    let export = "  api: telemetry\n  project: my-project\n  headers: {x-scope-orgid: staging}\n";
    let daemon = start(&format!("{export}  endpoint: \"{}\"", script.serve().await)).await;
    let ratio = span(trace_id(true), "by ratio");
    let spans = vec![error(trace_id(false), "broken"), ratio, span(trace_id(false), "dropped")];
    Client::new(&support::otlp(&daemon)).export(request("shop", spans)).await.unwrap();
    assert_eq!(settled(&daemon).await, (2.0, 0.0));
    daemon.stop(Duration::from_secs(2)).await;

    let calls = script.calls();
    let header = |name: &str| calls[0].headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("x-scope-orgid").as_deref(), Some("staging"));
    assert!(header("user-agent").unwrap().starts_with("spansieve/"));
    assert_eq!(header("authorization"), None);
    let resource = calls[0].request.resource_spans[0].resource.as_ref().unwrap();
    let attributes = resource.attributes.iter().map(|pair| {
        let Some(Value::StringValue(value)) = &pair.value.as_ref().unwrap().value else { panic!("{pair:?}") };
        (&*pair.key, &**value)
    });
    let expected = BTreeSet::from([("service.name", "shop"), ("gcp.project_id", "my-project")]);
    assert_eq!(attributes.collect::<BTreeSet<_>>(), expected);

    let (mut stored, again) = script.stored();
    stored.sort_by(|a, b| a.name.cmp(&b.name));
    let told = |span: &Span| (span.name.clone(), span.trace_state.clone(), annotations(span));
    let expected = [
        ("broken", "ot=th:0", ("errors".to_owned(), 1)),
        ("by ratio", "ot=th:f3333333333333", ("baseline".to_owned(), 20)),
    ];
    let expected = expected.map(|(name, state, why)| (name.to_owned(), state.to_owned(), why));
    assert_eq!((stored.iter().map(told).collect::<Vec<_>>(), again), (expected.to_vec(), 0));
}

/// Returns the policy and the adjusted count of a span.
fn annotations(span: &Span) -> (String, i64) {
    let value = |key| span.attributes.iter().find(|pair| pair.key == key).unwrap().value.clone().unwrap().value;
    match (value("spansieve.policy"), value("spansieve.adjusted_count")) {
        (Some(Value::StringValue(policy)), Some(Value::IntValue(count))) => (policy, count),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_spansieve_feeds_another() {
    // The second daemon keeps every trace, and does not change the annotations of the first.
    let second = support::CONFIG
        .replace("decision_wait: 1s", "decision_wait: 100ms\n  annotate: false")
        .replace("sampling_percentage: 5", "sampling_percentage: 100");
    let second = support::start(&second).await;
    let first = start(&format!("  api: otlp\n  endpoint: \"{}\"", support::otlp(&second))).await;
    let mut client = Client::new(&support::otlp(&first));
    let mut expected = BTreeSet::new();
    for i in 0..20 {
        let (broken, ratio) = (trace_id(false), trace_id(true));
        let names = [format!("broken {i}"), format!("beside it {i}"), format!("by ratio {i}")];
        let spans = vec![error(broken, &names[0]), span(broken, &names[1]), span(ratio, &names[2])];
        expected.extend(names.into_iter().zip(["errors", "errors", "baseline"]));
        client.export(request(&format!("shop {}", i % 3), spans)).await.unwrap();
        client.export(request("shop", vec![span(trace_id(false), "dropped")])).await.unwrap();
    }
    assert_eq!(settled(&first).await, (60.0, 0.0));
    assert_eq!(settled(&second).await, (60.0, 0.0));
    let store = support::store(&second);
    assert_eq!(store.span_count(), 60);
    let found = store.spans();
    let found = found.iter().map(|span| (span.display_name().to_owned(), span.policy().unwrap()));
    assert_eq!(found.collect::<BTreeSet<_>>(), expected);
    let counts = store.spans().iter().map(|span| span.adjusted_count().unwrap() as u64).collect::<BTreeSet<_>>();
    assert_eq!(counts, BTreeSet::from([1, 20]));
    // Spans that came twice would show in the receiver's count, but not in the store.
    assert_eq!(metric(&second.scrape()(), "spansieve_received_spans_total", &[]), 60.0);
    assert_eq!(first.stop(Duration::from_secs(4)).await + second.stop(Duration::from_secs(4)).await, 0);
}
