//! The cost of a request on its way from the body to the sink, measured for tests and fuzzing.
//!
//! The unit is bytes walked over ([`visited`]). The cost must be at most in proportion to the size of the request, even
//! if many spans share a large resource or scope.
//!
//! A [`Shape`] describes a request: resources with many or large attributes, scopes below them, spans of one trace or
//! of a trace each, with equal or different start times, failed or not. Any bytes describe a shape, so that a fuzzer
//! can look for one that costs too much.
#![allow(missing_docs, clippy::expect_used)]

mod shape;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use bytes::Bytes;

pub use self::shape::Shape;
use crate::budget::Budget;
use crate::cloud_trace::encode as cloud_trace;
use crate::config::{self, Loaded};
use crate::export::exporter::encode_queue::EncodeQueue;
use crate::export::sink::EncodeSpans;
use crate::forward::encode as forward;
use crate::otlp::scan::{Scan, scan};
use crate::otlp::visited;
use crate::resource::Rewriter;
use crate::resource::settings::AllowedProjects;
use crate::sampling::{Policies, PolicyNames};
use crate::tail::Table;
use crate::tail::kept::{KeptQueue, KeptSpans};
use crate::tail::settings::TailSampling;
use crate::tail::table::RoundOutcome;

/// Policies that test resources and scopes, which spans share. If several spans start at the same time, their keys are
/// read from each of these spans.
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

/// Maximum number of times that a byte is walked over until the decision: once for each message that contains it, once
/// more for each policy key, and once for the ids at the decision.
const DECIDED_FACTOR: u64 = 24;

/// Maximum number of bytes that are walked over or written for the kept spans, for each byte of the body.
const ENCODED_FACTOR: u64 = 32;
/// Additional cost of each kept span, in bytes: its name, labels and annotations.
const ENCODED_SPAN_BYTES: u64 = 2 << 10;

static SETTINGS: LazyLock<TailSampling> = LazyLock::new(|| {
    let Ok(Loaded { settings, .. }) = config::load(POLICIES, &|_| None) else {
        panic!("the configuration is not valid")
    };
    settings.tail_sampling
});

/// The cost of one request, in bytes unless a field says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub body_bytes: u64,
    pub spans: u64,
    /// Bytes that the scan walks over. `insert` has those of the trace table, and `decide` those of the decisions.
    pub scan: u64,
    pub insert: u64,
    pub decide: u64,
    pub kept_spans: u64,
    /// Bytes walked over and written for the kept spans if the sink is Cloud Trace. `forward` is the same for OTLP.
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

    /// Panics if the kept spans cost more than the size of the request allows. In Cloud Trace each span repeats its
    /// resource, so there the resource is allowed for in each span.
    fn check_encoded(&self) {
        let shared = self.kept_spans * cloud_trace::RESOURCE_BYTES_MAX as u64;
        let small = self.kept_spans * ENCODED_SPAN_BYTES;
        assert!(self.cloud_trace <= ENCODED_FACTOR * self.body_bytes + shared + small, "Cloud Trace: {self:?}");
        assert!(self.forward <= ENCODED_FACTOR * self.body_bytes + small, "OTLP: {self:?}");
    }
}

/// Measures the request that `shape` describes: takes it in, decides its traces and encodes the kept spans for both
/// sinks.
#[must_use]
pub fn measure(shape: &Shape) -> Cost {
    measure_body(shape.body().into())
}

/// Measures the request `body`, from the scan to both sinks.
fn measure_body(body: Bytes) -> Cost {
    let mut cost = Cost { body_bytes: body.len() as u64, ..Cost::default() };
    let policies =
        Arc::new(Policies::compile(&SETTINGS.policies, SETTINGS.sample_on_first_match).expect("the policies fit"));
    let budget = Budget::new(usize::MAX);
    let table = Table::seeded(&SETTINGS, Arc::clone(&policies), budget.clone(), 0);
    let (mut found, mut out) = (Scan::default(), RoundOutcome::default());
    let _ = visited::take();
    let body = scan(body, policies.probe(), &mut found).expect("the body is a request");
    cost.scan = visited::take();
    cost.spans = found.facts.len() as u64;
    table.insert(body, &found, budget.share(), 0, &mut out);
    cost.insert = visited::take();
    for shard in 0..table.shard_count() {
        while table.sweep(shard, DECISION_WAIT_MS, &mut out) {}
    }
    cost.decide = visited::take();
    let policy_names = PolicyNames::new(policies.names());
    let settings = cloud_trace::EncoderSettings {
        default_project: "p".into(),
        allowed_projects: AllowedProjects::Any,
        annotate: true,
        policy_names: policy_names.clone(),
        ..Default::default()
    };
    let mut encoder = cloud_trace::Encoder::new(settings, Rewriter::default());
    encoder.set_now(shape::BEGIN_UNIX_NANO);
    (cost.kept_spans, cost.cloud_trace) = encode(encoder, &out.kept);
    let settings = forward::OtlpEncoderSettings { annotate: true, policy_names, ..Default::default() };
    (_, cost.forward) = encode(forward::OtlpEncoder::new(settings, Rewriter::default()), &out.kept);
    cost
}

/// Encodes the kept spans. Returns their number, and the bytes walked over and written for them.
fn encode<E: EncodeSpans>(mut encoder: E, kept: &[KeptSpans]) -> (u64, u64) {
    let (mut spans, mut bytes, mut out) = (0, 0, Vec::new());
    let (kept_queue, mut encode_queue) = (KeptQueue::default(), EncodeQueue::default());
    kept_queue.push(&mut kept.to_vec());
    while let Some(KeptSpans { fragment, keep, .. }) = encode_queue.next(&kept_queue) {
        for span in fragment.open().spans() {
            let origin = encoder.origin(span);
            out.clear();
            // The encoder refuses spans with invalid times; their cost counts, too.
            let _ = encoder.span(&origin, span, keep, &mut out);
            spans += 1;
            bytes += out.len() as u64;
        }
    }
    (spans, bytes + visited::take())
}
