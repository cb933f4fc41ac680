//! Scenarios: spans with their times and places, and faults.

use fastrand::Rng;

use crate::otlp::TraceId;
use crate::sampling::{Threshold, threshold};
use crate::tail::table::Millis;

/// The share of traces that the ratio keeps, in percent.
pub(super) const RATIO: f64 = 30.0;
/// The number of spans from which the policy `many` keeps a trace.
const MANY: usize = 6;

/// The content of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Error,
    /// It is slow by itself.
    Slow,
    /// It begins late. The trace is slow with another span only.
    Last,
    /// The two attributes that a policy wants in one trace.
    X,
    Y,
    /// A policy of type `drop` drops the trace.
    Unwanted,
}

#[derive(Clone, Debug)]
pub(super) struct SimSpan {
    pub(super) trace: usize,
    pub(super) kind: Kind,
    pub(super) at_ms: Millis,
    /// A number from which the node that gets it is found.
    pub(super) node: usize,
}

/// An event at some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    Join,
    /// A node leaves, and hands its undecided traces to another one.
    Leave(usize),
    Crash(usize),
    /// The time until which no member reaches the engine.
    EngineDown(Millis),
    /// One node does not reach the engine until this time.
    CutOff(usize, Millis),
}

/// The faults of the network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Network {
    pub(super) delay_ms: (Millis, Millis),
    pub(super) loss: f64,
    pub(super) repetition: f64,
    /// The longest time by which a list of members is out of date.
    pub(super) list_lag_ms: Millis,
    /// The time from which there are no more faults.
    pub(super) calm_ms: Millis,
}

#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    pub(super) nodes: usize,
    pub(super) ids: Vec<TraceId>,
    pub(super) spans: Vec<SimSpan>,
    pub(super) events: Vec<(Millis, Event)>,
    pub(super) network: Network,
    /// True if a policy of type `drop` is in force. Then nothing is proven before its time.
    pub(super) has_drop: bool,
    /// True if the first node has other policies.
    pub(super) mixed: bool,
}

impl Scenario {
    /// Returns a scenario without faults.
    pub(super) fn quiet(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let network = Network { delay_ms: (20, 150), loss: 0.0, repetition: 0.0, list_lag_ms: 0, calm_ms: 0 };
        let has_drop = rng.bool();
        let mut scenario = Self::of(seed, &mut rng, network, has_drop);
        for trace in 0..scenario.ids.len() {
            if rng.u8(..3) == 0 {
                let begun = scenario.trace(trace).iter().map(|(_, span)| span.at_ms).min().unwrap_or(0);
                let kind = [Kind::Plain, Kind::Error, Kind::Slow, Kind::X, Kind::Last][rng.usize(..5)];
                let at_ms = begun + rng.u64(9_000..12_000);
                scenario.spans.push(SimSpan { trace, kind, at_ms, node: rng.usize(..) });
            }
        }
        scenario
    }

