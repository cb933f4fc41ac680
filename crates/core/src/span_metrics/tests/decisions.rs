//! Exemplars and the sums that show if the adjusted counts are right.

use super::*;

const POLICIES: &str = "
tail_sampling:
  decision_wait: 1s
  decision_wait_after_root_received: 1s
  rescue: {window: 0s}
  policies:
    - {name: health, type: drop, drop: {drop_sub_policy: [{name: h, type: string_attribute, string_attribute: {key: path, values: [/health]}}]}}
    - {name: errors, type: error}
";
const RATIO: &str = "    - {name: baseline, type: probabilistic, probabilistic: {sampling_percentage: 25}}\n";
const ON: &str = "span_metrics: {}\n";

/// Returns a trace id with this randomness, 0 to 1: a ratio keeps the high ones.
fn id(number: u64, randomness: f64) -> u128 {
    u128::from(number) << 64 | (randomness * (1_u64 << 56) as f64) as u128 | 1
}

#[test]
fn exemplars_are_spans_of_kept_traces_only() {
    let mut fixture = Fixture::whole(&format!("{POLICIES}{RATIO}{ON}"));
    for n in 1..=40_u64 {
        let name = format!("op {}", ["a", "b"][n as usize % 2]);
        let trace = span(id(n, n as f64 / 41.0), &name);
        fixture.send("shop", vec![if n.is_multiple_of(10) { failed(trace) } else { trace }]);
    }
    fixture.metrics.set_project("my-project");
    assert!(!fixture.text(Format::OpenMetrics).contains(" # {trace_id=\"0000000000000001"), "nothing is decided yet");
    fixture.pass(2_000);
    let text = fixture.text(Format::OpenMetrics);
    let exemplars: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once(" # {")?.1)).collect();
    assert_eq!(exemplars.len(), 3, "one for each series with a kept trace: a, b, and a with errors\n{text}");
    for exemplar in exemplars {
        let (labels, value) = exemplar.split_once("} ").unwrap();
        let labels = parse_labels(labels);
        let trace = u128::from_str_radix(&labels["trace_id"], 16).unwrap();
        let number = (trace >> 64) as u64;
        assert!(number.is_multiple_of(10) || number as f64 / 41.0 >= 0.75, "trace {number} was dropped");
        assert_eq!(u64::from_str_radix(&labels["span_id"], 16).unwrap(), trace as u64 | 1);
        assert_eq!(labels["project_id"], "my-project");
        assert_eq!(value, "0.005 1700000000");
        let len: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(len <= 128);
    }
    assert!(!fixture.text(Format::Prometheus).contains(" # {"), "the classic format has no exemplars");
}

#[test]
fn an_exemplar_stands_in_the_bucket_of_its_duration() {
    let mut fixture = Fixture::whole(&format!("{POLICIES}{RATIO}{ON}"));
    for (n, ms) in [(1, 5), (2, 900), (3, 7)] {
        let slow = Span { end_time_unix_nano: START + ms * MS, ..span(id(n, 0.9), "op") };
        fixture.send("shop", vec![slow]);
    }
    fixture.pass(2_000);
    let text = fixture.text(Format::OpenMetrics);
    let line = text.lines().find(|line| line.contains(" # {")).unwrap();
    assert!(line.contains("le=\"1\"} 3 # {trace_id=\"0000000000000002"), "the slowest one stays: {line}");
    assert!(line.contains("} 0.9 1700000000"), "{line}");
}

/// Sends traces with random ids of which a tenth are health checks, and decides them.
fn sent(config: &str) -> SpanMetricsTotals {
    let mut random = fastrand::Rng::with_seed(3);
    let mut fixture = Fixture::whole(config);
    for n in 1..=20_000_u64 {
        let mut trace = span(id(n, random.f64()), "op");
        if n.is_multiple_of(10) {
            trace = with(trace, string("path", "/health"));
        } else if n % 10 == 1 {
            trace = failed(trace);
        }
        fixture.send("shop", vec![trace]);
        if n.is_multiple_of(500) {
            fixture.pass(2_000);
        }
    }
    fixture.pass(5_000);
    fixture.metrics.totals()
}

#[test]
fn adjusted_calls_estimate_the_calls_that_can_be_kept() {
    let totals = sent(&format!("{POLICIES}{RATIO}{ON}"));
    assert_eq!((totals.calls, totals.unrepresented_calls), (20_000, 2_000));
    let expected = (totals.calls - totals.unrepresented_calls) as f64;
    let error = (totals.adjusted_calls - expected) / expected;
    // 4,000 of the traces that the ratio may keep are kept; the standard error is 1.1 %.
    assert!(error.abs() < 0.04 && error != 0.0, "{totals:?}");
}

