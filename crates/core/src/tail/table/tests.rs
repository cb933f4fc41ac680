mod dry_run;
mod fleet;
mod handoff;
mod pressure;
mod replace;
mod reports;

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::budget::Claim;
use crate::condition::Condition;
use crate::otlp::scan::Bits;
use crate::otlp::{ByteRange, TraceId};
use crate::sampling::settings::{Policy, Rule};
use crate::sampling::threshold;
use crate::tail::settings::{DecisionCache, Rescue, Shadow};

const ERROR_BIT: Bits = 1;
const WAIT_MS: Millis = 10_000;
const WINDOW_MS: Millis = 60_000;
const SPAN_LEN: u32 = 100;

fn settings() -> TailSampling {
    let policy = Policy::new;
    TailSampling {
        decision_wait: Duration::from_millis(WAIT_MS),
        decision_wait_after_root_received: Duration::ZERO,
        decision_cache: DecisionCache { sampled_cache_size: 10_000, non_sampled_cache_size: 10_000 },
        rescue: Rescue { window: Duration::from_millis(WINDOW_MS), max_bytes: Size::Percent(25.0) },
        spans_max: 100_000,
        shadow: Shadow::default(),
        bytes_max: Size::Percent(100.0),
        annotate: true,
        dry_run: false,
        sample_on_first_match: false,
        policies: vec![
            policy("errors", Rule::AnySpan(Condition::status(2))),
            policy("slow", Rule::Latency { threshold_ms: 1_000, upper_threshold_ms: 0 }),
            policy("baseline", Rule::Probabilistic { sampling_percentage: 50.0 }),
        ],
    }
}

/// Returns a trace id that the baseline of 50 % keeps if `kept` is true, and drops otherwise.
fn id(n: u8, kept: bool) -> TraceId {
    let mut id = [n; 16];
    id[9] = if kept { 0xff } else { 0x00 };
    TraceId(id)
}

fn span(trace_id: TraceId) -> SpanFact {
    SpanFact {
        trace_id,
        start_unix_nano: 1_000_000_000,
        end_unix_nano: 1_001_000_000,
        bits: 0,
        randomness: None,
        span: ByteRange { offset: 0, len: SPAN_LEN },
        scope: 0,
        root: false,
        error: false,
    }
}

fn error(trace_id: TraceId) -> SpanFact {
    SpanFact { bits: ERROR_BIT, ..span(trace_id) }
}

fn slow(trace_id: TraceId) -> SpanFact {
    SpanFact { end_unix_nano: 2_500_000_000, ..span(trace_id) }
}

struct Fixture {
    table: Table,
    budget: Budget,
    now_ms: Millis,
    out: RoundOutcome,
    received: u64,
    exported: u64,
    kept: Vec<KeptSpans>,
}

impl Fixture {
    fn new(settings: &TailSampling, limit_bytes: usize) -> Self {
        let policies = Arc::new(Policies::compile(&settings.policies, settings.sample_on_first_match).unwrap());
        let budget = Budget::new(limit_bytes);
        // A fixed seed: the ids of these tests differ in few bits, and a rare seed puts the oldest of them into one shard.
        let table = Table::seeded(settings, policies, budget.clone(), 1);
        Fixture { table, budget, now_ms: 0, out: RoundOutcome::default(), received: 0, exported: 0, kept: Vec::new() }
    }

    fn default() -> Self {
        Self::new(&settings(), 64 << 20)
    }

    fn send(&mut self, facts: &[SpanFact]) -> bool {
        // The bytes of an error span are ones, those of other spans zeros.
        let bytes = facts.iter().flat_map(|fact| [u8::from(fact.bits == ERROR_BIT); SPAN_LEN as usize]);
        let body: Bytes = bytes.collect::<Vec<_>>().into();
        let facts = facts
            .iter()
            .enumerate()
            .map(|(i, fact)| SpanFact { span: ByteRange { offset: i as u32 * SPAN_LEN, len: SPAN_LEN }, ..*fact });
        let mut scan = Scan::default();
        scan.facts.extend(facts);
        scan.scopes.push(Scope::default());
        let Some(share) = self.table.admit(body.len(), self.now_ms, &mut self.out) else { return false };
        self.table.insert(body, &scan, share, self.now_ms, &mut self.out);
        self.received += scan.facts.len() as u64;
        self.collect();
        true
    }

