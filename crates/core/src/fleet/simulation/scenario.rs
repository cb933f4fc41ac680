//! Scenarios: spans with their times and places, and faults.

use fastrand::Rng;

use crate::otlp::TraceId;
use crate::sampling::{Threshold, threshold};
use crate::tail::table::Millis;

/// The share of traces that the ratio keeps, in percent.
pub(super) const RATIO: f64 = 30.0;
/// The number of spans from which the policy `many` keeps a trace.
const MANY: usize = 6;
/// The wait of traces.
pub(super) const WAIT_MS: Millis = 5_000;

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
    /// A policy of type `drop` drops the trace unless it has an error.
    Health,
}

impl Kind {
    /// Returns true if a span of this kind is evidence by itself.
    pub(super) fn is_evidence(self) -> bool {
        matches!(self, Kind::Error | Kind::Slow)
    }
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
    /// The order of the policies without a ratio.
    pub(super) order: Vec<usize>,
    /// True if a limit comes first. Then nothing is proven before its time, except late.
    pub(super) limited: bool,
    /// The time for which late spans rescue a dropped trace; 0 if they do not.
    pub(super) rescue_s: u64,
    /// The most traces with summaries at a member.
    pub(super) traces_max: usize,
}

impl Scenario {
    /// Returns a scenario without faults.
    pub(super) fn quiet(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let network = Network { delay_ms: (20, 150), loss: 0.0, repetition: 0.0, list_lag_ms: 0, calm_ms: 0 };
        let has_drop = rng.bool();
        // Spans come up to the end of the wait.
        let mut scenario = Self::of(seed, &mut rng, network, has_drop, WAIT_MS);
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
        let mut scenario = Self::of(seed, &mut rng, network, false, 3_500);
        scenario.nodes = rng.usize(2..5);
        scenario.limited = rng.u8(..4) == 0;
        if rng.u8(..4) == 0 {
            scenario.rescue_s = 0;
        }
        if rng.u8(..3) == 0 {
            scenario.traces_max = rng.usize(2..8);
        }
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

    fn of(seed: u64, rng: &mut Rng, network: Network, has_drop: bool, spread_ms: Millis) -> Self {
        let ids: Vec<_> = (0..rng.usize(4..20)).map(|_| TraceId(rng.u128(..).to_be_bytes())).collect();
        let mut spans = Vec::new();
        for trace in 0..ids.len() {
            let begun = rng.u64(100..6_000);
            let kinds: &[Kind] = match rng.u8(..10) {
                0 => &[Kind::Error, Kind::Plain, Kind::Plain],
                1 => &[Kind::Slow, Kind::Plain],
                2 => &[Kind::X, Kind::Y, Kind::Plain],
                3 => &[Kind::Plain, Kind::Last],
                4 if has_drop => &[Kind::Unwanted, Kind::Error, Kind::Plain],
                5 => &[Kind::Error, Kind::X, Kind::Y],
                6 => &[Kind::Plain, Kind::Slow],
                7 => &[Kind::Plain, Kind::Plain, Kind::Error],
                8 if has_drop => &[Kind::Health, Kind::Health, Kind::Error],
                _ => &[Kind::Plain],
            };
            for i in 0..rng.usize(1..=8) {
                let (kind, at_ms) = (kinds[i % kinds.len()], begun + if i == 0 { 0 } else { rng.u64(..spread_ms) });
                spans.push(SimSpan { trace, kind, at_ms, node: rng.usize(..) });
            }
        }
        let nodes = rng.usize(2..5);
        let mut order: Vec<usize> = (0..4).collect();
        rng.shuffle(&mut order);
        Scenario {
            seed,
            nodes,
            ids,
            spans,
            events: Vec::new(),
            network,
            has_drop,
            mixed: false,
            order,
            limited: false,
            rescue_s: 30,
            traces_max: 10_000,
        }
    }

    pub(super) fn yaml(&self, ratio: f64) -> String {
        let drop = "
    - name: unwanted
      type: drop
      drop: {drop_sub_policy: [{name: u, type: string_attribute, string_attribute: {key: k, values: [Unwanted]}}]}
    - name: health
      type: drop
      drop:
        drop_sub_policy:
          - {name: h, type: string_attribute, string_attribute: {key: k, values: [Health]}}
          - {name: n, type: not, not: {not_sub_policy: {name: e, type: error}}}";
        let limit = "
    - {name: limit, type: rate_limiting, rate_limiting: {spans_per_second: 2}}";
        let policies = [
            "
    - {name: errors, type: error}"
                .to_owned(),
            "
    - {name: slow, type: latency, latency: {threshold_ms: 1000}}"
                .to_owned(),
            "
    - name: both
      type: and
      and:
        and_sub_policy:
          - {name: x, type: string_attribute, string_attribute: {key: k, values: [X]}}
          - {name: y, type: string_attribute, string_attribute: {key: k, values: [Y]}}"
                .to_owned(),
            format!(
                "
    - {{name: many, type: span_count, span_count: {{min_spans: {MANY}}}}}"
            ),
        ];
        let ordered: String = self.order.iter().map(|&policy| policies[policy].as_str()).collect();
        format!(
            "
tail_sampling:
  decision_wait: {WAIT_MS}ms
  rescue: {{window: {}s}}
  decision_cache: {{sampled_cache_size: 10000, non_sampled_cache_size: 10000}}
  policies:{}{}{ordered}
    - {{name: ratio, type: probabilistic, probabilistic: {{sampling_percentage: {ratio}}}}}
",
            self.rescue_s,
            if self.has_drop { drop } else { "" },
            if self.limited { limit } else { "" },
        )
    }

    /// Returns the spans of a trace, each with its number.
    pub(super) fn trace(&self, trace: usize) -> Vec<(usize, &SimSpan)> {
        self.spans.iter().enumerate().filter(|(_, span)| span.trace == trace).collect()
    }

    /// Returns true if spans of the trace come after the verdict.
    pub(super) fn has_late_spans(&self, trace: usize) -> bool {
        let times = || self.trace(trace).into_iter().map(|(_, span)| span.at_ms);
        times().max() > times().min().map(|begun_ms| begun_ms + WAIT_MS)
    }

    /// Returns true if only the ratio can keep the trace.
    pub(super) fn is_plain(&self, trace: usize) -> bool {
        if self.limited {
            return false;
        }
        let spans = self.trace(trace);
        // Until all know that a node has left, spans that it handed over count twice.
        let leaves = self.events.iter().any(|(_, event)| matches!(event, Event::Leave(_)));
        spans.len() < if leaves { MANY / 2 } else { MANY } && spans.iter().all(|(_, span)| span.kind == Kind::Plain)
    }

    /// Returns true if each message arrives.
    pub(super) fn loses_nothing(&self) -> bool {
        let is_cut_off = |(_, event): &(Millis, Event)| matches!(event, Event::EngineDown(_) | Event::CutOff(..));
        self.network.loss == 0.0 && !self.events.iter().any(is_cut_off)
    }

    pub(super) fn ratio_keeps(&self, trace: usize) -> bool {
        Threshold::from_percent(RATIO).keeps(threshold::randomness(self.ids[trace]))
    }

    pub(super) fn describe(&self) -> String {
        let Scenario { seed, nodes, events, network, mixed, order, limited, rescue_s, traces_max, .. } = self;
        format!(
            "seed {seed}, {nodes} nodes, mixed {mixed}, order {order:?}, limited {limited}, rescue {rescue_s} s, \
             {traces_max} traces, {network:?}, {events:?}"
        )
    }
}
