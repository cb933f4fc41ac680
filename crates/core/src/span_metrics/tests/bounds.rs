//! The bounds on series and on memory.

use super::*;

#[test]
fn a_flood_of_names_is_counted_in_one_series_and_takes_no_more_memory() {
    let mut fixture = Fixture::new("{spans: all, max_series: 200, span_names: as_sent, service_graph: false}");
    let spans: Vec<Span> = (0..1_000).map(|n| span(n + 1, "name @@@@@@@@@")).collect();
    let sent = 1_000 * spans.len() as u64;
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    let names: Vec<usize> = (0..body.len()).filter(|&at| body[at..].starts_with(b"@@@@@@@@@")).collect();
    let mut full_bytes = 0;
    for request in 0..1_000 {
        let mut body = body.clone();
        for (n, at) in names.iter().enumerate() {
            body[*at..at + 9].copy_from_slice(format!("{:09}", request * 1_000 + n).as_bytes());
        }
        let mut scanned = Scan::default();
        let body = scan(body.into(), fixture.policies.probe(), &mut scanned).unwrap();
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
    assert_eq!((totals.series, totals.overflow_calls), (1_950, 50), "the last service gets a half of what is left");
    assert!(totals.bytes < 500_000, "{} bytes", totals.bytes);
    // The memory is charged to the budget when it is taken.
    let before = fixture.table.budget().used_bytes();
    fixture.metrics.sweep(fixture.now_ms + SWEEP_MS);
    assert_eq!(fixture.table.budget().used_bytes(), before);
    drop(fixture.metrics);
    assert_eq!(before - fixture.table.budget().used_bytes(), totals.bytes);
}

#[test]
fn unused_series_go_and_make_room() {
    let mut fixture = Fixture::new("{max_series: 6, expire_after: 1m, span_names: as_sent}");
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
    let mut fixture = Fixture::new("{max_series: 100, expire_after: 30m, span_names: as_sent}");
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

#[test]
fn the_dry_run_forgets_the_names_that_expire() {
    let mut fixture = Fixture::new("{span_names: dry_run, expire_after: 1m}");
    fixture.send("shop", vec![span(1, "old 1"), span(1, "old 2"), span(1, "busy 1")]);
    assert_eq!((fixture.metrics.totals().series, fixture.metrics.totals().normalized_series), (3, 2));
    fixture.pass(40_000);
    fixture.send("shop", vec![span(1, "busy 2")]);
    fixture.pass(40_000);
    let totals = fixture.metrics.totals();
    assert_eq!((totals.series, totals.expired_series, totals.normalized_series), (1, 3, 1), "`busy *` is left");
    fixture.pass(60_000);
    assert_eq!(fixture.metrics.totals().normalized_series, 0);
}

#[test]
fn a_copy_for_a_scrape_needs_room_if_it_is_large() {
    for (series, is_small) in [(2_000, true), (10_000, false)] {
        let mut fixture = Fixture::new("{max_series: 20000, span_names: as_sent, service_graph: false}");
        fixture.send("shop", (0..series).map(|n| span(1, &format!("name {n}"))).collect());
        let budget = fixture.table.budget().clone();
        let used = budget.used_bytes();
        // Any room is enough while there is room.
        assert!(fixture.text(Format::Prometheus).lines().count() > 20 * series);
        let _full = budget.force(256 << 20);
        let mut text = String::new();
        assert_eq!(fixture.metrics.render(Format::Prometheus, &mut text).is_ok(), is_small, "{series} series");
        assert_eq!(budget.used_bytes(), used + (256 << 20));
    }
}

/// The values of labels are chosen by senders. The text is made piece by piece, whatever they are.
#[test]
fn no_piece_of_the_text_is_large() {
    struct Pieces(usize, usize);
    impl std::fmt::Write for Pieces {
        fn write_str(&mut self, piece: &str) -> std::fmt::Result {
            *self = Pieces(self.0.max(piece.len()), self.1 + piece.len());
            if self.1 > 20_000_000 { Err(std::fmt::Error) } else { Ok(()) }
        }
    }
    let dimensions: Vec<String> = (0..8).map(|n| format!("{{name: d{n}}}")).collect();
    let section = format!("{{dimensions: [{}], span_names: as_sent, service_graph: false}}", dimensions.join(","));
    let mut fixture = Fixture::new(&section);
    let quotes = "\"".repeat(120);
    let spans = (0..2_000).map(|n| {
        let named = span(1, &format!("{quotes}{n}"));
        (0..8).fold(named, |span, n| with(span, string(&format!("d{n}"), &quotes)))
    });
    fixture.send(&quotes, spans.collect());
    let mut pieces = Pieces(0, 0);
    assert!(fixture.metrics.render(Format::OpenMetrics, &mut pieces).is_err(), "{} bytes", pieces.1);
    assert!(pieces.0 < 4_096 && pieces.1 < 20_010_000, "it ends when the output fails");
}

/// A service whose names have ids must not take the series of the others.
#[test]
fn a_flood_of_names_in_some_services_leaves_room_for_the_others() {
    let mut fixture = Fixture::new("{max_series: 1000, expire_after: 1m, span_names: as_sent}");
    let flood = |service: u32, round: u32| (0..600).map(move |n| span(1, &format!("{service} {round} {n}"))).collect();
    let good = || ["a", "b", "c", "d"].map(|name| span(1, name)).into();
    // Of two such services, the first has a half, and the second one a half of the rest.
    for service in 0..2 {
        fixture.send(&format!("bad-{service}"), flood(service, 0));
    }
    let own = |calls: &BTreeMap<String, u64>, service: &str| {
        let name = format!("service_name={service:?}");
        calls.keys().filter(|labels| labels.contains(&name)).count()
    };
    let calls = fixture.calls();
    assert_eq!((own(&calls, "bad-0"), own(&calls, "bad-1")), (500, 250));
    (0..20).for_each(|service| fixture.send(&format!("good-{service}"), good()));
    let calls = fixture.calls();
    assert!((0..20).all(|service| own(&calls, &format!("good-{service}")) == 4), "{calls:?}");
    // It stays so when series go and come.
    for round in 1..10 {
        fixture.pass(10_000);
        for service in 0..2 {
            fixture.send(&format!("bad-{service}"), flood(service, round));
        }
        (0..20).for_each(|service| fixture.send(&format!("good-{service}"), good()));
        let calls = fixture.calls();
        assert!((0..20).all(|service| own(&calls, &format!("good-{service}")) == 4), "round {round}");
        let shares = [own(&calls, "bad-0"), own(&calls, "bad-1")];
        assert!(shares.iter().all(|share| (200..=500).contains(share)), "round {round}: {shares:?}");
        let totals = fixture.metrics.totals();
        assert!(totals.series <= 1_000 && totals.bytes < 500_000, "{totals:?}");
    }
}

/// Any mix of services, names and pauses over a day: the bounds hold, and each service that is quiet keeps its series.
#[test]
fn a_day_of_random_churn_stays_within_its_bounds() {
    for seed in 0..3 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut fixture = Fixture::new("{max_series: 200, expire_after: 10m, span_names: as_sent}");
        let mut sent = 0;
        while fixture.now_ms < 86_400_000 {
            let service = random.u32(..8);
            let version = fixture.now_ms / 3_600_000;
            let count = if random.u8(..20) == 0 { 300 } else { random.usize(1..5) };
            let spans = (0..count).map(|n| span(1, &format!("{version} {}", if count > 9 { n } else { n % 3 })));
            fixture.send(&format!("service-{service}"), spans.collect());
            sent += count as u64;
            fixture.pass(random.u64(1_000..400_000));
            let totals = fixture.metrics.totals();
            assert!(totals.series <= 200 && totals.bytes < 100_000, "seed {seed}: {totals:?}");
            assert_eq!(totals.calls, sent, "seed {seed}");
        }
        let totals = fixture.metrics.totals();
        assert!(totals.expired_series > 0 && totals.overflow_calls > 0, "seed {seed}: {totals:?}");
    }
}

/// With one service, the half that it can have is `max_series` / 2, rounded up.
#[test]
fn a_single_service_has_half_of_the_series() {
    for (max, expected) in [(1, 1), (2, 1), (3, 2), (100, 50)] {
        let mut fixture = Fixture::new(&format!("{{max_series: {max}, span_names: as_sent}}"));
        fixture.send("shop", (0..200).map(|n| span(1, &format!("name {n}"))).collect());
        let totals = fixture.metrics.totals();
        assert_eq!((totals.series, totals.overflow_calls), (expected, 200 - expected as u64), "{max}");
    }
}
