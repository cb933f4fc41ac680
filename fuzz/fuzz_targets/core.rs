//! Any bytes as a history of requests, passing time, memory pressure and a stop. Scan, trace table, verdicts, encoder
//! and batches together lose no span and add none, for any requests.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use spansieve::budget::Budget;
use spansieve::cloud_trace::encode::{Encoder, EncoderSettings};
use spansieve::config::{self, Loaded};
use spansieve::export::batch::{Batcher, Form};
use spansieve::export::settings::BatchSettings;
use spansieve::export::sink::EncodeSpans;
use spansieve::otlp::scan::{Scan, scan};
use spansieve::resource::Rewriter;
use spansieve::resource::settings::AllowedProjects;
use spansieve::sampling::Policies;
use spansieve::tail::Table;
use spansieve::tail::settings::TailSampling;
use spansieve::tail::table::{HeldCounts, RoundOutcome};

/// Policies of every kind that needs different facts about spans or traces.
const POLICIES: &str = "
tail_sampling:
  spans_max: 100
  policies:
    - {name: probes, type: drop, drop: {drop_sub_policy: [{type: string_attribute, string_attribute: {key: a, values: [drop]}}]}}
    - {name: errors, type: error}
    - {name: slow, type: latency, latency: {threshold_ms: 1000}}
    - {name: kinds, type: ottl_condition, ottl_condition: {span: ['attributes[\"a\"] == 1 or kind == SPAN_KIND_SERVER']}}
    - {name: rare, type: rare, rare: {key: [service, route], max_keys: 10}}
    - {name: few, type: rate_limiting, rate_limiting: {spans_per_second: 5}}
    - {name: ratio, type: probabilistic, probabilistic: {sampling_percentage: 10}}
";
/// Budget in addition to the idle table: enough for a few of the fuzzer's requests.
const ROOM_BYTES: usize = 16 << 10;

fuzz_target!(|input: &[u8]| Core::new().play(input));

struct Core {
    policies: Arc<Policies>,
    table: Table,
    budget: Budget,
    idle_bytes: usize,
    out: RoundOutcome,
    now_ms: u64,
    encoder: Encoder,
    batcher: Batcher,
    accepted: u64,
    sampled_out: u64,
    encoded: u64,
}

static SETTINGS: LazyLock<TailSampling> = LazyLock::new(|| {
    let Ok(Loaded { settings, .. }) = config::load(POLICIES, &|_| None) else { panic!("a good configuration") };
    settings.tail_sampling
});

fn table(policies: &Arc<Policies>, budget: &Budget) -> Table {
    Table::seeded(&SETTINGS, Arc::clone(policies), budget.clone(), 0)
}

/// Returns the bytes that a table takes before the first request.
fn idle_bytes(policies: &Arc<Policies>) -> usize {
    let budget = Budget::new(0);
    let _idle = table(policies, &budget);
    budget.used_bytes()
}

impl Core {
    fn new() -> Self {
        let policies =
            Arc::new(Policies::compile(&SETTINGS.policies, SETTINGS.sample_on_first_match).expect("policies that fit"));
        let idle_bytes = idle_bytes(&policies);
        let budget = Budget::new(idle_bytes + ROOM_BYTES);
        let encoder = EncoderSettings {
            default_project: "p".into(),
            allowed_projects: AllowedProjects::Any,
            annotate: true,
            policy_names: policies.names().into(),
            ..EncoderSettings::default()
        };
        let limits = BatchSettings { max_spans: 10, max_bytes: 1 << 16, max_delay: std::time::Duration::ZERO };
        Core {
            table: table(&policies, &budget),
            policies,
            encoder: Encoder::new(encoder, Rewriter::default()),
            batcher: Batcher::new(Form::CloudTrace, limits, budget.clone()),
            budget,
            idle_bytes,
            out: RoundOutcome::default(),
            now_ms: 0,
            accepted: 0,
            sampled_out: 0,
            encoded: 0,
        }
    }

    /// Plays the input. One byte selects the action; for a request, its length and its body follow.
    fn play(mut self, mut input: &[u8]) {
        while let Some((&act, rest)) = input.split_first() {
            input = rest;
            match act {
                0..=199 => {
                    let Some((len, rest)) = rest.split_first_chunk::<2>() else { break };
                    let (body, rest) = rest.split_at(usize::from(u16::from_le_bytes(*len)).min(rest.len()));
                    input = rest;
                    self.request(body);
                }
                200..=239 => {
                    self.now_ms += u64::from(act - 199) * 1_000;
                    for shard in 0..self.table.shard_count() {
                        while self.table.sweep(shard, self.now_ms, &mut self.out) {}
                    }
                }
                _ => _ = self.table.relieve(self.now_ms, &mut self.out),
            }
            self.settle();
        }
        while self.table.drain(self.now_ms, &mut self.out) {}
        self.settle();
        assert_eq!(self.table.held(), HeldCounts::default());
        self.batcher.flush();
        let spans: u64 = self.batcher.take_closed().map(|batch| u64::from(batch.span_count())).sum();
        assert_eq!(spans, self.encoded);
        assert_eq!(self.accepted, self.encoded + self.sampled_out);
        assert_eq!(self.budget.used_bytes(), self.idle_bytes);
    }

    fn request(&mut self, body: &[u8]) {
        let Some(share) = self.table.admit(body.len(), self.now_ms, &mut self.out) else { return };
        let mut found = Scan::default();
        if let Ok(body) = scan(Bytes::copy_from_slice(body), self.policies.probe(), &mut found) {
            self.accepted += found.facts.len() as u64;
            self.table.insert(body, &found, share, self.now_ms, &mut self.out);
        }
    }

    /// Encodes the kept spans, and checks that every accepted span is accounted for.
    fn settle(&mut self) {
        for kept in self.out.kept.drain(..) {
            for span in kept.fragment.open().spans() {
                let origin = EncodeSpans::origin(&mut self.encoder, span);
                let place = <Encoder as EncodeSpans>::place(&origin);
                let encoder = &mut self.encoder;
                let encoded = self
                    .batcher
                    .push(place, Instant::now(), |out| EncodeSpans::span(encoder, &origin, span, kept.keep, out));
                encoded.expect("a scanned span, at any time");
                self.encoded += 1;
            }
        }
        self.sampled_out += self.out.tally.sampled_out_spans;
        self.out.tally.clear();
        let held = self.table.held();
        assert_eq!(self.accepted, self.encoded + self.sampled_out + held.pending_spans + held.rescuable_spans);
    }
}