    fn advance(&mut self, millis: Millis) {
        self.now_ms += millis;
        for shard in 0..self.table.shard_count() {
            while self.table.sweep(shard, self.now_ms, &mut self.out) {}
        }
        self.collect();
    }

    fn drain(&mut self) {
        while self.table.drain(self.now_ms, &mut self.out) {}
        self.collect();
    }

    /// Takes the kept spans, and checks that every span is in exactly one place.
    fn collect(&mut self) {
        self.kept.append(&mut self.out.kept);
        let held = self.table.held();
        let accounted = self.exported
            + self.kept_count()
            + self.out.tally.sampled_out_spans
            + held.pending_spans
            + held.rescuable_spans;
        assert_eq!(accounted, self.received);
        assert_eq!(held.rescuable_bytes, held.rescuable_spans * u64::from(SPAN_LEN));
    }

    /// Exports the kept spans, as the exporter does after it has encoded them.
    fn export(&mut self) {
        self.exported += self.kept_count();
        self.kept.clear();
    }

    fn kept_count(&self) -> u64 {
        self.kept.iter().map(|k| u64::from(k.fragment.span_count())).sum()
    }

    fn kept_policies(&self) -> Vec<u16> {
        let mut policies: Vec<u16> = self.kept.iter().map(|k| k.keep.policy).collect();
        policies.dedup();
        policies
    }
}

#[test]
fn a_trace_waits_and_then_follows_its_policies() {
    for (facts, kept, policy) in [
        (vec![span(id(1, false)), span(id(1, false))], 0, None),
        (vec![span(id(1, true)), span(id(1, true))], 2, Some(2)),
        (vec![slow(id(1, false)), span(id(1, false))], 2, Some(1)),
    ] {
        let mut fixture = Fixture::default();
        fixture.send(&facts);
        fixture.advance(WAIT_MS - 1);
        assert_eq!(fixture.kept_count(), 0, "decided too early");
        fixture.advance(1);
        assert_eq!(fixture.kept_count(), kept);
        assert_eq!(fixture.kept_policies().first().copied(), policy);
    }
}

#[test]
fn a_proven_trace_does_not_wait_and_late_spans_follow_it() {
    let mut fixture = Fixture::default();
    fixture.send(&[span(id(1, false))]);
    fixture.send(&[error(id(1, false))]);
    assert_eq!(fixture.kept_count(), 2);
    assert_eq!(fixture.table.held(), HeldCounts::default());
    fixture.send(&[span(id(1, false))]);
    fixture.advance(5 * WAIT_MS);
    fixture.send(&[span(id(1, false))]);
    assert_eq!((fixture.kept_count(), fixture.kept_policies()), (4, vec![0]));
    assert_eq!(fixture.out.tally.late_kept_spans, 2);
}

#[test]
fn a_late_error_rescues_the_whole_trace_within_the_window() {
    let mut fixture = Fixture::default();
    fixture.send(&[span(id(1, false)), span(id(1, false))]);
    fixture.advance(WAIT_MS);
    assert_eq!(fixture.table.held().rescuable_spans, 2);
    fixture.send(&[span(id(1, false))]);
    assert_eq!((fixture.kept_count(), fixture.table.held().rescuable_spans), (0, 3));
    fixture.send(&[error(id(1, false))]);
    assert_eq!((fixture.kept_count(), fixture.table.held()), (4, HeldCounts::default()));
    assert_eq!(fixture.out.tally.kept, [(0, Trigger::Rescue, 1)]);
}

#[test]
fn a_late_error_after_the_window_is_kept_alone() {
    let mut fixture = Fixture::default();
    fixture.send(&[span(id(1, false))]);
    fixture.advance(WAIT_MS);
    fixture.advance(WINDOW_MS);
    assert_eq!((fixture.out.tally.sampled_out_spans, fixture.table.held()), (1, HeldCounts::default()));
    fixture.send(&[span(id(1, false))]);
    assert_eq!((fixture.out.tally.sampled_out_spans, fixture.out.tally.late_dropped_spans), (2, 1));
    fixture.send(&[error(id(1, false))]);
    fixture.send(&[span(id(1, false))]);
    assert_eq!((fixture.kept_count(), fixture.out.tally.late_kept_spans), (2, 1));
}

