//! A process that stops hands its undecided traces to another one: a rollout splits no trace.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use spansieve::daemon::Daemon;
use spansieve::otlp::TraceId;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::forward::server::{Script, partial};
use crate::support::{self, Client, conservation, error, eventually, metric, request, span, start, trace_id};

/// Returns the usual configuration with a long wait, and with this instance for undecided traces.
fn config(handoff: &str) -> String {
    let text = support::CONFIG.replace("decision_wait: 1s", "decision_wait: 30s");
    format!("{text}fleet: {{handoff: {{{handoff}}}}}\n")
}

/// Sends each of `traces` a healthy span, a hundred in a request, from two services in turn.
async fn send(daemon: &Daemon, traces: &[u128], name: &str) {
    let mut client = Client::new(&support::otlp(daemon));
    for (i, traces) in traces.chunks(100).enumerate() {
        let spans: Vec<Span> = traces.iter().map(|&trace| span(trace, name)).collect();
        let request = request(["cart", "payment"][i % 2], spans);
        // A machine that is busy with other things may refuse a request for a moment.
        while client.export(request.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Stops the daemon. Returns its last metrics, in which the conservation law holds exactly.
async fn stop(daemon: Daemon, grace: Duration) -> String {
    let scrape = std::sync::Arc::clone(daemon.scrape());
    let lost = timeout(grace + Duration::from_secs(5), daemon.stop(grace)).await.expect("the stop ends in its time");
    assert_eq!(lost, 0);
    let text = scrape();
    let (came, accounted) = conservation(&text);
    assert_eq!(came, accounted, "{text}");
    text
}

fn handed_over(text: &str) -> f64 {
    metric(text, "spansieve_handed_over_spans_total", &[])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_splits_no_trace() {
    // The spans take some 2 MB with their resource, several calls.
    const TRACES: usize = 4_000;
    let new = start(&support::CONFIG.replace("decision_wait: 1s", "decision_wait: 6s\n  rescue: {window: 1s}")).await;
    let old = start(&config(&format!("endpoint: '{}'", support::otlp(&new)))).await;
    let traces: Vec<u128> = (0..TRACES).map(|i| trace_id(i % 20 == 0)).collect();
    let kept: Vec<u128> = traces.iter().copied().step_by(20).collect();
    let before = "before".repeat(60);
    send(&old, &traces, &before).await;
    let decided = trace_id(false);
    Client::new(&support::otlp(&old)).export(request("cart", vec![error(decided, "decided before")])).await.unwrap();

    let text = stop(old, Duration::from_secs(8)).await;
    assert_eq!(handed_over(&text), TRACES as f64);
    assert_eq!(metric(&text, "spansieve_exported_spans_total", &[]), 1.0, "only what was decided before the stop");

    // One trace fails after the handoff, and all get another span.
    send(&new, &traces, "after").await;
    let failed = *traces.iter().find(|trace| !kept.contains(trace)).unwrap();
    Client::new(&support::otlp(&new)).export(request("payment", vec![error(failed, "after")])).await.unwrap();
    let scrape = std::sync::Arc::clone(new.scrape());
    eventually("all is settled", || metric(&scrape(), "spansieve_held_spans", &[]) == 0.0).await;
    let store = support::store(&new);
    let names = |trace: u128| {
        let spans = store.trace(&TraceId(trace.to_be_bytes())).unwrap_or_default();
        let mut names: Vec<_> = spans.iter().map(|span| span.display_name()[..5].to_owned()).collect();
        names.sort();
        names
    };
    for &trace in &kept {
        assert_eq!(names(trace), ["after", "befor"]);
    }
    assert_eq!(names(failed), ["after", "after", "befor"]);
    let (came, accounted) = conservation(&scrape());
    assert_eq!((came, accounted), (2.0 * TRACES as f64 + 1.0, 2.0 * TRACES as f64 + 1.0));
    stop(new, Duration::from_secs(8)).await;
}

/// A trace whose spans share a long URL in many scopes would make a large request: it stays, and harms no other.
#[tokio::test]
async fn a_trace_that_would_make_a_large_request_is_decided_here() {
    let peer = Script::new(None, []);
    let old = start(&config(&format!("endpoint: '{}'", peer.serve().await))).await;
    let traces: Vec<u128> = (0..20).map(|_| trace_id(false)).collect();
    send(&old, &traces, "small").await;
    let large = trace_id(true);
    let mut large = request("cart", vec![span(large, "large")]);
    let group = &mut large.resource_spans[0];
    group.schema_url = "u".repeat(100_000);
    group.scope_spans = (0..50).map(|_| group.scope_spans[0].clone()).collect();
    Client::new(&support::otlp(&old)).export(large).await.unwrap();
    let text = stop(old, Duration::from_secs(6)).await;
    assert_eq!((handed_over(&text), peer.stored().0.len()), (20.0, 20));
    assert_eq!(metric(&text, "spansieve_exported_spans_total", &[]), 50.0);
}

/// Starts a daemon with this handoff and some traces of which the ratio keeps one. Returns its metrics after the stop.
async fn stopped_alone(handoff: &str, grace: Duration) -> String {
    let daemon = start(&config(handoff)).await;
    let traces: Vec<u128> = (0..20).map(|i| trace_id(i == 0)).collect();
    send(&daemon, &traces, "undecided").await;
    stop(daemon, grace).await
}

#[tokio::test]
async fn traces_that_are_not_taken_are_decided_as_without_a_handoff() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let refusing = Script::new(Some(|_| Some(Status::new(Code::PermissionDenied, "no"))), []);
    let busy = Script::new(Some(|_| Some(Status::new(Code::Unavailable, "stopping"))), []);
    let picky = Script::new(None, [partial(3, "three spans are too old")]);
    let at = |endpoint: &dyn std::fmt::Display| format!("endpoint: '{endpoint}'");
    for (case, handoff) in [
        ("nothing listens", at(&format_args!("http://{closed}"))),
        ("it never answers", at(&format_args!("http://{}", silent.local_addr().unwrap()))),
        ("it refuses", at(&refusing.serve().await)),
        ("it is always busy", at(&busy.serve().await)),
        ("it rejects some spans", at(&picky.serve().await)),
        ("an ID token cannot be had", "endpoint: 'https://127.0.0.1:1', id_token: true".to_owned()),
    ] {
        let text = stopped_alone(&handoff, Duration::from_secs(4)).await;
        assert_eq!(handed_over(&text), 0.0, "{case}");
        assert_eq!(metric(&text, "spansieve_exported_spans_total", &[]), 1.0, "{case}");
        assert_eq!(metric(&text, "spansieve_sampled_out_spans_total", &[]), 19.0, "{case}");
    }
    assert_eq!(refusing.calls().len(), 1, "a refusal is not repeated");
    assert!(busy.calls().len() > 1, "a busy instance is asked again");
}

#[tokio::test]
async fn an_instance_takes_nothing_back_from_itself() {
    let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = config(&format!("endpoint: 'http://{own}'")).replace("\"127.0.0.1:0\"]", &format!("\"{own}\"]"));
    let daemon = start(&text).await;
    let traces: Vec<u128> = (0..20).map(|i| trace_id(i == 0)).collect();
    send(&daemon, &traces, "undecided").await;
    let text = stop(daemon, Duration::from_secs(4)).await;
    assert_eq!((handed_over(&text), metric(&text, "spansieve_received_spans_total", &[])), (0.0, 20.0));
    assert_eq!(metric(&text, "spansieve_exported_spans_total", &[]), 1.0);
}

#[tokio::test]
async fn a_busy_instance_takes_the_traces_later() {
    let busy = [Err(Status::new(Code::Unavailable, "stopping")), Err(Status::new(Code::ResourceExhausted, "full"))];
    let peer = Script::new(None, busy);
    let text = stopped_alone(
        &format!("endpoint: '{}', headers: {{x-team: blue}}", peer.serve().await),
        Duration::from_secs(6),
    )
    .await;
    assert_eq!(handed_over(&text), 20.0);
    let calls = peer.calls();
    assert_eq!((calls.len(), peer.stored().0.len()), (3, 20));
    assert!(calls.iter().all(|call| call.headers["x-team"] == "blue"));
    let spans = &calls[2].request.resource_spans;
    assert_eq!(spans.len(), 1, "what the spans share is sent once");
}
