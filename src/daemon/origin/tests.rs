use super::*;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Protocol;

#[test]
fn traffic_is_read_from_the_metrics() {
    let metrics = Metrics::with_policies(&["errors", "veto"]);
    metrics.received(Protocol::Grpc, 60);
    metrics.received(Protocol::HttpJson, 40);
    metrics.sampled_out(30);
    metrics.decided("errors", TraceVerdict::Kept, Trigger::Evidence, 3);
    metrics.decided("errors", TraceVerdict::Kept, Trigger::Rescue, 2);
    metrics.decided("", TraceVerdict::Dropped, Trigger::DecisionWait, 9);
    metrics.decided("veto", TraceVerdict::Dropped, Trigger::DecisionWait, 1);
    let held = HeldAmounts { pending_spans: 7, pending_traces: 4, rescuable_spans: 5, ..HeldAmounts::default() };
    let expected = TrafficCounts {
        received_spans: 100,
        pending_spans: 7,
        pending_traces: 4,
        kept_traces: 5,
        sampled_out_traces: 8,
        sampled_out_spans: 35,
    };
    assert_eq!(traffic(&metrics.accounts(&held), &metrics.decided_traces(), &held), expected);
}
