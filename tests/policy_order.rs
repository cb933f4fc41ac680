//! Verdicts depend neither on the order in which spans arrive nor on their split into requests. This is tested with
//! every policy that does not remember other traces, through the scan and the trace table.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::prelude::*;

use crate::support::traces::{Fate, Fixture, between, error, id, span, string, with};

/// Every policy type that looks at one trace alone. Most of them are nested in other policies.
const POLICIES: &str = "
    - {name: half of errors, type: and, and: {and_sub_policy: [{type: error}, {type: probabilistic, probabilistic: {sampling_percentage: 50}}]}}
    - {name: small and fast, type: and, and: {and_sub_policy: [{type: span_count, span_count: {max_spans: 2}}, {type: not, not: {not_sub_policy: {type: latency, latency: {threshold_ms: 50}}}}, {type: trace_flags}]}}
    - {name: same span, type: and, and: {same_span: true, and_sub_policy: [{type: error}, {type: boolean_attribute, boolean_attribute: {key: keep, value: true}}]}}
    - {name: between, type: latency, latency: {threshold_ms: 20, upper_threshold_ms: 100}}
    - {name: number, type: numeric_attribute, numeric_attribute: {key: n, min_value: 5, max_value: 6.5}}
    - {name: root, type: latency, latency: {threshold_ms: 300, of: root, thresholds: [{route: work, threshold_ms: 60}]}}
    - {name: ottl, type: ottl_condition, ottl_condition: {span: ['attributes[\"n\"] > 8 and name == \"work\"']}}
    - {name: text, type: string_attribute, string_attribute: {key: s, values: ['^a'], enabled_regex_matching: true}}
    - {name: state, type: trace_state, trace_state: {key: vendor, values: [x]}}
    - {name: large, type: span_count, span_count: {min_spans: 6}}
    - {name: ratio, type: probabilistic, probabilistic: {sampling_percentage: 30}}
    - {name: never b, type: and, and: {and_sub_policy: [{type: string_attribute, string_attribute: {key: s, values: [b], invert_match: true}}, {type: span_count, span_count: {min_spans: 4}}]}}
";

const DROP: &str = "
    - {name: drop, type: drop, drop: {drop_sub_policy: [{type: string_attribute, string_attribute: {key: s, values: [c]}}, {type: not, not: {not_sub_policy: {type: boolean_attribute, boolean_attribute: {key: keep, value: true}}}}]}}
    - {name: drop most, type: drop, drop: {drop_sub_policy: [{type: trace_flags}, {type: probabilistic, probabilistic: {sampling_percentage: 80}}]}}
";

const EARLY: &str =
    "    - {name: errors, type: error}\n    - {name: slow, type: latency, latency: {threshold_ms: 50}}\n";

fn any_span() -> impl Strategy<Value = Span> {
    (1u32..6, 0u32..4, 0u8..14).prop_map(|(number, part, kind)| {
        let trace = id(number, f64::from(part) * 0.3);
        let plain = span(trace);
        match kind {
            0 => error(trace),
            1 => with(error(trace), "keep", Value::BoolValue(true)),
            2 => with(plain, "keep", Value::BoolValue(true)),
            3 => with(plain, "n", Value::IntValue(5)),
            4 => with(plain, "n", Value::DoubleValue(9.5)),
            5 => with(plain, "s", string("abc")),
            6 => with(plain, "s", string("b")),
            7 => with(plain, "s", string("c")),
            8 => Span { flags: 1, ..plain },
            9 => Span { trace_state: "vendor=x,ot=rv:aaaaaaaaaaaaaa".into(), ..plain },
            10 => between(plain, 0, 80),
            11 => between(plain, 60, 130),
            12 => Span { parent_span_id: Vec::new(), ..between(plain, 0, 70) },
            _ => plain,
        }
    })
}

fn fates(list: &str, first_match: bool, requests: &[&[Span]]) -> BTreeMap<u128, String> {
    let text = format!(
        "tail_sampling:\n  decision_wait: 10s\n  sample_on_first_match: {first_match}\n  policies:\n{list}\nmemory: {{limit: 256MiB}}\n"
    );
    let mut fixture = Fixture::new(&text);
    requests.iter().for_each(|spans| assert!(fixture.send(spans)));
    fixture.advance(10_000);
    let said = |fate: Fate| format!("{} {} {}", fate.policy, fate.adjusted_count, fate.spans);
    fixture.fates().into_iter().map(|(trace, fate)| (trace, said(fate))).collect()
}

proptest! {
    #[test]
    fn the_same_spans_have_the_same_fate(
        (spans, shuffled) in prop::collection::vec(any_span(), 1..24)
            .prop_flat_map(|spans| (Just(spans.clone()), Just(spans).prop_shuffle())),
        cuts in prop::collection::vec(1usize..5, 24),
    ) {
        let mut rest = &shuffled[..];
        let mut requests = Vec::new();
        for cut in cuts {
            let (head, tail) = rest.split_at(cut.min(rest.len()));
            requests.push(head);
            rest = tail;
        }
        let both = format!("{POLICIES}{DROP}");
        for (list, first_match) in [(POLICIES, false), (&both, false), (EARLY, false), (POLICIES, true), (EARLY, true)] {
            prop_assert_eq!(fates(list, first_match, &[&spans]), fates(list, first_match, &requests), "{}", list);
        }
    }
}

#[test]
fn late_evidence_sets_the_adjusted_count_to_1_for_either_verdict_of_the_ratio() {
    for window in ["10m", "0s"] {
        let policies = "[{name: errors, type: error}, \
            {name: ratio, type: probabilistic, probabilistic: {sampling_percentage: 10}}]";
        let text = format!("tail_sampling:\n  rescue: {{window: {window}}}\n  policies: {policies}\n");
        let mut fixture = Fixture::new(&text);
        let traces: Vec<u128> = (0..900).map(|n| id(n, (f64::from(n) + 0.5) / 900.0)).collect();
        let send_all = |fixture: &mut Fixture, span: fn(u128) -> Span| {
            traces.iter().for_each(|&trace| assert!(fixture.send(&[span(trace)])));
        };
        send_all(&mut fixture, span);
        fixture.advance(60_000);
        assert_eq!(fixture.kept_traces(), 90, "number of traces that the ratio keeps");
        send_all(&mut fixture, error);
        let sum: f64 = fixture.fates().iter().map(|(_, fate)| fate.adjusted_count).sum();
        assert_eq!(sum, 900.0, "rescue window {window}");
        fixture.kept.clear();
        send_all(&mut fixture, span);
        let counts: Vec<f64> = fixture.fates().iter().map(|(_, fate)| fate.adjusted_count).collect();
        let (certain, all) = (counts.iter().filter(|&&count| count == 1.0).count(), counts.len());
        assert_eq!(certain, all, "spans after the evidence have the same adjusted count");
        assert!(all > 850, "{all}: hardly any verdict of so few traces is forgotten");
    }
}
