use super::*;
use crate::otlp::ByteRange;
use crate::otlp::scan::SpanFact;
use crate::otlp::view::AnyValue;

const ID: TraceId = TraceId([0x80; 16]);

fn policies(rules: Vec<Rule>) -> Policies {
    let named = rules.into_iter().enumerate().map(|(i, rule)| Policy { name: format!("p{i}"), rule });
    Policies::compile(&named.collect::<Vec<_>>()).unwrap()
}

fn error_rule() -> Rule {
    Rule::Error { status: true, http: true, rpc: true }
}

fn latency(threshold_ms: u64, upper_threshold_ms: u64) -> Rule {
    Rule::Latency { threshold_ms, upper_threshold_ms }
}

fn ratio(sampling_percentage: f64) -> Rule {
    Rule::Probabilistic { sampling_percentage }
}

/// A summary of one span of these bits and times, in milliseconds.
fn summary(bits: Bits, start_ms: u64, end_ms: u64) -> Summary {
    let fact = SpanFact {
        trace_id: ID,
        start_unix_nano: start_ms * 1_000_000,
        end_unix_nano: end_ms * 1_000_000,
        bits,
        randomness: None,
        span: ByteRange::default(),
        scope: 0,
        root: false,
    };
    let mut summary = Summary::default();
    summary.add(&fact);
    summary
}

fn attribute(policies: &Policies, key: &str, value: AnyValue<'_>) -> bool {
    policies.probe().span_attribute(key.as_bytes(), value) != 0
}

#[test]
fn the_error_policy_reads_status_http_and_rpc_codes() {
    let policies = policies(vec![error_rule()]);
    let probe = policies.probe();
    assert_ne!(probe.status(view::StatusCode::Error), 0);
    assert_eq!(probe.status(view::StatusCode::Ok) | probe.status(view::StatusCode::Unset), 0);
    use AnyValue::{Bool, Double, Int, String};
    for (key, value, error) in [
        ("http.response.status_code", Int(500), true),
        ("http.response.status_code", Int(599), true),
        ("http.response.status_code", Int(499), false),
        ("http.response.status_code", Int(-500), false),
        ("http.response.status_code", String(b"503"), true),
        ("http.response.status_code", Double(504.0), true),
        ("http.response.status_code", Bool(true), false),
        ("http.status_code", Int(502), true),
        ("http.status_code", String(b"teapot"), false),
        ("http.status.code", Int(502), false),
        ("rpc.grpc.status_code", Int(0), false),
        ("rpc.grpc.status_code", Int(2), true),
        ("rpc.grpc.status_code", Int(4), true),
        ("rpc.grpc.status_code", Int(5), false),
        ("rpc.grpc.status_code", Int(12), true),
        ("rpc.grpc.status_code", Int(13), true),
        ("rpc.grpc.status_code", String(b"14"), true),
        ("rpc.grpc.status_code", Int(15), true),
        ("rpc.response.status_code", String(b"INTERNAL"), true),
        ("rpc.response.status_code", String(b"unavailable"), true),
        ("rpc.response.status_code", String(b"NOT_FOUND"), false),
        ("rpc.response.status_code", String(b"-32602"), false),
    ] {
        assert_eq!(attribute(&policies, key, value), error, "{key} {value:?}");
    }
}

#[test]
fn each_part_of_the_error_policy_can_be_switched_off() {
    for (status, http, rpc) in [(true, false, false), (false, true, false), (false, false, true), (false, false, false)]
    {
        let policies = policies(vec![Rule::Error { status, http, rpc }]);
        assert_eq!(policies.probe().status(view::StatusCode::Error) != 0, status);
        assert_eq!(attribute(&policies, "http.status_code", AnyValue::Int(500)), http);
        assert_eq!(attribute(&policies, "rpc.grpc.status_code", AnyValue::Int(13)), rpc);
    }
}