#[test]
fn a_trace_that_a_policy_drops_cannot_be_rescued() {
    let mut dropping = settings();
    let probes = Rule::Drop(vec![Policy::new("", Rule::SpanCount { min_spans: 3, max_spans: None })]);
    dropping.policies.push(Policy::new("probes", probes));
    let mut fixture = Fixture::new(&dropping, 64 << 20);
    fixture.send(&[span(id(1, true)), span(id(1, true)), error(id(1, true))]);
    fixture.send(&[error(id(2, true))]);
    assert_eq!(fixture.kept_count(), 0, "an error is not enough to keep the trace yet: more spans may drop it");
    fixture.advance(WAIT_MS);
    assert_eq!((fixture.kept_count(), fixture.table.held()), (1, HeldCounts::default()), "a dropped trace is not held");
    assert_eq!(fixture.out.tally.dropped_by_policy, [(3, Trigger::DecisionWait, 1)]);
    fixture.send(&[error(id(1, true))]);
    assert_eq!((fixture.kept_count(), fixture.out.tally.sampled_out_spans), (1, 4));
    assert_eq!(fixture.out.tally.late_dropped_spans, 1);
}

#[test]
fn a_veto_is_not_confused_with_other_drops() {
    let mut dropping = settings();
    let probes = Rule::Drop(vec![Policy::new("", Rule::SpanCount { min_spans: 2, max_spans: None })]);
    dropping.policies = vec![dropping.policies[0].clone(), Policy::new("probes", probes)];
    dropping.rescue.window = Duration::ZERO;
    let mut fixture = Fixture::new(&dropping, 64 << 20);
    for n in 0..200 {
        let spans = vec![span(id(n, true)); if n % 2 == 0 { 1 } else { 2 }];
        fixture.send(&spans);
    }
    fixture.advance(WAIT_MS);
    assert_eq!((fixture.kept_count(), fixture.table.held()), (0, HeldCounts::default()));
    for n in 0..200 {
        let kept_before = fixture.kept_count();
        fixture.send(&[error(id(n, true))]);
        assert_eq!(fixture.kept_count() - kept_before, u64::from(n % 2 == 0), "{n}");
    }
}

#[test]
fn rescue_can_be_turned_off() {
    let mut off = settings();
    off.rescue.window = Duration::ZERO;
    let mut fixture = Fixture::new(&off, 64 << 20);
    fixture.send(&[span(id(1, false))]);
    fixture.advance(WAIT_MS);
    assert_eq!((fixture.out.tally.sampled_out_spans, fixture.table.held()), (1, HeldCounts::default()));
}

/// Returns a trace id for each `n`. The baseline drops all of them.
fn numbered(n: u32) -> TraceId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    id[15] = 1;
    TraceId(id)
}

#[test]
fn rescued_traces_and_their_later_spans_are_marked_as_rescued() {
    let rescued = |fixture: &Fixture| fixture.kept.iter().map(|kept| kept.keep.rescued).collect::<Vec<_>>();
    for wait_ms in [0, WINDOW_MS] {
        let mut fixture = Fixture::default();
        fixture.send(&[span(id(1, false))]);
        fixture.advance(WAIT_MS);
        fixture.advance(wait_ms);
        fixture.send(&[error(id(1, false))]);
        fixture.send(&[span(id(1, false))]);
        let held_spans = usize::from(wait_ms == 0);
        assert_eq!(rescued(&fixture), vec![true; held_spans + 2]);
    }
    let mut fixture = Fixture::default();
    fixture.send(&[error(id(1, false))]);
    fixture.send(&[span(id(1, false))]);
    assert_eq!(rescued(&fixture), [false; 2]);
}

