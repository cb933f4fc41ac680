//! A replay decides as the daemon does. The same requests go to a trace table in the way in which the receiver and the
//! sweeper of the daemon use it, and to a replay with an inspector. Policies, traces and times are generated.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use prost::Message;

use super::inspect::{InspectedTrace, Inspector, PolicyFinding, trace_of};
use super::sink_spans::SinkEncoder;
use super::*;
use crate::budget::Budget;
use crate::condition::Condition;
use crate::config::Settings;
use crate::otlp::TraceId;
use crate::otlp::reference::{AnyValue, Event, KeyValue, Request, ResourceSpans, ScopeSpans, Span, Status, Value};
use crate::otlp::scan::{Scan, scan};
use crate::sampling::settings::{Policy, Rule, TokenBucket};
use crate::sampling::{Keep, Policies, PolicyParts, Verdict, reference};
use crate::tail::kept::KeptSpans;
use crate::tail::settings::TailSampling;
use crate::tail::table::{RoundOutcome, SWEEP_MS};
use crate::tail::{Decision, Table, Tally};

/// The number of generated policy sets, each with [`TRACES`] traces: 10,000 traces.
const SETS: u64 = 1_000;
const TRACES: u64 = 10;
const START_S: u64 = 1_700_000_000;
const START: u64 = START_S * 1_000_000_000;
/// The ends of policies, in seconds, with the start at 10: none, in the past, at the start, within the traces, and after
/// them. Most policies have none.
const END_S: [Option<u64>; 12] =
    [None, None, None, None, None, None, Some(0), Some(10), Some(11), Some(12), Some(13), Some(1_000)];
const MS: u64 = 1_000_000;

/// For each trace, the verdicts with which its spans left and their numbers.
type Kept = HashMap<TraceId, Vec<(Keep, u32)>>;

