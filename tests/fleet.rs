//! Several daemons and a real engine decide as one. Without `redis-server` or `valkey-server` on the PATH these tests say so
//! and pass; CI sets `SPANSIEVE_FLEET_TESTS=required`, and then they fail.

mod cluster;
mod engine;
mod faults;
mod link;
mod rollout;
pub(crate) mod secured;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use spansieve::daemon::Daemon;
use spansieve::otlp::TraceId;
use tokio::time::timeout;

use self::engine::Engine;
use crate::support::{self, Client, MS, conservation, error, eventually, metric, request, span, start, trace_id};

/// The spans of the sink by name: the policy and the adjusted count of each.
type Kept = BTreeMap<String, (String, f64)>;

fn config(engine: &Engine, more: &str) -> String {
    let rescue = "decision_wait: 2s\n  rescue: {window: 20s}";
    let policies = "
    - name: both
      type: and
      and:
        and_sub_policy:
          - {name: a, type: string_attribute, string_attribute: {key: k, values: [a]}}
          - {name: b, type: string_attribute, string_attribute: {key: k, values: [b]}}
    - {name: many, type: span_count, span_count: {min_spans: 9}}
    - {name: baseline";
    let text = support::CONFIG.replace("decision_wait: 1s", rescue).replace("\n    - {name: baseline", policies);
    format!("{text}fleet: {{url: '{}'{more}}}\n", engine.url())
}

fn scrape(daemon: &Daemon) -> String {
    daemon.scrape()()
}

fn is_up(daemon: &Daemon) -> bool {
    metric(&scrape(daemon), "spansieve_fleet_up", &[]) == 1.0
}

fn members(daemon: &Daemon, policies: &str) -> f64 {
    metric(&scrape(daemon), "spansieve_fleet_members", &[&format!("policies=\"{policies}\"")])
}

/// Starts a fleet, and waits until all members know one another.
async fn fleet(texts: &[String]) -> Vec<Daemon> {
    let mut daemons = Vec::new();
    for text in texts {
        daemons.push(start(text).await);
    }
    meet(&daemons.iter().collect::<Vec<_>>()).await;
    daemons
}

async fn meet(daemons: &[&Daemon]) {
    let all = daemons.len() as f64;
    eventually("all members meet", || daemons.iter().all(|d| members(d, "same") + members(d, "other") == all)).await;
}

fn with(mut span: Span, key: &str, value: &str) -> Span {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    span.attributes.push(KeyValue { key: key.into(), value, ..KeyValue::default() });
    span
}

/// Returns the spans of a trace of one of some shapes, with names that say their trace.
fn shape(number: usize, trace: u128) -> Vec<Span> {
    let name = |at: usize| format!("{number}-{at}");
    let plain = |at: usize| span(trace, &name(at));
    match number % 6 {
        0 => vec![error(trace, &name(0)), plain(1), plain(2), plain(3)],
        // Slow only as a whole.
        1 => {
            let mut early = plain(0);
            early.start_time_unix_nano -= 1_500 * MS;
            early.end_time_unix_nano -= 1_500 * MS;
            vec![early, plain(1), plain(2)]
        }
        // What a policy wants comes in two spans.
        2 => vec![with(plain(0), "k", "a"), with(plain(1), "k", "b"), plain(2)],
        3 => (0..9).map(plain).collect(),
        _ => (0..4).map(plain).collect(),
    }
}

/// Sends each span to one of the daemons at random.
async fn scatter(daemons: &[&Daemon], spans: Vec<Span>) {
    let mut shares: Vec<Vec<Span>> = daemons.iter().map(|_| Vec::new()).collect();
    for span in spans {
        shares[fastrand::usize(..daemons.len())].push(span);
    }
    for (daemon, share) in daemons.iter().zip(shares) {
        if !share.is_empty() {
            send(daemon, share).await;
        }
    }
}

async fn send(daemon: &Daemon, spans: Vec<Span>) {
    let mut client = Client::new(&support::otlp(daemon));
    client.export(request("shop", spans)).await.expect("ingest does not depend on the fleet");
}

/// Returns what all daemons kept.
fn kept(daemons: &[&Daemon]) -> Kept {
    let spans = daemons.iter().flat_map(|daemon| support::store(daemon).spans());
    let mut kept = Kept::new();
    for span in spans {
        let annotation = (span.policy().unwrap().to_owned(), span.adjusted_count().unwrap());
        assert_eq!(kept.insert(span.display_name().to_owned(), annotation), None, "a span is kept once");
    }
    kept
}

/// Waits until no span is pending or on its way to the sink.
async fn settled(daemons: &[&Daemon]) {
    let held = |daemon: &&Daemon| {
        let text = scrape(daemon);
        let state = |state: &str| metric(&text, "spansieve_held_spans", &[&format!("state=\"{state}\"")]);
        state("pending") + state("export") == 0.0
    };
    eventually("all is decided", || daemons.iter().all(held)).await;
}

/// Stops a daemon. The conservation law holds exactly at its end. Returns its last metrics.
async fn stop(daemon: Daemon) -> String {
    let grace = Duration::from_secs(8);
    let text = Arc::clone(daemon.scrape());
    let lost = timeout(grace + Duration::from_secs(5), daemon.stop(grace)).await.expect("the stop ends in its time");
    assert_eq!(lost, 0);
    let text = text();
    let (came, accounted) = conservation(&text);
    assert_eq!(came, accounted, "{text}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_daemons_keep_what_one_keeps() {
    let Some(engine) = Engine::start() else { return };
    let daemons = fleet(&vec![config(&engine, ""); 3]).await;
    let all: Vec<&Daemon> = daemons.iter().collect();
    let alone = start(&config(&engine, ", name: alone")).await;
    let traces: Vec<u128> = (0..90).map(|i| trace_id(i % 12 == 4)).collect();
    let spans: Vec<Span> = traces.iter().enumerate().flat_map(|(number, &trace)| shape(number, trace)).collect();
    send(&alone, spans.clone()).await;
    scatter(&all, spans).await;
    settled(&[&alone]).await;
    settled(&all).await;
    let (expected, found) = (kept(&[&alone]), kept(&all));
    assert!(expected.len() > 200, "{}", expected.len());
    assert_eq!(found, expected);
    let total = |name: &str, labels: &[&str]| all.iter().map(|d| metric(&scrape(d), name, labels)).sum::<f64>();
    assert_eq!(total("spansieve_decided_traces_total", &["trigger=\"alone\""]), 0.0);
    assert_eq!(total("spansieve_fleet_split_traces_total", &[]), 0.0);
    let decided = total("spansieve_fleet_owned_decisions_total", &[]);
    assert_eq!(decided, 75.0, "all but those that were kept on evidence where they came");
    let (sent, received) = ("direction=\"sent\"", "direction=\"received\"");
    let confirmed = || {
        total("spansieve_fleet_messages_total", &[sent, "kind=\"proof\""])
            == total("spansieve_fleet_messages_total", &[received, "kind=\"ack\""])
    };
    eventually("each proof is confirmed", confirmed).await;

    // A late error brings a dropped trace back, wherever its spans are.
    let dropped = traces[5];
    assert!(!found.keys().any(|name| name.starts_with("5-")));
    send(all[0], vec![error(dropped, "5-late")]).await;
    eventually("the trace is rescued", || kept(&all).keys().filter(|name| name.starts_with("5-")).count() == 5).await;
    for daemon in daemons.into_iter().chain([alone]) {
        stop(daemon).await;
    }
}

/// The goal is 120 bytes for each trace and member that holds a part of it, all messages and heads of batches included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_take_few_bytes() {
    const TRACES: usize = 3_000;
    let Some(engine) = Engine::start() else { return };
    let daemons = fleet(&vec![config(&engine, ""); 3]).await;
    let all: Vec<&Daemon> = daemons.iter().collect();
    let mut holders = 0;
    let mut shares = vec![Vec::new(); 3];
    for i in 0..TRACES {
        let trace = trace_id(i % 20 == 0);
        let mut held = [false; 3];
        for at in 0..6 {
            let daemon = fastrand::usize(..3);
            held[daemon] = true;
            let failed = i % 50 == 0 && at == 0;
            let name = format!("{i}-{at}");
            shares[daemon].push(if failed { error(trace, &name) } else { span(trace, &name) });
        }
        holders += held.iter().filter(|is_held| **is_held).count();
    }
    for (daemon, share) in all.iter().zip(&shares) {
        for spans in share.chunks(500) {
            send(daemon, spans.to_vec()).await;
        }
    }
    settled(&all).await;
    let sent = |daemon: &&Daemon| metric(&scrape(daemon), "spansieve_fleet_bytes_total", &["direction=\"sent\""]);
    let bytes = all.iter().map(sent).sum::<f64>() / holders as f64;
    println!("{bytes:.0} bytes for each of {TRACES} traces and member that holds a part of it");
    assert!(bytes <= 120.0, "{bytes}");
    for daemon in daemons {
        stop(daemon).await;
    }
}

/// The trace id as the store has it.
fn id(trace: u128) -> TraceId {
    TraceId(trace.to_be_bytes())
}
