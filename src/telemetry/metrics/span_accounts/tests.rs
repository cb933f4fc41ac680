use super::*;
use crate::otlp::scan::RejectReason;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{DropReason, HeldAmounts, Protocol, RecoverySource};

/// Returns the spans that came less those with a known fate.
fn unaccounted(accounts: SpanAccounts) -> i64 {
    let SpanAccounts { received, recovered, exported, sampled_out, handed_over, rejected, dropped, held } = accounts;
    (received + recovered) as i64 - (exported + sampled_out + handed_over + rejected + dropped + held) as i64
}

#[test]
fn every_term_is_counted_as_in_a_scrape_and_they_balance() {
    let metrics = Metrics::new();
    metrics.received(Protocol::Grpc, 60);
    metrics.received(Protocol::HttpJson, 49);
    metrics.recovered(RecoverySource::Spool, 11);
    metrics.exported(50);
    metrics.sampled_out(30);
    metrics.handed_over(9);
    metrics.rejected(RejectReason::SpanId, 3);
    metrics.rejected(RejectReason::TraceId, 4);
    metrics.dropped(DropReason::Shutdown, 5);
    metrics.dropped(DropReason::Refused, 6);
    let held = HeldAmounts { pending_spans: 7, spooled_spans: 6, ..HeldAmounts::default() };
    let accounts = metrics.accounts(&held);
    let expected = SpanAccounts {
        received: 109,
        recovered: 11,
        exported: 50,
        sampled_out: 30,
        handed_over: 9,
        rejected: 7,
        dropped: 11,
        held: 13,
    };
    assert_eq!((accounts, unaccounted(accounts)), (expected, 0));
    let text = metrics.render(held);
    let shown = |name: &str| -> f64 {
        let series =
            text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        series.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    };
    let terms = [
        ("spansieve_received_spans_total", accounts.received),
        ("spansieve_recovered_spans_total", accounts.recovered),
        ("spansieve_exported_spans_total", accounts.exported),
        ("spansieve_sampled_out_spans_total", accounts.sampled_out),
        ("spansieve_handed_over_spans_total", accounts.handed_over),
        ("spansieve_rejected_spans_total", accounts.rejected),
        ("spansieve_dropped_spans_total", accounts.dropped),
        ("spansieve_held_spans", accounts.held),
    ];
    for (name, spans) in terms {
        assert_eq!(shown(name), spans as f64, "{name}");
    }
}
