//! What a request costs on its way from its body to the sink, in bytes walked over ([`visited`]), for tests and fuzzing: at
//! most in proportion to its size, whatever its spans share.
//!
//! A [`Shape`] is a small program for a request: a resource of many attributes or large ones, scopes below it, spans of one
//! trace or of as many, tied for each key, failed or not. Any bytes are one, so that a fuzzer can look for a shape that costs
//! too much.
#![allow(missing_docs, clippy::expect_used)]

mod shape;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use bytes::Bytes;

pub use self::shape::Shape;
use crate::cloud_trace::encode as cloud_trace;
use crate::config::settings::{AllowedProjects, TailSampling};
use crate::config::{self, Loaded};
use crate::export::exporter::slice::Slice;
use crate::export::sink::EncodeSpans;
use crate::forward::encode as forward;
use crate::otlp::scan::{Scan, scan};
use crate::otlp::visited;
use crate::resource::Rewriter;
use crate::sampling::Policies;
use crate::tail::Table;
use crate::tail::budget::Budget;
use crate::tail::kept::{KeptQueue, KeptSpans};
use crate::tail::table::Outcome;

/// Policies that ask for everything that spans share, and keys that are read from every span of a tie.
const POLICIES: &str = "
tail_sampling:
  decision_wait: 1s
  policies:
    - {name: slow, type: latency, latency: {threshold_ms: 1000}}
    - {name: region, type: string_attribute, string_attribute: {key: region, values: [none]}}
    - {name: scopes, type: ottl_condition, ottl_condition: {span: ['instrumentation_scope.name == \"none\"']}}
    - {name: rare, type: rare, rare: {key: [service, region, route], max_keys: 10}}
    - {name: alike, type: identical_errors, identical_errors: {key: [service, exception]}}
    - {name: tail, type: latency, latency: {percentile: 99, key: [service, name]}}
    - {name: errors, type: error}
";
const DECISION_WAIT_MS: u64 = 1_000;

/// How often a byte is walked over until its trace is decided: once for each message that it stands in, once more for each key
/// that a span is asked for, and for the ids when the trace is decided.
const DECIDED_FACTOR: u64 = 24;

/// The bytes that are walked over or written for the kept spans, for each byte of the body.
const ENCODED_FACTOR: u64 = 32;
/// What a kept span costs beside that: its name, labels, annotations.
const ENCODED_SPAN_BYTES: u64 = 2 << 10;

static SETTINGS: LazyLock<TailSampling> = LazyLock::new(|| {
    let Ok(Loaded { settings, .. }) = config::load(POLICIES, &|_| None) else { panic!("a good configuration") };
    settings.tail_sampling
});

/// What one request costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub body_bytes: u64,
    pub spans: u64,
    /// Bytes walked over by the scan, by the trace table, and by decisions.
    pub scan: u64,
    pub insert: u64,
    pub decide: u64,
    pub kept_spans: u64,
    /// Bytes walked over and written for the kept spans, for each sink.
    pub cloud_trace: u64,
    pub forward: u64,
}

impl Cost {
    /// Panics if the request costs more than its size allows.
    pub fn check(&self) {
        let decided = self.scan + self.insert + self.decide;
        assert!(decided <= DECIDED_FACTOR * self.body_bytes, "until the decision: {self:?}");
        self.check_encoded();
    }

    /// Panics if the kept spans cost more than their request's size, and what Cloud Trace has in each of them, allow.
    fn check_encoded(&self) {
        let shared = self.kept_spans * cloud_trace::RESOURCE_BYTES_MAX as u64;
        let small = self.kept_spans * ENCODED_SPAN_BYTES;
        assert!(self.cloud_trace <= ENCODED_FACTOR * self.body_bytes + shared + small, "Cloud Trace: {self:?}");
        assert!(self.forward <= ENCODED_FACTOR * self.body_bytes + small, "OTLP: {self:?}");
    }
}

/// Takes in the request that `shape` describes, decides its traces and encodes what is kept for both sinks.
#[must_use]
pub fn measure(shape: &Shape) -> Cost {
    measure_body(shape.body().into())
}

/// Takes the request `body` all the way.
fn measure_body(body: Bytes) -> Cost {
    let mut cost = Cost { body_bytes: body.len() as u64, ..Cost::default() };
    let policies = Arc::new(Policies::compile(&SETTINGS).expect("policies that fit"));
    let budget = Budget::new(usize::MAX);
    let table = Table::seeded(&SETTINGS, Arc::clone(&policies), budget.clone(), 0);
    let (mut found, mut out) = (Scan::default(), Outcome::default());
    let _ = visited::take();
    let body = scan(body, policies.probe(), &mut found).expect("a request");
    cost.scan = visited::take();
    cost.spans = found.facts.len() as u64;
    table.insert(body, &found, budget.share(), 0, &mut out);
    cost.insert = visited::take();
    for shard in 0..table.shard_count() {
        while table.sweep(shard, DECISION_WAIT_MS, &mut out) {}
    }
    cost.decide = visited::take();
    let policy_names: Arc<[String]> = policies.names().into();
    let settings = cloud_trace::EncoderSettings {
        default_project: "p".into(),
        allowed_projects: AllowedProjects::Any,
        annotate: true,
        policy_names: Arc::clone(&policy_names),
        ..Default::default()
    };
    let mut encoder = cloud_trace::Encoder::new(settings, Rewriter::default());
    encoder.set_now(shape::BEGIN_UNIX_NANO);
    (cost.kept_spans, cost.cloud_trace) = encode(encoder, &out.kept);
    let settings = forward::EncoderSettings { annotate: true, policy_names, ..Default::default() };
    (_, cost.forward) = encode(forward::Encoder::new(settings, Rewriter::default()), &out.kept);
    cost
}

/// Encodes what was kept; returns the number of spans, and the bytes walked over and written for them.
fn encode<E: EncodeSpans>(mut encoder: E, kept: &[KeptSpans]) -> (u64, u64) {
    let (mut spans, mut bytes, mut out) = (0, 0, Vec::new());
    let (queue, mut slice) = (KeptQueue::default(), Slice::default());
    queue.push(&mut kept.to_vec());
    while let Some(KeptSpans { fragment, keep, .. }) = slice.next(&queue) {
        for span in fragment.open().spans() {
            let origin = encoder.origin(span);
            out.clear();
            // Some are refused, for their times.
            let _ = encoder.span(&origin, span, keep, &mut out);
            spans += 1;
            bytes += out.len() as u64;
        }
    }
    (spans, bytes + visited::take())
}
