//! Behaviour of the Collector's tail sampler that surprises its users, and Spansieve's answer. There is a test for each
//! number of the table in `docs/migrating-from-the-collector.md`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use spansieve::cloud_trace::encode::{Encoder, EncoderSettings};
use spansieve::resource::Rewriter;

use crate::support::traces::{Fixture, between, error, id, keeps, span, string, with};

/// The id of a trace that every ratio below 100 % drops.
const TRACE: u128 = 7 << 64;

#[test]
fn oddity_1_an_upper_bound_of_latency_holds_in_every_order_of_arrival() {
    let kind = "latency, latency: {threshold_ms: 0, upper_threshold_ms: 50}";
    let (child, root) = (between(span(TRACE), 0, 10), between(span(TRACE), 0, 500));
    assert!(!keeps(kind, &[vec![child.clone()], vec![root.clone()]]));
    assert!(!keeps(kind, &[vec![root, child.clone()]]));
    assert!(keeps(kind, &[vec![child]]));
}

#[test]
fn oddity_2_numbers_are_integers_and_doubles_and_strings_are_not() {
    let within = "numeric_attribute, numeric_attribute: {key: n, min_value: 50, max_value: 100}";
    let up_to = "numeric_attribute, numeric_attribute: {key: n, max_value: 100}";
    for (kind, value, expected) in [
        (within, Value::IntValue(75), true),
        (within, Value::DoubleValue(75.0), true),
        (within, Value::DoubleValue(100.5), false),
        (up_to, string("900"), false),
        (up_to, string("5"), false),
        (up_to, Value::BoolValue(true), false),
    ] {
        assert_eq!(keeps(kind, &[vec![with(span(TRACE), "n", value.clone())]]), expected, "{value:?}");
    }
}

#[test]
fn oddity_3_a_bound_of_0_is_a_bound_and_none_at_all_is_an_error() {
    let kind = "numeric_attribute, numeric_attribute: {key: n, min_value: 0}";
    for (value, expected) in [(0, true), (-1, false)] {
        assert_eq!(keeps(kind, &[vec![with(span(TRACE), "n", Value::IntValue(value))]]), expected, "{value}");
    }
    let text = "tail_sampling: {policies: [{name: p, type: numeric_attribute, numeric_attribute: {key: n}}]}";
    let problems = spansieve::config::load(text, &|_| None).unwrap_err();
    assert!(problems.to_string().contains("neither `min_value` nor `max_value`"), "{problems}");
}

#[test]
fn oddity_4_regular_expressions_are_found_anywhere_as_in_the_collector() {
    let kind = |regex: &str| {
        format!("string_attribute, string_attribute: {{key: path, values: ['{regex}'], enabled_regex_matching: true}}")
    };
    for (regex, expected) in [("/live", true), ("^/live$", false), ("^/api/", true)] {
        let spans = vec![with(span(TRACE), "path", string("/api/livestock"))];
        assert_eq!(keeps(&kind(regex), &[spans]), expected, "{regex}");
    }
}

/// Returns a fixture with a composite policy. Its parts `a` and `b` keep everything, and it keeps 10 spans a second.
fn composite(order: &str, percents: [u32; 2]) -> Fixture {
    let [a, b] = percents;
    Fixture::new(&format!(
        "    - name: c
      type: composite
      composite:
        max_total_spans_per_second: 10
        policy_order: [{order}]
        composite_sub_policy: [{{name: a, type: always_sample}}, {{name: b, type: always_sample}}]
        rate_allocation: [{{policy: a, percent: {a}}}, {{policy: b, percent: {b}}}]"
    ))
}

fn policies_of_30(mut fixture: Fixture) -> Vec<String> {
    (1..=30).for_each(|n| assert!(fixture.send(&[span(id(n, 0.5))])));
    fixture.advance(10_000);
    fixture.fates().into_iter().map(|(_, fate)| fate.policy).collect()
}

#[test]
fn oddity_5_a_composite_has_the_order_that_is_written() {
    assert_eq!(policies_of_30(composite("b, a", [1, 90])), vec!["c/b"; 9]);
    assert_eq!(policies_of_30(composite("a, b", [10, 90])), vec!["c/a"; 1]);
}

