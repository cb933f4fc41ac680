//! A replay decides as the daemon does. The same requests go to a trace table in the way in which the receiver and the
//! sweeper of the daemon use it, and to a replay with an inspector. Policies, traces and times are generated.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use prost::Message;

use super::inspect::{Inspector, PolicyFinding, trace_of};
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
use crate::tail::table::RoundOutcome;
use crate::tail::{Decision, Table};

/// The number of generated policy sets, each with [`TRACES`] traces: 10,000 traces.
const SETS: u64 = 1_000;
const TRACES: u64 = 10;
const START: u64 = 1_700_000_000_000_000_000;
const SWEEP_MS: u64 = 20;
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
    let ms = Duration::from_millis;
    let mut settings = TailSampling {
        decision_wait: ms(1_000),
        decision_wait_after_root_received: ms([0, 0, 500][rng.usize(..3)]),
        sample_on_first_match: rng.u8(..4) == 0,
        policies,
        ..TailSampling::default()
    };
    settings.rescue.window = ms([0, 1_000, 3_000][rng.usize(..3)]);
    settings
}

/// Plays the requests as the daemon does: the receiver's way into the table, and a sweep every 20 ms.
fn daemon(settings: &TailSampling, requests: &[(u64, Bytes)]) -> Kept {
    let policies = Arc::new(Policies::compile(&settings.policies, settings.sample_on_first_match).unwrap());
    let table = Table::new(settings, Arc::clone(&policies), Budget::new(64 << 20));
    let (mut out, mut found, mut kept) = (RoundOutcome::default(), Scan::default(), Kept::new());
    let mut settle = |out: &mut RoundOutcome, now_ms| {
        let spans: u32 = out.kept.iter().map(|kept| kept.fragment.span_count()).sum();
        policies.kept(spans, now_ms);
        for spans in out.kept.drain(..) {
            kept.entry(trace_of(&spans).unwrap()).or_default().push((spans.keep, spans.fragment.span_count()));
        }
    };
    let mut swept_ms = 0;
    let mut sweep_to = |to_ms: u64, out: &mut RoundOutcome, settle: &mut dyn FnMut(&mut RoundOutcome, u64)| {
        while swept_ms + SWEEP_MS <= to_ms {
            swept_ms += SWEEP_MS;
            for shard in 0..table.shard_count() {
                while table.sweep(shard, swept_ms, out) {}
            }
            settle(out, swept_ms);
        }
    };
    for (at_ms, body) in requests {
        sweep_to(*at_ms, &mut out, &mut settle);
        let share = table.admit(body.len(), *at_ms, &mut out).unwrap();
        let body = scan(body.clone(), policies.probe(), &mut found).unwrap();
        table.insert_within(body, &found, share, None, *at_ms, &mut out).unwrap();
        settle(&mut out, *at_ms);
    }
    sweep_to(10_000, &mut out, &mut settle);
    assert_eq!(table.held(), Default::default());
    kept
}

/// An inspector that also notes how spans left.
struct Both<'p> {
    inspector: Inspector<'p>,
    kept: Kept,
}

impl Observer for Both<'_> {
    fn accepted(&mut self, body: &Bytes, scan: &Scan, now_ms: u64) {
        self.inspector.accepted(body, scan, now_ms);
    }

    fn decided(&mut self, decision: Decision) {
        self.inspector.decided(decision);
    }

    fn kept(&mut self, spans: KeptSpans, now_ms: u64) {
        let left = (spans.keep, spans.fragment.span_count());
        self.kept.entry(trace_of(&spans).unwrap()).or_default().push(left);
        self.inspector.kept(spans, now_ms);
    }
}

/// Checks that the answers of the policies explain the verdict, and that a policy with one part has the answer of that
/// part.
fn check_findings(findings: &[PolicyFinding], verdict: Verdict, settings: &TailSampling, place: &str) {
    let holds = |policy: u16| findings.iter().find(|finding| finding.policy == policy).and_then(|it| it.answer.holds());
    match verdict {
        Verdict::Kept(keep) => assert_eq!(holds(keep.policy), Some(true), "{place}: {findings:?}"),
        Verdict::DroppedByPolicy(policy) => assert_eq!(holds(policy), Some(true), "{place}: {findings:?}"),
        Verdict::Dropped => {
            let is_drop = |policy: u16| matches!(settings.policies[usize::from(policy)].rule, Rule::Drop(_));
            let keeps = findings.iter().find(|it| it.answer.holds() == Some(true) && !is_drop(it.policy));
            assert_eq!(keeps, None, "{place}");
        }
    }
    for finding in findings {
        let rule = &settings.policies[usize::from(finding.policy)].rule;
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

#[test]
fn what_is_explained_is_what_the_daemon_does() {
    let (mut kept_traces, mut dropped_traces, mut rescued) = (0, 0, 0);
    for seed in 0..SETS {
        let mut rng = Rng::with_seed(seed);
        let generated = requests(&mut rng, seed);
        let settings = Settings { tail_sampling: tail_sampling(&mut rng, &generated, seed), ..Settings::default() };
        let tail_sampling = &settings.tail_sampling;
        let Ok(policies) = Policies::compile(&tail_sampling.policies, tail_sampling.sample_on_first_match) else {
            continue;
        };
        let bodies: Vec<(u64, Bytes)> =
            generated.into_iter().map(|(at_ms, request)| (at_ms, request.encode_to_vec().into())).collect();
        let daemon = daemon(tail_sampling, &bodies);

        let parts = PolicyParts::compile(&tail_sampling.policies).unwrap();
        let encoder = SinkEncoder::new(&settings, &policies);
        let mut both = Both { inspector: Inspector::new(&parts, encoder, 64 << 20), kept: Kept::new() };
        let policies = Arc::new(policies);
        let replay = ReplaySettings { limit_bytes: 64 << 20, sweep_ms: 0, seed, with_answers: true };
        let timed =
            bodies.iter().map(|(at_ms, body)| TimedRequest { unix_nano: START + at_ms * MS, body: body.clone() });
        Replay::new(tail_sampling, Arc::clone(&policies), replay)
            .run(timed, &mut both, |_, refusal| panic!("{refusal}"));
        assert_eq!(both.kept, daemon, "seed {seed}: {tail_sampling:#?}");

        for trace in both.inspector.into_traces().0 {
            let place = format!("seed {seed}, trace {}", trace.id);
            let decision = trace.last_decision().unwrap_or_else(|| panic!("{place} is not decided"));
            let left: u32 = daemon.get(&trace.id).map_or(0, |left| left.iter().map(|(_, spans)| spans).sum());
            assert_eq!((trace.is_kept(), trace.kept_spans), (left > 0, u64::from(left)), "{place}");
            check_findings(&trace.findings(&policies, &parts), decision.verdict, tail_sampling, &place);
            kept_traces += u32::from(left > 0);
            dropped_traces += u32::from(left == 0);
            rescued += u32::from(trace.decisions.len() > 1);
        }
    }
    // The generator makes some of each kind.
    assert!(kept_traces > 1_000 && dropped_traces > 1_000 && rescued > 50, "{kept_traces} {dropped_traces} {rescued}");
}
