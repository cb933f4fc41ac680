//! The input of a simulation: a configuration, traces, and steps, all determined by one seed.

use std::collections::BTreeSet;
use std::fmt::Write;

use fastrand::Rng;

/// A policy of a scenario.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rule {
    Errors,
    /// Keeps traces of 1 s or more.
    Slow,
    /// Keeps this percentage of the traces.
    Ratio(u8),
    /// Keeps this percentage of the traces that have a span for paying customers.
    PaidRatio(u8),
    /// Drops traces that have a span of a probe.
    NoProbes,
    /// Keeps up to this many spans a second.
    Limit(u32),
}

impl Rule {
    /// Returns the name of its policy. Equal rules have equal names.
    pub(super) fn name(self) -> String {
        match self {
            Rule::Errors => "errors".to_owned(),
            Rule::Slow => "slow".to_owned(),
            Rule::Ratio(percent) => format!("ratio {percent}"),
            Rule::PaidRatio(percent) => format!("paid {percent}"),
            Rule::NoProbes => "no probes".to_owned(),
            Rule::Limit(spans) => format!("limit {spans}"),
        }
    }

    fn yaml(self) -> String {
        let ratio = |percent| format!("type: probabilistic, probabilistic: {{sampling_percentage: {percent}}}");
        let yes = |key| format!("{{type: string_attribute, string_attribute: {{key: {key}, values: [\"yes\"]}}}}");
        match self {
            Rule::Errors => "type: error".to_owned(),
            Rule::Slow => "type: latency, latency: {threshold_ms: 1000}".to_owned(),
            Rule::Ratio(percent) => ratio(percent),
            Rule::PaidRatio(percent) => {
                format!("type: and, and: {{and_sub_policy: [{}, {{{}}}]}}", yes("paid"), ratio(percent))
            }
            Rule::NoProbes => format!("type: drop, drop: {{drop_sub_policy: [{}]}}", yes("probe")),
            Rule::Limit(spans) => format!("type: rate_limiting, rate_limiting: {{spans_per_second: {spans}}}"),
        }
    }
}

/// The kind of a span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// A span of 10 ms at the beginning of the trace.
    Plain,
    /// A span of 10 ms that begins 1.2 s later. Together with a plain one it makes its trace slow.
    Later,
    Error,
    Slow,
    Root,
    Paid,
    Probe,
    /// A span with neither start nor end.
    Timeless,
    /// A span of a clock that is decades behind.
    Ancient,
    /// A span without a span id, which is rejected.
    Bad,
}

/// A span to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpanSpec {
    /// The index of its trace in [`Scenario::traces`].
    pub(super) trace: usize,
    pub(super) kind: Kind,
    /// The service that sends it.
    pub(super) service: u8,
}

/// The answer of the sink to the oldest batch.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Stored,
    /// The call fails and is retried.
    Failed,
    /// The sink refuses the batch finally. The batch is halved; a single span is dropped.
    Refused,
}

/// One step of a scenario.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Send(Vec<SpanSpec>),
    /// The sender of an earlier request did not get the answer and sends the request again. The index is taken modulo
    /// the number of sent requests.
    Again(usize),
    Wait(u64),
    /// Sweep the shards of this residue class modulo [`SWEEP_CLASSES`].
    Sweep(usize),
    Relieve,
    Shrink(usize),
    /// The exporter takes up to this many fragments.
    Encode(usize),
    Answer(Answer),
    /// Other rules take the place of those in force: the set of this number modulo the number of sets.
    Reload(usize),
    /// The held spans are evaluated for the rules in force. Until then this happens when they are needed.
    Rescan,
}

/// Number of parts that the shards are swept in.
pub(super) const SWEEP_CLASSES: usize = 4;

/// The whole input of a run.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    /// The rules at the beginning.
    pub(super) rules: Vec<Rule>,
    /// The sets of rules that reloads put in force.
    pub(super) other_rules: Vec<Vec<Rule>>,
    pub(super) first_match: bool,
    pub(super) wait_ms: u64,
    pub(super) root_wait_ms: u64,
    pub(super) rescue_window_ms: u64,
    /// The most memory of rescuable traces, in percent of the budget.
    rescue_percent: u8,
    /// Number of spans at which a trace is decided at once.
    pub(super) spans_max: usize,
    pub(super) cache_ids: usize,
    /// Bytes of the memory budget beyond those that are used from the start.
    pub(super) room_bytes: usize,
    /// Trace ids, with explicit randomness if there is any.
    pub(super) traces: Vec<([u8; 16], Option<u64>)>,
    pub(super) steps: Vec<Step>,
}