#[test]
fn a_large_trace_is_decided_at_once_and_late_spans_follow() {
    // 100 spans reach either bound.
    let by_spans = TailSampling { spans_max: 100, ..settings() };
    let by_bytes = TailSampling { bytes_max: Size::Bytes(100 * u64::from(SPAN_LEN)), ..settings() };
    for settings in [by_spans, by_bytes] {
        for request_spans in [1, 100, 150] {
            for kept in [true, false] {
                let mut fixture = Fixture::new(&settings, 64 << 20);
                let (trace, rounds) = (id(1, kept), 300 / request_spans);
                (0..rounds).for_each(|_| assert!(fixture.send(&vec![span(trace); request_spans])));
                let expected = if kept { vec![(2, Trigger::TraceSize, 1)] } else { vec![] };
                assert_eq!(fixture.out.tally.kept, expected);
                assert_eq!(fixture.out.tally.dropped[Trigger::TraceSize as usize], u64::from(!kept));
                let held = fixture.table.held();
                assert_eq!(held.pending_traces, 0);
                assert_eq!(held.rescuable_spans, if kept { 0 } else { 100.max(request_spans as u64) });
                // An error is kept, and with it the spans that are still held.
                fixture.send(&[error(trace)]);
                fixture.send(&[span(trace)]);
                let expected = if kept { 302 } else { held.rescuable_spans + 2 };
                assert_eq!((fixture.kept_count(), fixture.table.held()), (expected, HeldCounts::default()));
            }
        }
    }
}

#[test]
fn a_trace_of_a_million_spans_pins_no_memory() {
    for kept in [true, false] {
        let mut fixture = Fixture::new(&TailSampling { bytes_max: Size::Percent(10.0), ..settings() }, 16 << 20);
        let idle = fixture.budget.used_bytes();
        for _ in 0..1_000 {
            assert!(fixture.send(&vec![span(id(1, kept)); 1_000]));
            fixture.export();
            fixture.now_ms += 1;
            let used = fixture.budget.used_bytes() - idle;
            assert!(used < 4 << 20, "{used} bytes of 16 MiB");
        }
        assert_eq!(fixture.out.tally.kept.len(), usize::from(kept));
        assert_eq!(fixture.out.tally.dropped.iter().sum::<u64>(), u64::from(!kept), "one verdict");
        fixture.send(&[error(id(1, kept))]);
        fixture.export();
        assert_eq!(fixture.budget.used_bytes(), idle);
    }
}

#[test]
fn spans_of_a_trace_may_come_for_hours() {
    const SPANS: u32 = 6 * 3_600 / 5;
    // A million other traces, and then a tenth of it. Both are more than the caches remember.
    for (first, others_per_span) in [(span as fn(TraceId) -> SpanFact, 240), (error, 24)] {
        let mut fixture = Fixture::default();
        let long = numbered(0);
        fixture.send(&[first(long)]);
        let mut used_max = 0;
        for n in 1..SPANS {
            fixture.advance(5_000);
            fixture.send(&[span(long)]);
            let others: Vec<_> = (0..others_per_span).map(|i| span(numbered(n * others_per_span + i))).collect();
            fixture.send(&others);
            fixture.export();
            // From the time at which the caches are full and the first window is over.
            if n == SPANS / 10 {
                used_max = fixture.budget.used_bytes() + (64 << 10);
            }
            assert!(used_max == 0 || fixture.budget.used_bytes() <= used_max, "held for long");
        }
        let kept = first(long).bits == ERROR_BIT;
        assert_eq!(fixture.exported, if kept { u64::from(SPANS) } else { 0 });
        fixture.drain();
        let decided = u64::from((SPANS - 1) * others_per_span) + u64::from(!kept);
        assert_eq!(fixture.out.tally.dropped.iter().sum::<u64>(), decided, "one verdict each");
    }
}

#[test]
fn a_root_brings_the_decision_forward_but_never_back() {
    let mut rooted = settings();
    rooted.decision_wait_after_root_received = Duration::from_secs(2);
    let mut fixture = Fixture::new(&rooted, 64 << 20);
    fixture.send(&[span(id(1, true))]);
    fixture.advance(1_000);
    fixture.send(&[SpanFact { root: true, ..span(id(1, true)) }]);
    fixture.send(&[SpanFact { root: true, ..span(id(2, true)) }]);
    fixture.advance(1_999);
    assert_eq!(fixture.kept_count(), 0);
    fixture.advance(1);
    assert_eq!(fixture.kept_count(), 3);
    assert_eq!(fixture.out.tally.kept, [(2, Trigger::RootReceived, 2)]);
    fixture.send(&[span(id(3, true))]);
    fixture.advance(9_000);
    fixture.send(&[SpanFact { root: true, ..span(id(3, true)) }]);
    fixture.advance(1_000);
    assert_eq!(fixture.kept_count(), 5, "a root that comes 1 s before the due time does not put it off");
}