fn attribute(rng: &mut Rng) -> KeyValue {
    let value = match rng.u8(..4) {
        0 => Value::Int(rng.i64(0..4) * 200),
        1 => Value::Bool(rng.bool()),
        2 => Value::Double(f64::from(rng.u8(..3)) / 2.0),
        _ => Value::String(vec![b'a' + rng.u8(..3)]),
    };
    let key = [&b"http.response.status_code"[..], b"app.a", b"app.b"][rng.usize(..3)].to_vec();
    KeyValue { key, value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn span(rng: &mut Rng, trace: u64, number: u64, seed: u64) -> Span {
    let attributes = |rng: &mut Rng| (0..rng.usize(..3)).map(|_| attribute(rng)).collect::<Vec<_>>();
    let start = START + rng.u64(..1_500) * MS;
    let event = Event { time_unix_nano: start, name: b"e".to_vec(), attributes: attributes(rng), ..Event::default() };
    let id = Rng::with_seed(seed << 8 | trace).u128(1..);
    Span {
        trace_id: id.to_be_bytes().to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        parent_span_id: if number == 0 { Vec::new() } else { 1u64.to_be_bytes().to_vec() },
        name: vec![b'a' + rng.u8(..3)],
        kind: rng.i32(..6),
        start_time_unix_nano: if rng.u8(..20) == 0 { 0 } else { start },
        end_time_unix_nano: start + rng.u64(..700) * MS,
        attributes: attributes(rng),
        events: if rng.bool() { vec![event] } else { Vec::new() },
        status: (rng.u8(..8) == 0).then(|| Status { code: 2, ..Status::default() }),
        ..Span::default()
    }
}

/// Returns requests of single traces at times that are multiples of the sweeper's interval. No two traces become due in
/// one sweep, so that policies with memory are asked in one order.
fn requests(rng: &mut Rng, seed: u64) -> Vec<(u64, Request)> {
    let mut requests = Vec::new();
    for trace in 0..TRACES {
        let mut number = 0;
        for arrival_ms in [0, 400, 1_400, 2_600].into_iter().take(rng.usize(1..5)) {
            let spans: Vec<Span> = (0..rng.u64(1..4))
                .map(|_| {
                    number += 1;
                    span(rng, trace, number - 1, seed)
                })
                .collect();
            let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
            let group = ResourceSpans { scope_spans, ..ResourceSpans::default() };
            requests.push((trace * 2 * SWEEP_MS + arrival_ms, Request { resource_spans: vec![group] }));
        }
    }
    requests.sort_by_key(|(at_ms, _)| *at_ms);
    requests
}

fn rule(rng: &mut Rng, conditions: &[Condition], depth: u8) -> Rule {
    let parts = |rng: &mut Rng| {
        let part = |rng: &mut Rng| Policy::new("", rule(rng, conditions, depth - 1));
        (0..rng.usize(1..4)).map(|_| part(rng)).collect::<Vec<_>>()
    };
    match rng.u8(..if depth == 0 { 8 } else { 11 }) {
        0..3 => Rule::AnySpan(conditions[rng.usize(..conditions.len())].clone()),
        3 => Rule::Latency { threshold_ms: rng.u64(1..1_500), upper_threshold_ms: [0, 0, 2_000][rng.usize(..3)] },
        4 => Rule::SpanCount { min_spans: rng.u32(1..6), max_spans: rng.bool().then(|| rng.u32(6..9)) },
        5 | 6 => Rule::Probabilistic { sampling_percentage: f64::from(rng.u8(..101)) },
        7 => Rule::RateLimiting(TokenBucket { per_second: rng.u64(1..20), burst: rng.u64(1..20) }),
        8 | 9 => Rule::And(parts(rng)),
        _ => Rule::Not(Box::new(Policy::new("", rule(rng, conditions, depth - 1)))),
    }
}

fn tail_sampling(rng: &mut Rng, requests: &[(u64, Request)], seed: u64) -> TailSampling {
    let all =
        Request { resource_spans: requests.iter().flat_map(|(_, request)| request.resource_spans.clone()).collect() };
    let conditions = reference::conditions(&all, seed, 8);
    let mut policies: Vec<Policy> =
        (0..rng.usize(1..6)).map(|number| Policy::new(&format!("p{number}"), rule(rng, &conditions, 2))).collect();
    if rng.u8(..4) == 0 {
        let part = Policy::new("", rule(rng, &conditions, 1));
        policies.insert(rng.usize(..=policies.len()), Policy::new("drop", Rule::Drop(vec![part])));
    }
    let mut shadow = Vec::new();
    if rng.u8(..3) == 0 {
        shadow.push(Policy::new("shadow", rule(rng, &conditions, 1)));
        let part = Policy::new("", rule(rng, &conditions, 1));
        shadow.push(Policy::new("shadow drop", Rule::Drop(vec![part])));
    }
    for policy in policies.iter_mut().chain(&mut shadow) {
        policy.until = END_S[rng.usize(..END_S.len())].map(|after_s| START_S - 10 + after_s);
    }
    let ms = Duration::from_millis;
    let mut settings = TailSampling {
        decision_wait: ms(1_000),
        decision_wait_after_root_received: ms([0, 0, 500][rng.usize(..3)]),
        sample_on_first_match: rng.u8(..4) == 0,
        policies,
        ..TailSampling::default()
    };
    settings.shadow.policies = shadow;
    settings.dry_run = rng.u8(..8) == 0;
    settings.rescue.window = ms([0, 1_000, 3_000][rng.usize(..3)]);
    settings
}

/// The fates of the traces, and the effects of shadow policies.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    kept: Kept,
    shadowed: HashMap<(u16, &'static str), (u64, u64)>,
}

impl Outcome {
    fn note(&mut self, tally: &Tally) {
        for shadowed in &tally.shadowed {
            let (traces, spans) = self.shadowed.entry((shadowed.policy, shadowed.effect.as_str())).or_default();
            (*traces, *spans) = (*traces + shadowed.traces, *spans + shadowed.spans);
        }
    }
}

/// A table with the policies that are in force at its time, as the daemon has them.
struct DaemonTable<'s> {
    settings: &'s TailSampling,
    table: Table,
    in_force: TailSampling,
    policies: Arc<Policies>,
    out: RoundOutcome,
    outcome: Outcome,
    swept_ms: u64,
}

impl<'s> DaemonTable<'s> {
    fn start(settings: &'s TailSampling) -> Self {
        // The numbers of policies are those of the whole set, so that they can be compared.
        let all = Policies::compile_set(settings.policy_set(), None).unwrap();
        let in_force = settings.at(START_S);
        let policies = Arc::new(Policies::compile_set(in_force.policy_set(), Some(&all)).unwrap());
        let table = Table::new(&in_force, Arc::clone(&policies), Budget::new(64 << 20));
        let (out, outcome) = (RoundOutcome::default(), Outcome::default());
        DaemonTable { settings, table, in_force, policies, out, outcome, swept_ms: 0 }
    }

    /// Does what a reload does with policies whose time is over.
    fn expire(&mut self, now_ms: u64) {
        let counting = self.settings.at(START_S + now_ms / 1_000);
        if counting == self.in_force {
            return;
        }
        self.policies = Arc::new(Policies::compile_set(counting.policy_set(), Some(&self.policies)).unwrap());
        self.table.replace(&counting, Arc::clone(&self.policies));
        self.in_force = counting;
        let DaemonTable { table, policies, out, outcome, .. } = self;
        table.rescan(out, || now_ms, |out| settle(out, policies, now_ms, outcome));
    }

    fn settle(&mut self, now_ms: u64) {
        settle(&mut self.out, &self.policies, now_ms, &mut self.outcome);
    }

    fn sweep_to(&mut self, to_ms: u64) {
        while self.swept_ms + SWEEP_MS <= to_ms {
            self.swept_ms += SWEEP_MS;
            self.expire(self.swept_ms);
            for shard in 0..self.table.shard_count() {
                while self.table.sweep(shard, self.swept_ms, &mut self.out) {}
            }
            self.settle(self.swept_ms);
        }
    }

    fn receive(&mut self, at_ms: u64, body: &Bytes) {
        self.sweep_to(at_ms);
        let mut found = Scan::default();
        let share = self.table.admit(body.len(), at_ms, &mut self.out).unwrap();
        let body = scan(body.clone(), self.policies.probe(), &mut found).unwrap();
        self.table.insert_within(body, &found, share, None, at_ms, &mut self.out).unwrap();
        self.settle(at_ms);
    }
}

fn settle(out: &mut RoundOutcome, policies: &Policies, now_ms: u64, outcome: &mut Outcome) {
    let charged = out.kept.iter().filter(|kept| !kept.keep.is_dropped());
    policies.kept(charged.map(|kept| kept.fragment.span_count()).sum(), now_ms);
    for spans in out.kept.drain(..) {
        let left = (spans.keep, spans.fragment.span_count());
        outcome.kept.entry(trace_of(&spans).unwrap()).or_default().push(left);
    }
    outcome.note(&out.tally);
    out.tally.clear();
}

/// Plays the requests as the daemon does: the receiver's way into the table, and a sweep every 50 ms.
fn daemon(settings: &TailSampling, requests: &[(u64, Bytes)]) -> Outcome {
    let mut daemon = DaemonTable::start(settings);
    requests.iter().for_each(|(at_ms, body)| daemon.receive(*at_ms, body));
    daemon.sweep_to(10_000);
    assert_eq!(daemon.table.held(), Default::default());
    daemon.outcome
}

/// An inspector that also notes how spans left.
struct Both<'p> {
    inspector: Inspector<'p>,
    outcome: Outcome,
}

