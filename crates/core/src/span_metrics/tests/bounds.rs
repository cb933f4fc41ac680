//! The bounds on series and on memory.

use super::*;

#[test]
fn a_flood_of_names_is_counted_in_one_series_and_takes_no_more_memory() {
    let mut fixture = Fixture::new("{spans: all, max_series: 100, span_names: as_sent, service_graph: false}");
    let mut sent = 0;
    let mut full_bytes = 0;
    for request in 0..1_000_u128 {
        let spans: Vec<Span> = (0..1_000).map(|n| span(request + 1, &format!("name {request} {n}"))).collect();
        sent += spans.len() as u64;
        let mut scanned = Scan::default();
        let resource_spans = vec![ResourceSpans {
            scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }];
        let body: Bytes = ExportTraceServiceRequest { resource_spans }.encode_to_vec().into();
        let body = scan(body, fixture.policies.probe(), &mut scanned).unwrap();
        fixture.metrics.count(&scanned, &body, fixture.policies.counted(), &mut fixture.buffer, 1);
        if request == 0 {
            full_bytes = fixture.metrics.heap_bytes();
        }
    }
    assert_eq!(fixture.metrics.heap_bytes(), full_bytes);
    let totals = fixture.metrics.totals();
    assert_eq!((totals.series, totals.calls, totals.overflow_calls), (100, sent, sent - 100));
    assert_eq!(fixture.calls()["otel_metric_overflow=\"true\""], sent - 100);
    assert_eq!(fixture.calls().values().sum::<u64>(), sent);
    assert!(fixture.buffer.heap_bytes() < 64 << 10, "{}", fixture.buffer.heap_bytes());
}

#[test]
fn two_thousand_combinations_take_less_than_half_a_megabyte() {
    let mut fixture = Fixture::new("{spans: all, span_names: as_sent, service_graph: false}");
    for service in 0..20 {
        let name = |n: usize| format!("GET /api/v2/{}/details/{n}", ["orders", "users", "carts"][n % 3]);
        fixture.send(&format!("shop-service-{service}"), (0..100).map(|n| span(1, &name(n))).collect());
    }
    let totals = fixture.metrics.totals();
    assert_eq!((totals.series, totals.overflow_calls), (2_000, 0));
    assert!(totals.bytes < 500_000, "{} bytes", totals.bytes);
    // The memory is charged to the budget.
    let before = fixture.table.budget().used_bytes();
    fixture.metrics.sweep(fixture.now_ms + SWEEP_MS);
    assert_eq!(fixture.table.budget().used_bytes() - before, totals.bytes);
}

#[test]
fn unused_series_go_and_make_room() {
    let mut fixture = Fixture::new("{max_series: 3, expire_after: 1m, span_names: as_sent}");
    fixture.send("shop", vec![span(1, "a"), span(1, "b"), span(1, "c"), span(1, "d")]);
    assert_eq!(fixture.metrics.totals().overflow_calls, 1);
    fixture.pass(59_000);
    fixture.send("shop", vec![span(1, "b")]);
    assert_eq!(fixture.metrics.totals().series, 3);
    fixture.pass(6_000);
    let totals = fixture.metrics.totals();
    assert_eq!((totals.series, totals.expired_series, totals.calls), (1, 2, 5));
    fixture.send("shop", vec![span(1, "b"), span(1, "e")]);
    let expected = [
        ("otel_metric_overflow=\"true\"".to_owned(), 1),
        (labels("shop", "b", "UNSET"), 3),
        (labels("shop", "e", "UNSET"), 1),
    ];
    assert_eq!(fixture.calls(), expected.into());
}

/// A day of deployments: each hour, all names change. Nothing grows, and no count is lost while its series lives.
#[test]
fn a_day_of_churn_does_not_grow() {
    let mut fixture = Fixture::new("{max_series: 50, expire_after: 30m, span_names: as_sent}");
    let mut most_bytes = 0;
    for hour in 0..24 {
        for _ in 0..60 {
            fixture.send("shop", (0..40).map(|n| span(1, &format!("version {hour} name {n}"))).collect());
            fixture.pass(60_000);
        }
        let totals = fixture.metrics.totals();
        assert!(totals.series <= 50);
        let live = fixture.calls().iter().filter(|(labels, _)| labels.contains(&format!("version {hour} "))).count();
        assert_eq!(live, 40, "hour {hour}");
        most_bytes = if hour < 2 { most_bytes.max(totals.bytes) } else { most_bytes };
        assert!(totals.bytes <= most_bytes + 4_096, "hour {hour}: {} bytes after {most_bytes}", totals.bytes);
    }
    assert_eq!(fixture.metrics.totals().calls, 24 * 60 * 40);
}

#[test]
fn the_dry_run_takes_bounded_memory() {
    let mut fixture = Fixture::new("{max_series: 10, span_names: dry_run}");
    for n in 0..100 {
        fixture.send("shop", vec![span(1, &format!("{}/{n}", "x".repeat(n % 20 + 1)))]);
    }
    assert_eq!(fixture.metrics.totals().normalized_series, 11, "it stops one above the most");
}
