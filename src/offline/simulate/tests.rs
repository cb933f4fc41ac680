//! Small simulations, and a large one that is compared with single replays.

use std::collections::HashSet;

use bytes::Bytes;
use fastrand::Rng;
use prost::Message;

use super::*;
use crate::config::{self, Settings};
use crate::offline::Observer;
use crate::otlp::reference::{AnyValue, KeyValue, Request, Resource, ResourceSpans, ScopeSpans, Span, Status, Value};
use crate::sampling::Verdict;
use crate::tail::Decision;

const START: u64 = 1_700_000_000_000_000_000;
const MS: u64 = 1_000_000;

fn settings(yaml: &str) -> Settings {
    config::load(yaml, &|_| None).unwrap_or_else(|problems| panic!("{problems}")).settings
}

fn side(settings: &Settings, limit_bytes: usize) -> SideSettings<'_> {
    let tail_sampling = &settings.tail_sampling;
    let policies = Arc::new(Policies::compile_set(tail_sampling.policy_set(), None).unwrap());
    SideSettings { tail_sampling, policies, limit_bytes }
}

fn id(number: u64) -> TraceId {
    TraceId(Rng::with_seed(number).u128(1..).to_be_bytes())
}

/// Returns a request with one span of each service.
fn request(at_ms: u64, trace: u64, services: &[&str], error: bool) -> TimedRequest {
    let group = |(number, service): (usize, &&str)| {
        let value = Some(AnyValue { value: Some(Value::String(service.as_bytes().to_vec())) });
        let name = KeyValue { key: b"service.name".to_vec(), value, ..KeyValue::default() };
        let span = Span {
            trace_id: id(trace).0.to_vec(),
            span_id: (number as u64 + at_ms * 10 + 1).to_be_bytes().to_vec(),
            start_time_unix_nano: START,
            end_time_unix_nano: START + 20 * MS,
            status: error.then(|| Status { code: 2, ..Status::default() }),
            ..Span::default()
        };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        let resource = Some(Resource { attributes: vec![name], ..Resource::default() });
        ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }
    };
    let body = Request { resource_spans: services.iter().enumerate().map(group).collect() }.encode_to_vec();
    TimedRequest { unix_nano: START + at_ms * MS, body: body.into() }
}

const ERRORS: &str = "tail_sampling: {decision_wait: 1s, policies: [{name: errors, type: error}]}";
const HALF: &str = "tail_sampling: {decision_wait: 2s, policies: [{name: half, type: probabilistic, probabilistic: {sampling_percentage: 50}}]}";
const ALL: &str = "tail_sampling: {decision_wait: 2s, policies: [{name: all, type: always_sample}]}";

#[test]
fn what_is_kept_is_counted_by_policy_and_by_service() {
    let settings = settings(ERRORS);
    let mut simulation = Simulation::new(&side(&settings, 64 << 20), None, 3);
    let mut kept = Vec::new();
    let mut note = |side, trace, policy| kept.push((side, trace, policy));
    for request in [
        request(0, 1, &["web", "cart"], false),
        request(100, 2, &["web"], true),
        // The first trace is rescued, and its services count once.
        request(2_000, 1, &["web", "pay"], true),
        request(2_100, 3, &[""], false),
    ] {
        simulation.take(request, &mut note).unwrap();
    }
    let broken = TimedRequest { unix_nano: START + 2_200 * MS, body: Bytes::from_static(b"\x0a\x09") };
    assert!(simulation.take(broken, &mut note).is_err());
    simulation.finish(&mut note);
    assert_eq!(kept, [(Side::First, id(2), 0), (Side::First, id(1), 0)]);
    assert_eq!((simulation.requests(), simulation.nanos(), simulation.difference().is_none()), (5, 2_200 * MS, true));
    let totals = simulation.sides()[0].totals();
    assert_eq!((totals.traces(), totals.kept_traces(), totals.rescued_traces()), (3, 2, 1));
    assert_eq!((totals.spans(), totals.kept_spans()), (6, 5));
    let policy = &totals.policies()[0];
    assert_eq!((policy.name.as_str(), policy.kept_traces, policy.kept_spans), ("errors", 2, 5));
    assert_eq!((policy.kept_bytes, totals.kept_bytes() < totals.bytes()), (totals.kept_bytes(), true));
    let services: Vec<_> = totals
        .services()
        .iter()
        .map(|row| (String::from_utf8(row.name.clone().unwrap()).unwrap(), row.spans, row.kept_traces, row.kept_spans))
        .collect();
    let row = |name: &str, spans, traces, kept| (name.to_owned(), spans, traces, kept);
    assert_eq!(services, [row("web", 3, 2, 3), row("cart", 1, 1, 1), row("pay", 1, 1, 1), row("", 1, 0, 0)]);
}