impl Scenario {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let pressed = rng.bool();
        // The caches remember eight ids in each of 64 shards, or more than there are.
        let forgets = rng.u8(..8) == 0;
        let traces = if forgets { 1_000 } else { rng.usize(1..30) };
        let spans_max = if forgets { 100 } else { 12 };
        let traces = (0..traces).map(|_| trace(&mut rng)).collect::<Vec<_>>();
        let steps = (0..rng.usize(10..150)).map(|_| step(&mut rng, traces.len(), spans_max)).collect();
        Scenario {
            seed,
            rules: rules(&mut rng),
            other_rules: (0..3).map(|_| rules(&mut rng)).collect(),
            first_match: rng.u8(..4) == 0,
            wait_ms: 10_000,
            root_wait_ms: *pick(&mut rng, &[0, 0, 2_000, 20_000]),
            rescue_window_ms: *pick(&mut rng, &[0, 1, 15_000, 60_000]),
            rescue_percent: *pick(&mut rng, &[100, 1]),
            spans_max: *pick(&mut rng, &[1_000_000, 1_000_000, 20, 5, 1]),
            cache_ids: if forgets { 1 } else { 64 * 200 },
            room_bytes: if pressed { rng.usize(4_000..60_000) } else { 64 << 20 },
            traces,
            steps,
        }
    }

    /// Returns true if the caches forget no decided trace.
    pub(super) fn remembers(&self) -> bool {
        self.cache_ids > 1
    }

    /// Returns the scenario with its requests only, and without policies that depend on other traces.
    pub(super) fn orderly(self) -> Self {
        let steps = self.steps.into_iter().filter(|step| matches!(step, Step::Send(_))).collect();
        let rules = self.rules.into_iter().filter(|rule| !matches!(rule, Rule::Limit(_))).collect();
        Scenario { steps, rules, room_bytes: 64 << 20, cache_ids: 64 * 200, spans_max: 1_000_000, ..self }
    }

    /// Returns the same spans in another order and in other requests, some time apart.
    pub(super) fn reordered(&self) -> Self {
        let mut rng = Rng::with_seed(!self.seed);
        let sent = self.steps.iter().filter_map(|step| if let Step::Send(spans) = step { Some(spans) } else { None });
        let mut spans = sent.flatten().copied().collect::<Vec<_>>();
        rng.shuffle(&mut spans);
        let mut steps = Vec::new();
        while !spans.is_empty() {
            let rest = spans.split_off(spans.len().min(rng.usize(1..20)));
            steps.extend([Step::Wait(1), Step::Send(std::mem::replace(&mut spans, rest))]);
        }
        Scenario { steps, ..self.clone() }
    }

    /// Returns a readable description with everything that is needed to understand a failure.
    pub(super) fn describe(&self) -> String {
        let mut text = self.yaml(&self.rules);
        writeln!(text, "caches of {} ids, {} bytes of memory", self.cache_ids, self.room_bytes).unwrap();
        let sent = |step: &Step| if let Step::Send(spans) = step { spans.clone() } else { Vec::new() };
        let traces: BTreeSet<usize> = self.steps.iter().flat_map(sent).map(|span| span.trace).collect();
        for trace in traces {
            let (id, randomness) = self.traces[trace];
            writeln!(text, "trace {trace}: {:032x}, rv {randomness:x?}", u128::from_be_bytes(id)).unwrap();
        }
        for rules in &self.other_rules {
            writeln!(text, "rules of reloads: {rules:?}").unwrap();
        }
        self.steps.iter().for_each(|step| writeln!(text, "{step:?}").unwrap());
        text
    }

    /// Returns a configuration in YAML with these rules.
    pub(super) fn yaml(&self, rules: &[Rule]) -> String {
        let mut text = format!(
            "tail_sampling:\n  decision_wait: {}ms\n  decision_wait_after_root_received: {}ms\n  \
             rescue: {{window: {}ms, max_bytes: {}%}}\n  spans_max: {}\n  sample_on_first_match: {}\n  policies:\n",
            self.wait_ms,
            self.root_wait_ms,
            self.rescue_window_ms,
            self.rescue_percent,
            self.spans_max,
            self.first_match,
        );
        for rule in rules {
            writeln!(text, "    - {{name: {}, {}}}", rule.name(), rule.yaml()).unwrap();
        }
        text
    }
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(..from.len())]
}

fn trace(rng: &mut Rng) -> ([u8; 16], Option<u64>) {
    let id = rng.u128(1..).to_be_bytes();
    (id, (rng.u8(..4) == 0).then(|| rng.u64(..1 << 56)))
}

/// Returns rules in any order: always a ratio, mostly errors and slow traces, and sometimes others.
fn rules(rng: &mut Rng) -> Vec<Rule> {
    let mut rules = vec![Rule::Ratio(*pick(rng, &[1, 5, 50, 90]))];
    let mut add = |chance, rule| {
        if rng.u8(..10) < chance {
            rules.push(rule);
        }
    };
    add(9, Rule::Errors);
    add(8, Rule::Slow);
    add(3, Rule::PaidRatio(80));
    add(3, Rule::NoProbes);
    add(2, Rule::Limit(10));
    rng.shuffle(&mut rules);
    rules
}

fn span(rng: &mut Rng, traces: usize) -> SpanSpec {
    let kind = match rng.u8(..40) {
        0..2 => Kind::Error,
        2..3 => Kind::Slow,
        3..5 => Kind::Later,
        5..8 => Kind::Root,
        8..10 => Kind::Paid,
        10..12 => Kind::Probe,
        12..13 => Kind::Timeless,
        13..14 => Kind::Ancient,
        14..15 => Kind::Bad,
        _ => Kind::Plain,
    };
    SpanSpec { trace: rng.usize(..traces), kind, service: rng.u8(..3) }
}

fn step(rng: &mut Rng, traces: usize, spans_max: usize) -> Step {
    match rng.u8(..22) {
        20 => Step::Reload(rng.usize(..100)),
        21 => Step::Rescan,
        0..8 => {
            // Half of the requests have spans of one trace only, like those of a service that has just answered a
            // request.
            let own = rng.usize(..traces);
            let alone = rng.bool();
            let spans = (0..rng.usize(0..spans_max)).map(|_| span(rng, traces));
            Step::Send(spans.map(|span| if alone { SpanSpec { trace: own, ..span } } else { span }).collect())
        }
        8 => Step::Again(rng.usize(..100)),
        9..12 => Step::Wait(*pick(rng, &[1, 300, 2_000, 9_999, 10_000, 60_000])),
        12..15 => Step::Sweep(rng.usize(..SWEEP_CLASSES)),
        15 => Step::Relieve,
        16 => Step::Shrink(rng.usize(..64)),
        17..18 => Step::Encode(rng.usize(1..40)),
        _ => Step::Answer(*pick(rng, &[Answer::Stored, Answer::Stored, Answer::Failed, Answer::Refused])),
    }
}
