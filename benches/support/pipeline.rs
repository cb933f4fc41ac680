//! The path of a span through the daemon without sockets and runtime: scan, table, verdict, encoder, batch.
#![allow(dead_code)] // Each benchmark uses a part.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use spansieve::budget::Budget;
use spansieve::cloud_trace::encode::{Encoder, EncoderSettings};
use spansieve::config::{self, Settings};
use spansieve::export::batch::Batcher;
use spansieve::export::sink::EncodeSpans;
use spansieve::otlp::scan::{Scan, scan};
use spansieve::resource::Rewriter;
use spansieve::sampling::{Policies, PolicySet};
use spansieve::span_metrics::{KeyBuffer, SpanMetrics};
use spansieve::tail::Table;
use spansieve::tail::table::{Millis, RoundOutcome};

/// The memory budget, larger than any benchmark needs, so that no trace is decided for pressure.
const BUDGET_BYTES: usize = 64 << 30;

/// Policies that keep errors, slow traces and 5 % of the rest.
pub(crate) const THREE_POLICIES: &str = "
    - {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
    - {name: slow, type: latency, latency: {threshold_ms: 1000}}
    - {name: rest, type: probabilistic, probabilistic: {sampling_percentage: 5}}";
/// A policy that keeps every trace.
pub(crate) const KEEP_ALL: &str = "
    - {name: all, type: always_sample}";

/// Returns settings with these policies and without rescue.
pub(crate) fn settings(decision_wait_ms: u64, policies: &str) -> Settings {
    settings_with(decision_wait_ms, policies, "")
}

/// Does the same as [`settings`], with `more` sections.
pub(crate) fn settings_with(decision_wait_ms: u64, policies: &str, more: &str) -> Settings {
    let text = format!(
        "
tail_sampling:
  decision_wait: {decision_wait_ms}ms
  rescue: {{window: 0s}}
  policies: {policies}
resource:
  attributes:
    - {{key: deployment.environment.name, value: production, action: upsert}}
    - {{key: cloud.region, value: europe-west1, action: upsert}}
    - {{key: host.name, action: delete}}
export: {{endpoint: embedded}}
{more}"
    );
    config::load(&text, &|_| None).expect("a configuration").settings
}

/// The parts that all threads share.
pub(crate) struct Pipeline {
    pub(crate) table: Table,
    pub(crate) policies: Arc<Policies>,
    /// The metrics of spans, if the settings have them.
    pub(crate) span_metrics: Option<SpanMetrics>,
    budget: Budget,
    settings: Settings,
}

impl Pipeline {
    pub(crate) fn new(settings: Settings) -> Self {
        let counted = settings.counted();
        let set = PolicySet { counted: counted.as_ref(), ..settings.tail_sampling.policy_set() };
        let policies = Arc::new(Policies::compile_set(set, None).expect("policies that fit"));
        let budget = Budget::new(BUDGET_BYTES);
        let table = Table::new(&settings.tail_sampling, Arc::clone(&policies), budget.clone());
        let span_metrics = settings.span_metrics.as_ref().map(|settings| SpanMetrics::new(settings, &budget));
        Pipeline { table, policies, span_metrics, budget, settings }
    }

    /// Returns the pipeline with a table that remembers facts about decisions, as with `api.listen`.
    pub(crate) fn remembering_facts(self) -> Self {
        Pipeline { table: self.table.with_facts(), ..self }
    }

    pub(crate) fn workspace(&self) -> Workspace {
        let settings = EncoderSettings {
            default_project: "local-project".into(),
            annotate: true,
            policy_names: self.policies.names().into(),
            ..EncoderSettings::default()
        };
        let rewriter = Rewriter::new(&self.settings.resource, &[]);
        let batch = self.settings.export.batch.clone();
        Workspace {
            scan: Scan::default(),
            outcome: RoundOutcome::default(),
            keys: KeyBuffer::default(),
            encoder: Encoder::new(settings, rewriter),
            batcher: Batcher::new(Encoder::FORM, batch, self.budget.clone()),
        }
    }

    /// Scans one body and puts its spans into the table.
    pub(crate) fn accept(&self, body: Bytes, now_ms: Millis, work: &mut Workspace) {
        let body = scan(body, self.policies.probe(), &mut work.scan).expect("a request");
        let Some(span_metrics) = &self.span_metrics else { return self.insert(body, now_ms, work) };
        self.insert(body.clone(), now_ms, work);
        span_metrics.count(&work.scan, &body, self.policies.counted(), &mut work.keys, now_ms);
    }

    /// Puts the spans of the last scan into the table. That scan was of `body`.
    pub(crate) fn insert(&self, body: Bytes, now_ms: Millis, work: &mut Workspace) {
        let share = self.budget.reserve(body.len()).expect("room for a request");
        self.table.insert(body, &work.scan, share, now_ms, &mut work.outcome);
    }

    /// Decides the traces that are due in `shards`.
    pub(crate) fn decide(&self, shards: impl IntoIterator<Item = usize>, now_ms: Millis, work: &mut Workspace) {
        for shard in shards {
            while self.table.sweep(shard, now_ms, &mut work.outcome) {}
        }
        if let Some(span_metrics) = &self.span_metrics {
            span_metrics.decided(&work.outcome.kept, &work.outcome.tally, now_ms, 1);
        }
        work.outcome.tally.clear();
        work.outcome.decisions.iter_mut().for_each(|log| log.drain().for_each(drop));
    }

    /// Returns the numbers of all shards.
    pub(crate) fn shards(&self) -> std::ops::Range<usize> {
        0..self.table.shard_count()
    }
}

/// The parts that each thread has for itself.
pub(crate) struct Workspace {
    pub(crate) scan: Scan,
    pub(crate) outcome: RoundOutcome,
    keys: KeyBuffer,
    encoder: Encoder,
    batcher: Batcher,
}

impl Workspace {
    /// Encodes the kept spans, and drops each batch as soon as it is full. Returns the number of spans in full batches.
    pub(crate) fn export(&mut self) -> u64 {
        let now = Instant::now();
        for kept in self.outcome.kept.drain(..) {
            for span in kept.fragment.open().spans() {
                let origin = self.encoder.origin(span);
                let place = Encoder::place(&origin);
                let encode = |out: &mut Vec<u8>| EncodeSpans::span(&mut self.encoder, &origin, span, kept.keep, out);
                self.batcher.push(place, now, encode).expect("a span that can be encoded");
            }
        }
        self.batcher.take_closed().map(|batch| u64::from(batch.span_count())).sum()
    }

    /// Drops the kept spans; returns their number of fragments.
    pub(crate) fn forget(&mut self) -> usize {
        let kept = self.outcome.kept.len();
        self.outcome.kept.clear();
        kept
    }
}