#[test]
fn a_dry_run_writes_every_span_and_shadow_policies_decide_nothing() {
    let policies = "{name: slow, type: latency, latency: {threshold_ms: 9000}, until: 2023-11-14T22:13:20Z}, \
                    {name: errors, type: error}, {name: all, type: always_sample, shadow: true}, \
                    {name: none, type: drop, drop: {drop_sub_policy: [{name: x, type: always_sample}]}, shadow: true}";
    let play = |dry_run: bool| {
        let yaml = format!("tail_sampling: {{decision_wait: 1s, dry_run: {dry_run}, policies: [{policies}]}}");
        let settings = settings(&yaml);
        let mut simulation = Simulation::new(&side(&settings, 64 << 20), None, 0);
        for number in 0..10 {
            let request = request(number * 100, number, &["web", "cart"], number < 4);
            simulation.take(request, &mut |_, _, _| ()).unwrap();
        }
        simulation.finish(&mut |_, _, _| ());
        let totals = simulation.sides()[0].totals();
        let rows: Vec<_> =
            totals.policies().iter().map(|row| (row.name.clone(), row.kept_traces, row.shadow, row.until)).collect();
        assert_eq!((totals.kept_traces(), totals.kept_spans()), (4, 8));
        let shares = (totals.written_spans(), totals.written_bytes() * 8 / totals.kept_bytes());
        (rows, shares, totals.written_bytes() == totals.kept_bytes())
    };
    let (rows, written, is_kept) = play(false);
    let more = ShadowTotals { more_traces: 6, more_spans: 12, ..ShadowTotals::default() };
    let fewer = ShadowTotals { fewer_traces: 4, fewer_spans: 8, ..ShadowTotals::default() };
    let row = |name: &str, kept, shadow, until| (name.to_owned(), kept, shadow, until);
    let expected = [
        row("slow", 0, None, Some(START / 1_000_000_000)),
        row("errors", 4, None, None),
        row("all", 0, Some(more), None),
        row("none", 0, Some(fewer), None),
    ];
    assert_eq!((rows.as_slice(), written, is_kept), (&expected[..], (8, 8), true));
    let (dry_rows, written, is_kept) = play(true);
    assert_eq!((dry_rows, written.0, is_kept), (rows, 20, false));
    assert!((18..=20).contains(&written.1), "{written:?}");
}

#[test]
fn services_beyond_a_thousand_share_a_row() {
    let settings = settings(ALL);
    let mut simulation = Simulation::new(&side(&settings, 64 << 20), None, 0);
    for number in 0..1_200 {
        simulation.take(request(0, number, &[&number.to_string()], false), &mut |_, _, _| ()).unwrap();
    }
    simulation.finish(&mut |_, _, _| ());
    let services = simulation.sides()[0].totals().services();
    assert_eq!(services.len(), 1_001);
    assert_eq!((&services[0].name, services[0].spans, services[0].kept_spans), (&None, 200, 200));
}

#[test]
fn a_difference_has_what_only_one_side_keeps() {
    let (first, second) = (settings(ERRORS), settings(ALL));
    let mut simulation = Simulation::new(&side(&first, 64 << 20), Some(&side(&second, 64 << 20)), 2);
    for number in 0..10 {
        simulation.take(request(number * 100, number, &["web"], number < 4), &mut |_, _, _| ()).unwrap();
    }
    simulation.finish(&mut |_, _, _| ());
    let difference = simulation.difference().unwrap();
    assert_eq!((difference.both(), difference.only(Side::First), difference.only(Side::Second)), (4, 0, 6));
    assert_eq!(difference.examples(Side::Second), [id(4), id(5)]);
    let kept = simulation.sides().iter().map(|side| side.totals().kept_traces()).collect::<Vec<_>>();
    assert_eq!(kept, [4, 10]);
}