#[test]
fn status_code_asks_for_its_codes_only() {
    let policies = policies(vec![Rule::StatusCode { status_codes: vec![StatusCode::Ok, StatusCode::Unset] }]);
    let bits = |code| policies.probe().status(code);
    assert!(policies.decide(&summary(bits(view::StatusCode::Ok), 0, 0), ID).is_some());
    assert!(policies.decide(&summary(bits(view::StatusCode::Unset), 0, 0), ID).is_some());
    assert!(policies.decide(&summary(bits(view::StatusCode::Error), 0, 0), ID).is_none());
}

#[test]
fn latency_counts_whole_milliseconds_between_its_bounds() {
    for (threshold, upper, duration_ms, kept) in [
        (1_000, 0, 1_000, false),
        (1_000, 0, 1_001, true),
        (0, 0, 0, false),
        (0, 0, 1, true),
        (100, 200, 200, true),
        (100, 200, 201, false),
    ] {
        let verdict = policies(vec![latency(threshold, upper)]).decide(&summary(0, 50_000, 50_000 + duration_ms), ID);
        assert_eq!(verdict.is_some(), kept, "{duration_ms} ms against {threshold} to {upper}");
    }
}

#[test]
fn a_time_that_is_not_set_makes_no_trace_slow() {
    let slow = policies(vec![latency(1_000, 0)]);
    for (start_ms, end_ms) in [(0, 1_700_000_000_000), (1_700_000_000_000, 0), (0, 0)] {
        assert_eq!(slow.decide(&summary(0, start_ms, end_ms), ID), None, "{start_ms} to {end_ms}");
    }
    let mut trace = summary(0, 1_700_000_000_000, 0);
    trace.merge(&summary(0, 1_700_000_001_500, 1_700_000_001_600));
    assert!(slow.decide(&trace, ID).is_some(), "1.6 s from the start of the span that never ended");
}

#[test]
fn the_least_strict_policy_is_named_and_the_first_of_equals() {
    let half = policies(vec![ratio(60.0), latency(1_000, 0), Rule::AlwaysSample]);
    let verdict = |summary| half.decide(&summary, ID).unwrap();
    assert_eq!(verdict(summary(0, 1, 2)).policy, 2);
    assert_eq!(verdict(summary(0, 1, 5_000)).policy, 1);
    assert_eq!(verdict(summary(0, 1, 5_000)).threshold.adjusted_count(), 1.0);
    let ratios = policies(vec![ratio(60.0), ratio(75.0)]);
    assert_eq!(ratios.decide(&summary(0, 1, 2), ID).unwrap().policy, 1);
}

#[test]
fn proven_is_what_decide_will_say_of_the_whole_trace() {
    let error_bits = |p: &Policies| p.probe().status(view::StatusCode::Error);
    let cases = [
        (vec![error_rule(), latency(1_000, 0), ratio(5.0)], true),
        (vec![ratio(5.0), error_rule()], true),
        // The slow policy is listed first and may still prove itself: who kept the trace is not settled.
        (vec![latency(1_000, 0), error_rule()], false),
        // An upper bound can still be broken.
        (vec![latency(0, 1_000), error_rule()], false),
    ];
    for (rules, proven) in cases {
        let policies = policies(rules.clone());
        let trace = summary(error_bits(&policies), 10, 20);
        assert_eq!(policies.proven(&trace).is_some(), proven, "{rules:?}");
        if proven {
            assert_eq!(policies.proven(&trace), policies.decide(&trace, ID));
        }
        let healthy = summary(0, 10, 10);
        assert_eq!(policies.proven(&healthy), None);
    }
    assert!(policies(vec![Rule::AlwaysSample]).proven(&Summary::default()).is_some());
}

#[test]
fn merging_summaries_is_what_adding_spans_is() {
    let parts = [summary(1, 5, 9), summary(2, 3, 4), summary(4, 0, 7)];
    let merged = |order: [usize; 3]| {
        let mut all = Summary::default();
        order.iter().for_each(|&i| all.merge(&parts[i]));
        all
    };
    let first = merged([0, 1, 2]);
    assert_eq!((first.bits, first.duration_ms(), first.span_count), (7, 6, 3));
    for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        assert_eq!(merged(order), first);
    }
}