    /// Returns a scenario with faults, which end some time before its own end.
    pub(super) fn stormy(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x5708);
        let network = Network {
            delay_ms: (20, rng.u64(100..2_500)),
            loss: if rng.bool() { rng.f64() * 0.3 } else { 0.0 },
            repetition: rng.f64() * 0.2,
            list_lag_ms: rng.u64(0..5_000),
            calm_ms: 16_000,
        };
        let mut scenario = Self::of(seed, &mut rng, network, false);
        scenario.nodes = rng.usize(2..5);
        scenario.mixed = rng.u8(..4) == 0;
        for _ in 0..rng.usize(..4) {
            let at_ms = rng.u64(500..12_000);
            let until_ms = at_ms + rng.u64(500..scenario.network.calm_ms - at_ms);
            let node = rng.usize(..);
            let event = match rng.u8(..6) {
                0 => Event::Join,
                1 => Event::Leave(node),
                2 => Event::Crash(node),
                3 => Event::EngineDown(until_ms),
                _ => Event::CutOff(node, until_ms),
            };
            scenario.events.push((at_ms, event));
        }
        scenario.events.sort_by_key(|(at_ms, _)| *at_ms);
        scenario
    }

    fn of(seed: u64, rng: &mut Rng, network: Network, has_drop: bool) -> Self {
        let ids: Vec<_> = (0..rng.usize(4..20)).map(|_| TraceId(rng.u128(..).to_be_bytes())).collect();
        let mut spans = Vec::new();
        for trace in 0..ids.len() {
            let begun = rng.u64(100..6_000);
            let kinds: &[Kind] = match rng.u8(..8) {
                0 => &[Kind::Error, Kind::Plain, Kind::Plain],
                1 => &[Kind::Slow, Kind::Plain],
                2 => &[Kind::X, Kind::Y, Kind::Plain],
                3 => &[Kind::Plain, Kind::Last],
                4 if has_drop => &[Kind::Unwanted, Kind::Error, Kind::Plain],
                5 => &[Kind::Error, Kind::X, Kind::Y],
                _ => &[Kind::Plain],
            };
            for i in 0..rng.usize(1..=8) {
                let (kind, at_ms) = (kinds[i % kinds.len()], begun + if i == 0 { 0 } else { rng.u64(..3_500) });
                spans.push(SimSpan { trace, kind, at_ms, node: rng.usize(..) });
            }
        }
        let nodes = rng.usize(2..5);
        Scenario { seed, nodes, ids, spans, events: Vec::new(), network, has_drop, mixed: false }
    }

    pub(super) fn yaml(&self, ratio: f64) -> String {
        let drop = "
    - name: unwanted
      type: drop
      drop: {drop_sub_policy: [{name: u, type: string_attribute, string_attribute: {key: k, values: [Unwanted]}}]}";
        format!(
            "
tail_sampling:
  decision_wait: 5s
  rescue: {{window: 30s}}
  decision_cache: {{sampled_cache_size: 10000, non_sampled_cache_size: 10000}}
  policies:{}
    - {{name: errors, type: error}}
    - {{name: slow, type: latency, latency: {{threshold_ms: 1000}}}}
    - name: both
      type: and
      and:
        and_sub_policy:
          - {{name: x, type: string_attribute, string_attribute: {{key: k, values: [X]}}}}
          - {{name: y, type: string_attribute, string_attribute: {{key: k, values: [Y]}}}}
    - {{name: many, type: span_count, span_count: {{min_spans: {MANY}}}}}
    - {{name: ratio, type: probabilistic, probabilistic: {{sampling_percentage: {ratio}}}}}
",
            if self.has_drop { drop } else { "" }
        )
    }

    /// Returns the spans of a trace, each with its number.
    pub(super) fn trace(&self, trace: usize) -> Vec<(usize, &SimSpan)> {
        self.spans.iter().enumerate().filter(|(_, span)| span.trace == trace).collect()
    }

    /// Returns true if the span comes after the verdict on its trace, and is evidence by itself.
    pub(super) fn is_late_evidence(&self, span: usize) -> bool {
        let SimSpan { trace, kind, at_ms, .. } = self.spans[span];
        let begun_ms = self.trace(trace).iter().map(|(_, span)| span.at_ms).min().unwrap_or(0);
        matches!(kind, Kind::Error | Kind::Slow) && at_ms > begun_ms + 5_000
    }

    /// Returns true if only the ratio can keep the trace.
    pub(super) fn is_plain(&self, trace: usize) -> bool {
        let spans = self.trace(trace);
        // Until all know that a node has left, spans that it handed over count twice.
        let leaves = self.events.iter().any(|(_, event)| matches!(event, Event::Leave(_)));
        spans.len() < if leaves { MANY / 2 } else { MANY } && spans.iter().all(|(_, span)| span.kind == Kind::Plain)
    }

    pub(super) fn ratio_keeps(&self, trace: usize) -> bool {
        Threshold::from_percent(RATIO).keeps(threshold::randomness(self.ids[trace]))
    }

    pub(super) fn describe(&self) -> String {
        let Scenario { seed, nodes, events, network, mixed, .. } = self;
        format!("seed {seed}, {nodes} nodes, mixed {mixed}, {network:?}, {events:?}")
    }
}
