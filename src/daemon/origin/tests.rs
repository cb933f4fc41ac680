use super::*;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{HeldAmounts, Protocol};

#[test]
fn traffic_is_read_from_the_metrics() {
    let metrics = Metrics::with_policies(&["errors", "veto"]);
    metrics.received(Protocol::Grpc, 60);
    metrics.received(Protocol::HttpJson, 40);
    metrics.sampled_out(30);
    metrics.decided("errors", "kept", "evidence", 3);
    metrics.decided("errors", "kept", "rescue", 2);
    metrics.decided("", "dropped", "decision_wait", 9);
    metrics.decided("veto", "dropped", "decision_wait", 1);
    let held = HeldAmounts { pending_spans: 7, pending_traces: 4, rescuable_spans: 5, ..HeldAmounts::default() };
    let expected = TrafficCounts {
        received_spans: 100,
        pending_spans: 7,
        pending_traces: 4,
        kept_traces: 5,
        sampled_out_traces: 8,
        sampled_out_spans: 35,
    };
    assert_eq!(traffic(&metrics.render(held)), expected);
}
