//! Loads of every shape that take more than the memory. They are short forms of `tools/faults.py`, with little memory.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

mod stock;
mod stop;
mod trial;

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use spansieve_test_support::sink::Answer;
use trial::{LIMIT_BYTES, Load, Trial};

use crate::support::{error, slow, span, trace_id};

/// Returns `count` traces of one span of about `bytes` each. Of each hundred, one failed and one is slow.
fn one_span_traces(count: usize, bytes: usize) -> Vec<Span> {
    let name = "x".repeat(bytes);
    let kinds = (0..count).map(|i| match i % 100 {
        0 => error(fastrand::u128(1..), &name),
        1 => slow(fastrand::u128(1..), &name),
        _ => span(fastrand::u128(1..), &name),
    });
    kinds.collect()
}

/// Tests loads of every shape: name, requests, spans in a request, bytes of a span's name, senders.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_load_stays_within_memory_and_every_error_and_slow_trace_is_exported() {
    let cases = [
        ("a burst of four times the memory", 64, 1_000, 1_000, 8),
        ("many traces of one span", 24, 3_000, 10, 4),
        ("requests of one span", 1_500, 1, 200, 32),
        ("huge requests", 4, 20_000, 1, 4),
        ("a little of everything", 30, 2_000, 100, 8),
    ];
    for (name, requests, spans, bytes, senders) in cases {
        let trial = Trial::start(name, Vec::new()).await;
        let load = Load::new((0..requests).map(move |_| one_span_traces(spans, bytes)));
        trial.send(load, senders).await;
        trial.check().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_giant_trace_and_the_traces_beside_it_are_exported_whole() {
    let trial = Trial::start("a giant trace", Vec::new()).await;
    let giant = trace_id(false);
    let parts = (0..50).map(|part| {
        let mut spans: Vec<Span> = (0..1_000).map(|_| span(giant, "a part of it")).collect();
        if part == 25 {
            spans[500] = error(giant, "the error in it");
        }
        spans.extend(one_span_traces(100, 10));
        spans
    });
    trial.send(Load::new(parts.collect::<Vec<_>>().into_iter()), 2).await;
    assert_eq!(trial.check().await.spans_of(giant), 50_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_are_refused_while_a_slow_sink_leaves_memory_full() {
    let trial = Trial::start("the sink is slow", vec![Answer::After(Duration::from_millis(500)); 20]).await;
    // All traces are kept, so that only the sink frees memory.
    let load = Load::new((0..40).map(|_| (0..1_000).map(|_| error(fastrand::u128(1..), &"x".repeat(1_000))).collect()));
    trial.send(load, 8).await;
    assert!(trial.refusals() > 0, "the memory was never full");
    trial.check().await;
}

#[test]
fn the_loads_are_more_than_memory_holds() {
    let bytes: usize = one_span_traces(1_000, 1_000).iter().map(prost::Message::encoded_len).sum();
    assert!(64 * bytes > 4 * LIMIT_BYTES);
}