#[test]
fn explicit_randomness_replaces_that_of_the_id() {
    for (rv, kept) in [(0, 0), (threshold::Threshold::from_percent(50.0).get(), 1)] {
        let mut fixture = Fixture::default();
        fixture.send(&[SpanFact { randomness: Some(rv), ..span(id(1, rv == 0)) }]);
        fixture.advance(WAIT_MS);
        assert_eq!(fixture.kept_count(), kept, "rv {rv:x}");
    }
}

#[test]
fn the_budget_is_exact_and_returns_to_where_it_began() {
    let mut fixture = Fixture::default();
    let idle = fixture.budget.used_bytes();
    for n in 0..200 {
        fixture.send(&[span(id(n, false)), span(id(n, true)), error(id(n.wrapping_add(1), false))]);
    }
    assert!(fixture.budget.used_bytes() > idle + 200 * 300);
    fixture.drain();
    fixture.export();
    assert_eq!(fixture.budget.used_bytes(), idle);
}

#[test]
fn the_memory_of_policies_is_charged_from_the_start() {
    let used = |policy: &str| {
        let text = format!("tail_sampling: {{policies: [{{name: p, {policy}}}]}}\n");
        let settings = crate::testing::load(&text).unwrap().tail_sampling;
        Fixture::new(&settings, 1 << 30).budget.used_bytes()
    };
    let without = used("type: always_sample");
    let rare = used("type: rare, rare: {max_keys: 100000}") - without;
    let percentile = used("type: latency, latency: {percentile: 99, max_keys: 500}") - without;
    // docs/adaptive-policies.md: 33 B and 1.1 KiB a key, and the slack of the table.
    assert!((3_300_000..8_000_000).contains(&rare), "{rare}");
    assert!((500 * 1_024..500 * 2_048).contains(&percentile), "{percentile}");
}

#[derive(Clone, Debug)]
enum Step {
    Send(Vec<(u8, bool, u8)>),
    Advance(Millis),
}