#[test]
fn oddity_6_a_composite_has_the_total_that_is_written() {
    let mut fixture = composite("a, b", [100, 100]);
    let flagged = |n, flag| with(span(id(n, 0.5)), "flag", Value::BoolValue(flag));
    let text = "    - name: c
      type: composite
      composite:
        max_total_spans_per_second: 10
        composite_sub_policy:
          - {name: a, type: boolean_attribute, boolean_attribute: {key: flag, value: true}}
          - {name: b, type: always_sample}
        rate_allocation: [{policy: a, percent: 100}, {policy: b, percent: 100}]";
    assert_eq!(policies_of_30(fixture).len(), 10);
    fixture = Fixture::new(text);
    (1..=20).for_each(|n| assert!(fixture.send(&[flagged(n, n % 2 == 0)])));
    fixture.advance(10_000);
    assert_eq!(fixture.kept_traces(), 10);
}

#[test]
fn oddities_7_8_and_9_traces_are_bounded_in_bytes_and_always_decided() {
    let text = "
tail_sampling: {num_traces: 10, block_on_overflow: true, policies: [{name: all, type: always_sample}]}
memory: {limit: 64MiB}
";
    let mut fixture = Fixture::new(text);
    for round in 0..3 {
        (1..=300).for_each(|n| assert!(fixture.send(&[span(id(round * 1_000 + n, 0.5))]), "a request was refused"));
        fixture.advance(10_000);
        let held = fixture.table.held();
        assert_eq!((held.pending_traces, held.rescuable_traces), (0, 0), "traces are still held after their decision");
    }
    assert_eq!(fixture.kept_traces(), 900, "every trace is kept");
}

#[test]
fn oddity_10_a_late_error_brings_back_the_whole_trace() {
    let mut fixture = Fixture::new("    - {name: errors, type: error}");
    fixture.send(&[span(TRACE), span(TRACE)]);
    fixture.advance(10_000);
    fixture.send(&[error(TRACE)]);
    let [(_, fate)] = fixture.fates().try_into().expect("exactly one kept trace");
    assert_eq!((fate.policy.as_str(), fate.spans), ("errors", 3));
    // The late error is kept alone if the trace's other spans have left memory.
    let mut fixture = Fixture::new("    - {name: errors, type: error}");
    fixture.send(&[span(TRACE), span(TRACE)]);
    fixture.advance(10_000);
    fixture.advance(3_600_000);
    fixture.send(&[error(TRACE)]);
    assert_eq!(fixture.fates()[0].1.spans, 1);
}

#[test]
fn oddities_11_and_12_a_sink_that_takes_nothing_stops_no_decision_and_senders_are_told_when_memory_is_full() {
    let mut fixture = Fixture::new(
        "
otlp: {max_request_bytes: 1MiB}
tail_sampling: {decision_cache: {sampled_cache_size: 1000, non_sampled_cache_size: 1000}, policies: [{name: all, type: always_sample}]}
memory: {limit: 4MiB}
",
    );
    let large = |n| vec![with(span(id(n, 0.5)), "blob", string(&"x".repeat(10_000)))];
    let mut sent = 0;
    while fixture.send(&large(sent + 1)) {
        sent += 1;
        assert!(sent < 1_000, "nothing is exported, but no request is refused");
        fixture.advance(100);
    }
    fixture.advance(10_000);
    assert_eq!((fixture.kept_traces() as u32, fixture.table.held().pending_spans), (sent, 0), "all are kept");
    // Exported spans free their memory.
    fixture.kept.clear();
    assert!(fixture.send(&large(sent + 1)));
}

