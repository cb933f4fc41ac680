use super::*;
use crate::otlp::scan::RejectReason;

/// Returns the value of the series `series` in `text`.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in:\n{text}")).parse().unwrap()
}

#[test]
fn each_event_counts_on_its_own_series() {
    let metrics = Metrics::with_policies(&["errors", "slow"]);
    metrics.received(Protocol::HttpJson, 7);
    metrics.rejected(RejectReason::SpanId, 2);
    metrics.request(Protocol::Grpc, Outcome::Partial, Duration::from_millis(3));
    metrics.connection_refused();
    metrics.decided("errors", TraceVerdict::Kept, Trigger::Evidence, 4);
    metrics.decided("", TraceVerdict::Dropped, Trigger::DecisionWait, 96);
    metrics.decision_lag(Duration::from_millis(20), 100);
    metrics.sampled_out(90);
    metrics.late(LateVerdict::Rescued, 5);
    metrics.exported(11);
    metrics.dropped(DropReason::Refused, 6);
    metrics.sink_call("UNAVAILABLE", Duration::from_secs(2));
    metrics.recovered(RecoverySource::Spool, 12);
    metrics.recovered(RecoverySource::Journal, 13);
    metrics.journal_fault(DiskFault::Corrupt);
    metrics.journal_sync(Duration::from_millis(2));
    metrics.spool_fault(DiskFault::Torn);
    let text = metrics.render(HeldAmounts {
        pending_spans: 1,
        pending_traces: 2,
        rescuable_spans: 3,
        rescuable_traces: 4,
        export_spans: 5,
        used_bytes: 6,
        limit_bytes: 7,
        spooled_spans: 8,
        spool_bytes: 9,
        spool_limit_bytes: 10,
        journal_bytes: 11,
        journal_limit_bytes: 12,
        journal_unread_bytes: 13,
    });
    let expected = [
        (r#"spansieve_received_spans_total{protocol="http_json"}"#, 7.0),
        (r#"spansieve_received_spans_total{protocol="grpc"}"#, 0.0),
        (r#"spansieve_rejected_spans_total{reason="invalid_span_id"}"#, 2.0),
        (r#"spansieve_requests_total{protocol="grpc",outcome="partial"}"#, 1.0),
        ("spansieve_refused_connections_total", 1.0),
        (r#"spansieve_request_duration_seconds_bucket{protocol="grpc",le="0.0025"}"#, 0.0),
        (r#"spansieve_request_duration_seconds_bucket{protocol="grpc",le="0.005"}"#, 1.0),
        (r#"spansieve_decided_traces_total{policy="errors",verdict="kept",trigger="evidence"}"#, 4.0),
        (r#"spansieve_decided_traces_total{policy="",verdict="dropped",trigger="decision_wait"}"#, 96.0),
        (r#"spansieve_decided_traces_total{policy="slow",verdict="kept",trigger="rescue"}"#, 0.0),
        ("spansieve_decision_lag_seconds_count", 100.0),
        ("spansieve_sampled_out_spans_total", 90.0),
        (r#"spansieve_late_spans_total{verdict="rescued"}"#, 5.0),
        ("spansieve_exported_spans_total", 11.0),
        (r#"spansieve_dropped_spans_total{reason="refused"}"#, 6.0),
        (r#"spansieve_sink_batches_total{code="UNAVAILABLE"}"#, 1.0),
        (r#"spansieve_sink_duration_seconds_bucket{code="UNAVAILABLE",le="1"}"#, 0.0),
        (r#"spansieve_sink_duration_seconds_sum{code="UNAVAILABLE"}"#, 2.0),
        (r#"spansieve_held_spans{state="pending"}"#, 1.0),
        (r#"spansieve_held_traces{state="pending"}"#, 2.0),
        (r#"spansieve_held_spans{state="rescuable"}"#, 3.0),
        (r#"spansieve_held_traces{state="rescuable"}"#, 4.0),
        (r#"spansieve_held_spans{state="export"}"#, 5.0),
        (r#"spansieve_held_spans{state="spooled"}"#, 8.0),
        ("spansieve_spool_bytes", 9.0),
        ("spansieve_spool_limit_bytes", 10.0),
        (r#"spansieve_recovered_spans_total{source="spool"}"#, 12.0),
        (r#"spansieve_recovered_spans_total{source="journal"}"#, 13.0),
        ("spansieve_journal_bytes", 11.0),
        ("spansieve_journal_limit_bytes", 12.0),
        ("spansieve_journal_unread_bytes", 13.0),
        (r#"spansieve_journal_faults_total{kind="corrupt"}"#, 1.0),
        ("spansieve_journal_sync_seconds_count", 1.0),
        (r#"spansieve_spool_faults_total{kind="torn"}"#, 1.0),
        ("spansieve_held_bytes", 6.0),
        ("spansieve_memory_limit_bytes", 7.0),
    ];
    for (series, n) in expected {
        assert_eq!(value(&text, series), n, "{series}");
    }
}

#[test]
fn each_histogram_has_buckets_of_its_own() {
    let text = Metrics::default().render(HeldAmounts::default());
    for metric in TABLE.iter().filter(|metric| metric.kind == MetricKind::Histogram) {
        for values in metric.series(&[]) {
            let labels: String =
                metric.labels.iter().zip(values).map(|(label, value)| format!("{}=\"{value}\",", label.name)).collect();
            for bucket in BUCKETS.iter().map(f64::to_string).chain(["+Inf".to_owned()]) {
                value(&text, &format!("{}_bucket{{{labels}le=\"{bucket}\"}}", metric.name));
            }
        }
    }
}

#[test]
fn a_policy_may_have_any_name() {
    let name = "a \"b\"\\c\nd";
    let metrics = Metrics::with_policies(&[name]);
    metrics.decided(name, TraceVerdict::Kept, Trigger::DecisionWait, 1);
    let text = metrics.render(HeldAmounts::default());
    let series = r#"spansieve_decided_traces_total{policy="a \"b\"\\c\nd",verdict="kept",trigger="decision_wait"}"#;
    assert_eq!(value(&text, series), 1.0);
}

#[test]
fn two_daemons_do_not_share_metrics() {
    let (one, other) = (Metrics::default(), Metrics::default());
    one.exported(1);
    assert_eq!(value(&one.render(HeldAmounts::default()), "spansieve_exported_spans_total"), 1.0);
    assert_eq!(value(&other.render(HeldAmounts::default()), "spansieve_exported_spans_total"), 0.0);
}

#[test]
fn upkeep_loses_nothing() {
    let metrics = Metrics::default();
    for _ in 0..3 {
        metrics.decision_lag(Duration::from_millis(1), 2);
        metrics.upkeep();
    }
    assert_eq!(value(&metrics.render(HeldAmounts::default()), "spansieve_decision_lag_seconds_count"), 6.0);
}

#[test]
fn listed_values_are_those_of_the_code() {
    assert_eq!(Protocol::ALL.map(Protocol::as_str), Protocol::LABELS);
    assert_eq!(RejectReason::ALL.map(RejectReason::as_str), RejectReason::LABELS);
    let names = SINK_CODES.iter().map(|code| code.to_lowercase().replace('_', ""));
    let codes = (0..).map(tonic::Code::from_i32).map(|code| format!("{code:?}").to_lowercase());
    assert!(names.eq(codes.take(SINK_CODES.len())));
    assert_eq!(code_label(tonic::Code::Unauthenticated), "UNAUTHENTICATED");
}

#[test]
fn metrics_that_the_table_does_not_list_are_noticed() {
    let exported = "spansieve_exported_spans_total";
    assert!(is_listed(exported, &[]));
    assert!(!is_listed("spansieve_exported_spans", &[]));
    assert!(!is_listed(exported, &[("reason", "x")]));
    let dropped = [(("reason", "refused"), true), (("reason", "refusal"), false), (("code", "refused"), false)];
    for (label, expected) in dropped {
        assert_eq!(is_listed("spansieve_dropped_spans_total", &[label]), expected, "{label:?}");
    }
    let decided = [
        (["p", "kept", "rescue"], true),
        (["", "dropped", "shutdown"], true),
        (["p", "dropped", "shutdown"], true),
        (["p", "dropped", "rescue"], false),
        (["", "dropped", "evidence"], false),
        (["", "kept", "shutdown"], false),
    ];
    for ([policy, verdict, trigger], expected) in decided {
        let labels = [("policy", policy), ("verdict", verdict), ("trigger", trigger)];
        assert_eq!(is_listed("spansieve_decided_traces_total", &labels), expected, "{labels:?}");
    }
}
