//! Replays of small traces. The decisions and their times do not depend on the steps in which time passes.

use prost::Message;

use super::*;
use crate::config;
use crate::otlp::TraceId;
use crate::otlp::reference::{Request, ResourceSpans, ScopeSpans, Span, Status};
use crate::sampling::{Answer, Keep, Threshold, Verdict};
use crate::tail::Trigger;

const START: u64 = 1_700_000_000_000_000_000;

/// The observations of a replay: decisions, and the number of kept spans with the time at which they left.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    decisions: Vec<Decision>,
    kept: Vec<(u64, u32, Keep)>,
    sampled_out: u64,
}

impl Observer for Seen {
    fn decided(&mut self, decision: Decision) {
        self.decisions.push(decision);
    }

    fn kept(&mut self, spans: KeptSpans, now_ms: Millis) {
        self.kept.push((now_ms, spans.fragment.span_count(), spans.keep));
    }

    fn counted(&mut self, tally: &Tally, _: Millis) {
        self.sampled_out += tally.sampled_out_spans;
    }
}

/// A trace id that a ratio of `percent` just keeps.
fn id(number: u8, percent: f64) -> TraceId {
    let mut id = [number; 16];
    id[8..].copy_from_slice(&Threshold::from_percent(percent).get().to_be_bytes());
    TraceId(id)
}

fn request(at_ms: u64, spans: &[(TraceId, bool)]) -> TimedRequest {
    let span = |&(id, error): &(TraceId, bool)| Span {
        trace_id: id.0.to_vec(),
        span_id: vec![1; 8],
        parent_span_id: vec![2; 8],
        start_time_unix_nano: START,
        end_time_unix_nano: START + 20_000_000,
        status: error.then(|| Status { code: 2, ..Status::default() }),
        ..Span::default()
    };
    let scope_spans = ScopeSpans { spans: spans.iter().map(span).collect(), ..ScopeSpans::default() };
    let resource_spans = ResourceSpans { scope_spans: vec![scope_spans], ..ResourceSpans::default() };
    let body = Request { resource_spans: vec![resource_spans] }.encode_to_vec();
    TimedRequest { unix_nano: START + at_ms * NANOS_PER_MS, body: body.into() }
}

fn replay(yaml: &str, sweep_ms: u64) -> Replay {
    let settings = config::load(yaml, &|_| None).unwrap().settings.tail_sampling;
    let policies = Policies::compile(&settings.policies, settings.sample_on_first_match).unwrap();
    let replay = ReplaySettings { limit_bytes: 64 << 20, sweep_ms, seed: 1, with_answers: true };
    Replay::new(&settings, policies.into(), replay)
}

fn seen(yaml: &str, sweep_ms: u64, requests: Vec<TimedRequest>) -> Seen {
    let mut seen = Seen::default();
    replay(yaml, sweep_ms).run(requests.into_iter(), &mut seen, |_, refusal| panic!("{refusal}"));
    seen
}

#[test]
fn a_late_error_rescues_a_dropped_trace() {
    let late = id(1, 90.0);
    let seen = seen("", 0, vec![request(0, &[(late, false)]), request(14_000, &[(late, true)])]);
    let told: Vec<_> = seen.decisions.iter().map(|decision| (decision.at_ms, decision.trigger)).collect();
    assert_eq!(told, [(10_000, Trigger::DecisionWait), (14_000, Trigger::Rescue)]);
    assert_eq!(seen.decisions[0].verdict, Verdict::Dropped);
    let refused = [(0, Answer::KeepsNot), (1, Answer::KeepsNot), (2, Answer::KeepsNot)];
    assert_eq!(seen.decisions[0].answers, refused);
    let keep = Keep { rescued: true, ..Keep::new(0, Threshold::ALWAYS) };
    assert_eq!(seen.decisions[1].verdict, Verdict::Kept(keep));
    assert_eq!((seen.kept, seen.sampled_out), (vec![(14_000, 1, keep), (14_000, 1, keep)], 0));
}

#[test]
fn what_is_due_is_decided_before_the_requests_of_that_time() {
    let [first, second] = [id(1, 1.0), id(2, 90.0)];
    let requests = [request(0, &[(first, false)]), request(10_000, &[(first, false), (second, false)])];
    let seen = seen("tail_sampling: {rescue: {window: 0s}}", 0, requests.to_vec());
    let told: Vec<_> = seen.decisions.iter().map(|decision| (decision.at_ms, decision.trace)).collect();
    assert_eq!(told, [(10_000, first), (20_000, second)]);
    let times: Vec<_> = seen.kept.iter().map(|(at_ms, spans, _)| (*at_ms, *spans)).collect();
    assert_eq!((times, seen.sampled_out), (vec![(10_000, 1), (10_000, 1)], 1), "the late span follows the verdict");
}