#[test]
fn oddity_13_kept_spans_say_themselves_which_policy_kept_them() {
    let mut fixture = Fixture::new("    - {name: failed-ones, type: error}");
    fixture.send(&[error(TRACE)]);
    fixture.advance(10_000);
    let settings = EncoderSettings {
        default_project: "p".into(),
        annotate: fixture.settings.tail_sampling.annotate,
        policy_names: fixture.policies.names().into(),
        ..EncoderSettings::default()
    };
    let mut encoder = Encoder::new(settings, Rewriter::new(&fixture.settings.resource, &[]));
    let kept = &fixture.kept[0];
    let open = kept.fragment.open();
    let bytes = open.spans().next().unwrap();
    let origin = encoder.origin(bytes);
    let mut out = Vec::new();
    encoder.span(&origin, bytes.span, kept.keep, &mut out).unwrap();
    for text in ["spansieve.policy", "failed-ones", "spansieve.adjusted_count"] {
        assert!(out.windows(text.len()).any(|window| window == text.as_bytes()), "{text}");
    }
}

#[test]
fn oddity_14_a_time_that_is_not_set_is_no_time() {
    let slow = "latency, latency: {threshold_ms: 1000}";
    let (mut without_end, mut without_start) = (between(span(TRACE), 0, 2_000), between(span(TRACE), 0, 10));
    without_end.end_time_unix_nano = 0;
    without_start.start_time_unix_nano = 0;
    assert!(!keeps(slow, &[vec![without_start]]));
    // The span without an end began 1.5 s before another span ended.
    assert!(keeps(slow, &[vec![without_end, between(span(TRACE), 1_490, 1_500)]]));
    // A child's clock that is 5 s behind makes the trace long, but none of its spans.
    let skewed = vec![between(span(TRACE), 5_000, 5_005), between(span(TRACE), 0, 3)];
    assert!(keeps(slow, std::slice::from_ref(&skewed)));
    for of in ["root", "any_span", "synchronous"] {
        assert!(
            !keeps(&format!("latency, latency: {{threshold_ms: 1000, of: {of}}}"), std::slice::from_ref(&skewed)),
            "{of}"
        );
    }
}

#[test]
fn oddity_15_late_spans_of_a_dropped_trace_are_no_second_decision() {
    let mut fixture = Fixture::new("    - {name: errors, type: error}");
    fixture.send(&[span(TRACE)]);
    fixture.advance(10_000);
    (0..5).for_each(|_| assert!(fixture.send(&[span(TRACE)])));
    fixture.advance(3_600_000);
    fixture.send(&[span(TRACE)]);
    assert_eq!(fixture.outcome.tally.dropped.iter().sum::<u64>(), 1);
    assert_eq!(fixture.outcome.tally.late_dropped_spans, 6);
}

#[test]
fn oddity_16_no_trace_is_dropped_for_its_size() {
    let text = "
tail_sampling:
  maximum_trace_size_bytes: 1000
  policies: [{name: errors, type: error}]
";
    let mut fixture = Fixture::new(text);
    let spans: Vec<_> = (0..50).map(|_| with(span(TRACE), "blob", string(&"x".repeat(1_000)))).collect();
    fixture.send(&spans);
    fixture.send(&[error(TRACE)]);
    assert_eq!(fixture.fates()[0].1.spans, 51);
}

#[test]
fn oddity_17_a_trace_that_is_larger_than_the_bucket_passes_when_it_is_full() {
    let limited = "    - name: p
      type: and
      and:
        and_sub_policy: [{type: error}, {type: rate_limiting, rate_limiting: {spans_per_second: 1}}]";
    let mut fixture = Fixture::new(limited);
    let trace = |n: u128| [span(n << 64), span(n << 64), error(n << 64)];
    // The bucket holds two spans. The first trace's three spans leave it in debt; 3 s later it is full again.
    for (n, wait_ms) in [(1, 0), (2, 2_000), (3, 1_000)] {
        fixture.advance(wait_ms);
        assert!(fixture.send(&trace(n)));
    }
    for (wait_ms, kept) in [(7_000, vec![1]), (2_000, vec![1]), (1_000, vec![1, 3])] {
        fixture.advance(wait_ms);
        let traces: Vec<_> = fixture.fates().into_iter().map(|(trace, _)| trace >> 64).collect();
        assert_eq!(traces, kept, "at {} ms", fixture.now_ms);
    }
}