impl Observer for Both<'_> {
    fn begins(&mut self, unix_nano: u64) {
        self.inspector.begins(unix_nano);
    }

    fn in_force(&mut self, policies: &Arc<Policies>) {
        self.inspector.in_force(policies);
    }

    fn counted(&mut self, tally: &Tally, _: u64) {
        self.outcome.note(tally);
    }

    fn accepted(&mut self, body: &Bytes, scan: &Scan, now_ms: u64) {
        self.inspector.accepted(body, scan, now_ms);
    }

    fn decided(&mut self, decision: Decision) {
        self.inspector.decided(decision);
    }

    fn kept(&mut self, spans: KeptSpans, now_ms: u64) {
        let left = (spans.keep, spans.fragment.span_count());
        self.outcome.kept.entry(trace_of(&spans).unwrap()).or_default().push(left);
        self.inspector.kept(spans, now_ms);
    }
}

/// Checks that the answers of the policies explain the verdict, that a policy with one part has the answer of that part,
/// and that all policies in force have answered, and no others.
fn check_findings(findings: &[PolicyFinding], decision: &Decision, settings: &TailSampling, place: &str) {
    let holds = |policy: u16| findings.iter().find(|finding| finding.policy == policy).and_then(|it| it.answer.holds());
    let all: Vec<&Policy> = settings.policies.iter().chain(&settings.shadow.policies).collect();
    match decision.verdict {
        Verdict::Kept(keep) => assert_eq!(holds(keep.policy), Some(true), "{place}: {findings:?}"),
        Verdict::DroppedByPolicy(policy) => assert_eq!(holds(policy), Some(true), "{place}: {findings:?}"),
        Verdict::Dropped => {
            let is_drop = |policy: u16| matches!(all[usize::from(policy)].rule, Rule::Drop(_));
            let mut keeps = findings.iter().filter(|it| !it.is_shadow && !is_drop(it.policy));
            assert_eq!(keeps.find(|it| it.answer.holds() == Some(true)), None, "{place}");
        }
    }
    let second = START_S + decision.at_ms / 1_000;
    let counting: Vec<usize> = (0..all.len()).filter(|&number| all[number].counts_at(second)).collect();
    assert_eq!(findings.iter().map(|it| usize::from(it.policy)).collect::<Vec<_>>(), counting, "{place}");
    for finding in findings {
        assert_eq!(finding.is_shadow, usize::from(finding.policy) >= settings.policies.len(), "{place}");
        let rule = &all[usize::from(finding.policy)].rule;
        if let (Rule::AnySpan(_) | Rule::Latency { .. } | Rule::SpanCount { .. }, Some(answer)) =
            (rule, finding.answer.holds())
        {
            let any = finding.parts.iter().any(|part| part.holds == Some(true));
            assert_eq!(any, answer, "{place}: {finding:?}");
            let needs_span = matches!(rule, Rule::AnySpan(_)) && answer;
            assert!(!needs_span || !finding.spans().is_empty(), "{place}: {finding:?} has no evidence");
        }
    }
}