#[test]
fn searches_for_due_traces_have_a_shortest_interval() {
    let requests = (0..50).map(|n| request(n, &[(id(n as u8 + 1, 1.0), false)]));
    let seen = seen("tail_sampling: {decision_wait: 1s}", 20, requests.collect());
    let mut times: Vec<_> = seen.decisions.iter().map(|decision| decision.at_ms).collect();
    assert_eq!(times.len(), 50);
    times.dedup();
    assert_eq!(times, [1_000, 1_020, 1_040, 1_060]);
}

#[test]
fn a_refused_request_leaves_nothing_and_the_next_one_is_taken() {
    let mut replay = replay("", 0);
    let bad = TimedRequest { unix_nano: START, body: b"\xff".to_vec().into() };
    assert!(matches!(replay.take(bad, &mut ()), Err(Refusal::Wire(_))));
    let large = TimedRequest { unix_nano: START, body: vec![0; 65 << 20].into() };
    assert!(matches!(replay.take(large, &mut ()), Err(Refusal::NoRoom(NoRoom::Ever { .. }))));
    assert_eq!(replay.take(request(0, &[(id(1, 1.0), true)]), &mut ()), Ok(1));
    replay.finish(&mut ());
    assert_eq!(replay.table().held(), Default::default());
}

#[test]
fn a_request_from_before_arrives_with_the_one_before_it() {
    let mut replay = replay("", 0);
    replay.take(request(5_000, &[(id(1, 1.0), false)]), &mut ()).unwrap();
    replay.take(request(8_000, &[(id(2, 1.0), false)]), &mut ()).unwrap();
    replay.take(request(0, &[(id(3, 1.0), false)]), &mut ()).unwrap();
    assert_eq!(replay.now_ms(), 3_000);
}

#[test]
fn a_policy_that_remembers_other_traces_is_not_asked_again() {
    let policies = "tail_sampling:\n  policies:\n    - {name: limited, type: rate_limiting, rate_limiting: {spans_per_second: 1}}\n    \
                    - {name: never, type: and, and: {and_sub_policy: [{type: error}, {type: rare}]}}\n    \
                    - {name: probes, type: drop, drop: {drop_sub_policy: [{type: error}]}}\n";
    // The bucket holds two tokens.
    let traces = [id(1, 1.0), id(2, 1.0), id(3, 1.0)];
    let seen = seen(policies, 0, traces.iter().map(|&id| request(0, &[(id, false)])).collect());
    let answers: Vec<_> = seen.decisions.iter().map(|decision| decision.answers.clone()).collect();
    let spared = (2, Answer::DropsNot(Threshold::ALWAYS));
    let answer = |limited| vec![spared, (0, limited), (1, Answer::KeepsNot)];
    let keeps = answer(Answer::Keeps(Threshold::ALWAYS));
    assert_eq!(answers, [keeps.clone(), keeps, answer(Answer::KeepsNot)]);
    let replay = replay(policies, 0);
    for decision in &seen.decisions {
        let expected = [(0, Answer::NotAsked), (1, Answer::KeepsNot), spared];
        assert_eq!(replay.policies().answers(&decision.summary, decision.trace), expected);
    }
}

#[test]
fn a_policy_stops_counting_at_its_end() {
    let end_ms = 20_000;
    let end = crate::sampling::settings::display_unix_seconds((START / NANOS_PER_S) + end_ms / 1_000);
    let yaml = format!(
        "tail_sampling:\n  policies:\n    - {{name: all, type: span_count, span_count: {{min_spans: 1, max_spans: 9}}, until: \"{end}\"}}\n    \
         - {{name: errors, type: error}}\n"
    );
    let [before, pending, after] = [id(1, 1.0), id(2, 1.0), id(3, 1.0)];
    let requests =
        [request(0, &[(before, false)]), request(15_000, &[(pending, false)]), request(end_ms, &[(after, true)])];
    let seen = seen(&yaml, 0, requests.to_vec());
    let policy = |verdict| match verdict {
        Verdict::Kept(keep) => Some(keep.policy),
        Verdict::Dropped | Verdict::DroppedByPolicy(_) => None,
    };
    let told: Vec<_> =
        seen.decisions.iter().map(|decision| (decision.at_ms, decision.trace, policy(decision.verdict))).collect();
    let expected = [(10_000, before, Some(0)), (end_ms, after, Some(1)), (25_000, pending, None)];
    assert_eq!(told, expected, "a pending trace is decided without the policy; numbers stay");
}

#[test]
fn the_end_of_time_is_reached() {
    let yaml = "tail_sampling: {policies: [{name: all, type: always_sample, until: 9999-12-31T00:00:00Z}, {name: e, type: error}]}";
    let mut replay = replay(yaml, 0);
    replay.take(request(0, &[(id(1, 1.0), false)]), &mut ()).unwrap();
    let last = TimedRequest { unix_nano: u64::MAX, ..request(0, &[(id(2, 1.0), false)]) };
    replay.take(last, &mut ()).unwrap();
    replay.finish(&mut ());
    assert_eq!(replay.table().held(), Default::default());
}