#[test]
fn a_difference_holds_only_what_is_not_settled() {
    let (first, second) = (settings(ERRORS), settings(ALL));
    let mut difference = Difference::new([&first.tail_sampling, &second.tail_sampling], 1);
    let patience = 2 * 2_000 + first.tail_sampling.rescue.window.as_millis() as u64 + 1_000;
    for number in 0..10_000 {
        difference.kept(Side::First, id(number), number * 1_000);
        difference.advance(number * 1_000);
        assert!(difference.held() <= patience / 1_000 + 2, "{number}: {}", difference.held());
    }
    difference.kept(Side::Second, id(9_999), 9_999_000);
    difference.kept(Side::First, id(9_998), 9_999_500);
    difference.finish();
    assert_eq!((difference.both(), difference.only(Side::First), difference.only(Side::Second)), (1, 9_999, 0));
    assert!(difference.examples_ms() >= patience, "no verdict on the example changes after this");
}

#[test]
fn the_peak_is_that_of_undecided_traces_and_memory_that_is_short_shows() {
    let settings = settings(HALF);
    let play = |limit_bytes| {
        let mut simulation = Simulation::new(&side(&settings, limit_bytes), None, 0);
        for number in 0..2_000 {
            simulation.take(request(number, number, &["web", "cart", "pay"], false), &mut |_, _, _| ()).unwrap();
        }
        simulation.finish(&mut |_, _, _| ());
        let side = &simulation.sides()[0];
        (side.peak(), side.totals().early_traces() + side.refused_requests())
    };
    let (peak, short) = play(256 << 20);
    assert_eq!((peak.pending_traces, peak.pending_spans, short), (2_000, 6_000, 0));
    assert!(peak.pending_bytes > 6_000 * 60 && peak.pending_bytes < 6_000 * 1_000, "{peak:?}");
    let fixed_bytes = usize::try_from(peak.fixed_bytes).unwrap();
    assert!(play(fixed_bytes + (200 << 10)).1 > 0);
}

/// Kept traces of a replay.
#[derive(Default)]
struct Kept(HashSet<TraceId>);

impl Observer for Kept {
    fn decided(&mut self, decision: Decision) {
        if matches!(decision.verdict, Verdict::Kept(_)) {
            self.0.insert(decision.trace);
        }
    }
}

#[test]
fn two_sides_are_two_replays() {
    let first = settings(
        "tail_sampling: {decision_wait: 1s, rescue: {window: 2s}, policies: [{name: errors, type: error}, {name: some, type: probabilistic, probabilistic: {sampling_percentage: 30}}]}",
    );
    let second = settings(
        "tail_sampling: {decision_wait: 3s, policies: [{name: errors, type: error}, {name: few, type: rate_limiting, rate_limiting: {spans_per_second: 20}}]}",
    );
    let mut random = Rng::with_seed(7);
    let requests: Vec<TimedRequest> = (0..3_000)
        .map(|number| {
            request(
                number * 5,
                random.u64(..number / 3 + 1),
                &["web", "cart"][..random.usize(1..3)],
                random.u8(..30) == 0,
            )
        })
        .collect();
    let replayed = [&first, &second].map(|settings| {
        let side = side(settings, 64 << 20);
        let mut kept = Kept::default();
        Replay::new(side.tail_sampling, Arc::clone(&side.policies), side.replay()).run(
            requests.iter().cloned(),
            &mut kept,
            |_, refusal| panic!("{refusal}"),
        );
        kept.0
    });
    let mut simulated = [HashSet::new(), HashSet::new()];
    let mut simulation = Simulation::new(&side(&first, 64 << 20), Some(&side(&second, 64 << 20)), 3);
    let mut note = |side: Side, trace, _| _ = simulated[side as usize].insert(trace);
    requests.into_iter().for_each(|request| simulation.take(request, &mut note).unwrap());
    simulation.finish(&mut note);
    let difference = simulation.difference().unwrap();
    let [one, two] = &replayed;
    let counts = [one.intersection(two).count(), one.difference(two).count(), two.difference(one).count()];
    let found = [difference.both(), difference.only(Side::First), difference.only(Side::Second)];
    assert_eq!(found.map(|count| count as usize), counts);
    assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
    assert_eq!(simulated, replayed);
}