/// The numbers of generated traces and policy sets of each kind.
#[derive(Debug, Default)]
struct Kinds {
    kept: u32,
    dropped: u32,
    rescued: u32,
    /// Sets with a policy that has ended before the first span, that ends between the first and the last decision, and
    /// that ends afterwards.
    ended: u32,
    ending: u32,
    lasting: u32,
    shadow: u32,
    shadow_effects: u32,
    dry_run: u32,
}

impl Kinds {
    fn note_set(&mut self, settings: &TailSampling, outcome: &Outcome) {
        let all = settings.policies.iter().chain(&settings.shadow.policies);
        let ends: Vec<u64> = all.filter_map(|policy| policy.until).collect();
        let any = |range: std::ops::RangeInclusive<u64>| u32::from(ends.iter().any(|end| range.contains(end)));
        self.ended += any(0..=START_S);
        self.ending += any(START_S + 1..=START_S + 3);
        self.lasting += any(START_S + 4..=u64::MAX);
        self.shadow += u32::from(!settings.shadow.policies.is_empty());
        self.shadow_effects += u32::from(!outcome.shadowed.is_empty());
        self.dry_run += u32::from(settings.dry_run);
    }

    fn note_trace(&mut self, trace: &InspectedTrace) {
        self.kept += u32::from(trace.is_kept());
        self.dropped += u32::from(!trace.is_kept());
        self.rescued += u32::from(trace.decisions.len() > 1);
    }
}

/// Checks what an inspector tells of a trace whose spans `left` the daemon so.
fn check_trace(trace: &InspectedTrace, parts: &PolicyParts, left: &[(Keep, u32)], settings: &TailSampling, seed: u64) {
    let place = format!("seed {seed}, trace {}", trace.id);
    let decision = trace.last_decision().unwrap_or_else(|| panic!("{place} is not decided"));
    let count = |is_kept: bool| {
        left.iter().filter(|(keep, _)| keep.is_dropped() != is_kept).map(|(_, spans)| u64::from(*spans)).sum::<u64>()
    };
    assert_eq!((trace.is_kept(), trace.kept_spans), (count(true) > 0, count(true)), "{place}");
    assert_eq!(trace.written.len() as u64, count(true) + count(false), "{place}");
    check_findings(&trace.findings(parts), decision, settings, &place);
}

#[test]
fn what_is_explained_is_what_the_daemon_does() {
    let mut kinds = Kinds::default();
    for seed in 0..SETS {
        let mut rng = Rng::with_seed(seed);
        let generated = requests(&mut rng, seed);
        let settings = Settings { tail_sampling: tail_sampling(&mut rng, &generated, seed), ..Settings::default() };
        let tail_sampling = &settings.tail_sampling;
        let Ok(policies) = Policies::compile_set(tail_sampling.policy_set(), None).map(Arc::new) else { continue };
        let bodies: Vec<(u64, Bytes)> =
            generated.into_iter().map(|(at_ms, request)| (at_ms, request.encode_to_vec().into())).collect();
        let daemon = daemon(tail_sampling, &bodies);

        let parts = PolicyParts::compile(tail_sampling.policy_set(), &policies).unwrap();
        let encoder = SinkEncoder::new(&settings, &policies);
        let inspector = Inspector::new(&policies, &parts, encoder, 64 << 20);
        let mut both = Both { inspector, outcome: Outcome::default() };
        let replay = ReplaySettings { limit_bytes: 64 << 20, sweep_ms: 0, seed, with_answers: true };
        let timed =
            bodies.iter().map(|(at_ms, body)| TimedRequest { unix_nano: START + at_ms * MS, body: body.clone() });
        Replay::new(tail_sampling, Arc::clone(&policies), replay)
            .run(timed, &mut both, |_, refusal| panic!("{refusal}"));
        assert_eq!(both.outcome, daemon, "seed {seed}: {tail_sampling:#?}");

        kinds.note_set(tail_sampling, &daemon);
        for trace in both.inspector.into_traces().0 {
            let left = daemon.kept.get(&trace.id).map_or(&[][..], Vec::as_slice);
            check_trace(&trace, &parts, left, tail_sampling, seed);
            kinds.note_trace(&trace);
        }
    }
    // The generator makes some of each kind.
    let Kinds { kept, dropped, rescued, ended, ending, lasting, shadow, shadow_effects, dry_run } = kinds;
    assert!(kept > 1_000 && dropped > 1_000 && rescued > 50, "{kinds:?}");
    assert!(ended > 200 && ending > 200 && lasting > 50, "{kinds:?}");
    assert!(shadow > 200 && shadow_effects > 100 && dry_run > 50, "{kinds:?}");
}