fn fact((n, kept, kind): (u8, bool, u8)) -> SpanFact {
    match kind {
        0 => error(id(n, kept)),
        1 => slow(id(n, kept)),
        _ => span(id(n, kept)),
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let spans = prop::collection::vec((1u8..20, any::<bool>(), 0u8..12), 0..8);
    prop::collection::vec(prop_oneof![spans.prop_map(Step::Send), (0u64..30_000).prop_map(Step::Advance)], 1..60)
}

proptest! {
    /// `collect` asserts the conservation of spans after each step.
    #[test]
    fn every_span_is_in_one_place_and_every_error_is_kept(steps in steps()) {
        let mut fixture = Fixture::default();
        let mut errors = 0;
        for step in steps {
            match step {
                Step::Send(spans) => {
                    let facts: Vec<_> = spans.into_iter().map(fact).collect();
                    errors += facts.iter().filter(|fact| fact.bits == ERROR_BIT).count();
                    prop_assert!(fixture.send(&facts));
                }
                Step::Advance(millis) => fixture.advance(millis),
            }
        }
        fixture.drain();
        let errors_of = |kept: &KeptSpans| kept.fragment.open().spans().filter(|bytes| bytes.span[0] == 1).count();
        prop_assert_eq!(fixture.kept.iter().map(errors_of).sum::<usize>(), errors);
        prop_assert_eq!(fixture.table.held(), HeldCounts::default());
    }

    /// The same spans in any order and in any requests give the same verdicts.
    #[test]
    fn verdicts_do_not_depend_on_order_or_on_requests(
        spans in prop::collection::vec((1u8..6, any::<bool>(), 0u8..12), 1..40).prop_shuffle(),
        shuffled_seed in any::<u64>(),
        cuts in prop::collection::vec(1usize..6, 40),
    ) {
        let whole: Vec<_> = spans.iter().copied().map(fact).collect();
        let mut shuffled = whole.clone();
        fastrand::Rng::with_seed(shuffled_seed).shuffle(&mut shuffled);
        let verdicts = |requests: Vec<&[SpanFact]>| {
            let mut fixture = Fixture::default();
            for request in requests {
                fixture.send(request);
            }
            fixture.advance(WAIT_MS);
            let mut kept: HashMap<u16, u64> = HashMap::new();
            for entry in &fixture.kept {
                *kept.entry(entry.keep.policy).or_default() += u64::from(entry.fragment.span_count());
            }
            kept
        };
        let mut rest = &shuffled[..];
        let mut requests = Vec::new();
        for cut in cuts {
            let (head, tail) = rest.split_at(cut.min(rest.len()));
            requests.push(head);
            rest = tail;
        }
        requests.push(rest);
        prop_assert_eq!(verdicts(vec![&whole]), verdicts(requests));
    }
}

#[test]
fn the_fate_of_a_trace_is_known_from_its_first_span_until_its_verdict_is_forgotten() {
    let mut settings = settings();
    let policy = Policy::new;
    let stalled = policy("stalled", Rule::Latency { threshold_ms: 60_000, upper_threshold_ms: 0 });
    settings.policies.push(policy("veto", Rule::Drop(vec![stalled])));
    let mut f = Fixture::new(&settings, 64 << 20);
    let (wrong, ratio, sampled_out, dropped, never_came) =
        (id(1, false), id(2, true), id(3, false), id(4, false), id(5, false));
    let very_slow = SpanFact { end_unix_nano: 100_000_000_000, ..span(dropped) };
    f.send(&[error(wrong), span(ratio), span(sampled_out), very_slow]);
    let fates = |f: &Fixture| [wrong, ratio, sampled_out, dropped, never_came].map(|id| f.table.fate(id));
    let pending = [Fate::Pending; 4];
    assert_eq!(fates(&f)[..4], pending, "a policy that drops is asked at the decision");
    f.advance(WAIT_MS);
    let kept = [Fate::Kept { policy: 0 }, Fate::Kept { policy: 2 }];
    let rescuable = Fate::SampledOut { rescuable: true };
    assert_eq!(fates(&f), [kept[0], kept[1], rescuable, Fate::DroppedByPolicy, Fate::Unknown]);
    f.advance(WINDOW_MS);
    let gone = Fate::SampledOut { rescuable: false };
    assert_eq!(fates(&f), [kept[0], kept[1], gone, Fate::DroppedByPolicy, Fate::Unknown]);
}

#[test]
fn a_slice_of_decisions_reads_a_limited_number_of_bytes() {
    decide_in_slices(BODY_BYTES, |table| table);
    // Reading a small span costs a whole block of its compressed request.
    decide_in_slices(100, Table::with_compression);
}

const BODY_BYTES: u32 = 64 << 10;

fn decide_in_slices(span_bytes: u32, changed: impl Fn(Table) -> Table) {
    let mut fixture = Fixture::new(&settings(), 256 << 20);
    fixture.table = changed(fixture.table);
    // At low traffic all traces are followed, so the spans of each are read. About a dozen fall into each shard.
    for n in 0..800u32 {
        let mut trace = id(1, false);
        trace.0[..4].copy_from_slice(&n.to_be_bytes());
        let mut scan = Scan::default();
        scan.facts.push(SpanFact { span: ByteRange { offset: 0, len: span_bytes }, ..span(trace) });
        scan.scopes.push(Scope::default());
        let body = Bytes::from(vec![0x0a; BODY_BYTES as usize]);
        fixture.table.insert(body, &scan, fixture.budget.share(), 0, &mut fixture.out);
    }
    fixture.table.compress(0);
    while fixture.table.compress(WAIT_MS / 2) {}
    for shard in 0..SHARDS {
        loop {
            let before = fixture.table.held().pending_spans;
            let is_more = fixture.table.sweep(shard, WAIT_MS, &mut fixture.out);
            let read_bytes = (before - fixture.table.held().pending_spans) * u64::from(BODY_BYTES);
            assert!(read_bytes <= SLICE_BYTES, "{read_bytes}");
            if !is_more {
                break;
            }
        }
    }
    assert_eq!(fixture.table.held().pending_spans, 0);
}