#[test]
fn without_a_ratio_only_kept_traces_are_represented() {
    let totals = sent(&format!("{POLICIES}{ON}"));
    assert_eq!((totals.calls, totals.unrepresented_calls, totals.adjusted_calls), (20_000, 18_000, 2_000.0));
}

#[test]
fn a_policy_that_keeps_a_ratio_of_each_key_represents_what_it_drops() {
    let adaptive = "    - {name: keys, type: adaptive, adaptive: {key: [name], goal_percentage: 20}}\n";
    let totals = sent(&format!("{POLICIES}{adaptive}{ON}"));
    assert_eq!(totals.unrepresented_calls, 2_000);
    let error = (totals.adjusted_calls - 18_000.0) / 18_000.0;
    assert!(error.abs() < 0.05, "{totals:?}");
}

#[test]
fn spans_that_another_instance_takes_are_not_represented_here() {
    let mut fixture = Fixture::whole(&format!("{POLICIES}{RATIO}{ON}"));
    fixture.send("shop", vec![span(id(1, 0.5), "a"), span(id(2, 0.5), "b")]);
    let mut cursor = crate::tail::table::handoff::HandoffCursor::default();
    while let Some(traces) = fixture.table.pending_traces(&mut cursor, 1) {
        fixture.table.handed_over(&traces, fixture.now_ms, &mut fixture.outcome);
    }
    fixture.settle();
    let totals = fixture.metrics.totals();
    assert_eq!((totals.calls, totals.unrepresented_calls, totals.adjusted_calls), (2, 2, 0.0));
}

/// Returns the same span as a child, without attributes, as a service behind the first one sends it.
fn child(parent: Span, number: u8) -> Span {
    Span { span_id: vec![number; 8], parent_span_id: parent.span_id, attributes: Vec::new(), ..parent }
}

/// A late span follows the verdict on its trace, so it is represented if its trace is, whatever the span alone looks like.
#[test]
fn late_spans_are_represented_as_their_traces_are() {
    let tier = "    - {name: front, type: and, and: {and_sub_policy: [{name: t, type: string_attribute, string_attribute: {key: tier, values: [front]}}, {name: r, type: probabilistic, probabilistic: {sampling_percentage: 50}}]}}\n";
    // The dropped traces are remembered by their ids, or they are held and full.
    for rescue in ["{window: 0s}", "{window: 1h}\n  spans_max: 2"] {
        let policies = POLICIES.replace("rescue: {window: 0s}", &format!("rescue: {rescue}"));
        let mut fixture = Fixture::whole(&format!("{policies}{tier}{ON}"));
        let mut random = fastrand::Rng::with_seed(5);
        let traces: Vec<Span> = (1..=400_u64).map(|n| span(id(n, random.f64()), "op")).collect();
        for trace in &traces {
            fixture.send("shop", vec![with(trace.clone(), string("tier", "front"))]);
        }
        fixture.pass(10_000);
        for number in 2..5 {
            for trace in &traces {
                fixture.send("pay", vec![child(trace.clone(), number)]);
            }
        }
        fixture.pass(2 * 3_600_000);
        let totals = fixture.metrics.totals();
        assert_eq!((totals.calls, totals.unrepresented_calls), (1_600, 0), "{rescue}");
        let quotient = totals.adjusted_calls / totals.calls as f64;
        assert!((quotient - 1.0).abs() < 0.15, "{rescue}: {totals:?}");
    }
}

#[test]
fn late_spans_of_traces_that_no_policy_could_keep_are_not_represented() {
    for (path, tier) in [("/health", RATIO), ("/other", "")] {
        let mut fixture = Fixture::whole(&format!("{POLICIES}{tier}{ON}"));
        let traces: Vec<Span> = (1..=200_u64).map(|n| span(id(n, 0.5), "op")).collect();
        for trace in &traces {
            fixture.send("shop", vec![with(trace.clone(), string("path", path))]);
        }
        fixture.pass(10_000);
        for trace in &traces {
            fixture.send("pay", vec![child(trace.clone(), 2)]);
        }
        fixture.pass(10_000);
        let totals = fixture.metrics.totals();
        assert_eq!((totals.calls, totals.unrepresented_calls, totals.adjusted_calls), (400, 400, 0.0), "{path}");
    }
}

/// Each request settles what it has decided, so it must not wait for another one that uses the graph.
#[test]
fn the_graph_is_left_alone_if_no_trace_is_followed() {
    let fixture = Fixture::new("{}");
    let _used = fixture.metrics.graph.as_ref().unwrap().lock();
    // If it took the lock, this would not return.
    fixture.metrics.decided(&[], &Tally::default(), 1, 1);
}
