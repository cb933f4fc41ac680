use super::*;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{HeldAmounts, Protocol};

#[test]
fn every_term_is_found_in_a_scrape_and_they_balance() {
    let metrics = Metrics::new();
    metrics.received(Protocol::Grpc, 60);
    metrics.received(Protocol::HttpJson, 40);
    metrics.recovered("spool", 11);
    metrics.exported(50);
    metrics.sampled_out(30);
    metrics.rejected("invalid_span_id", 3);
    metrics.rejected("invalid_trace_id", 4);
    metrics.dropped("shutdown", 5);
    metrics.dropped("refused", 6);
    let held = HeldAmounts { pending_spans: 7, spooled_spans: 6, ..HeldAmounts::default() };
    let accounts = SpanAccounts::of(&metrics.render(held));
    let expected = SpanAccounts {
        received: 100,
        recovered: 11,
        exported: 50,
        sampled_out: 30,
        rejected: 7,
        dropped: 11,
        held: 13,
    };
    assert_eq!((accounts, accounts.unaccounted()), (expected, 0));
}
