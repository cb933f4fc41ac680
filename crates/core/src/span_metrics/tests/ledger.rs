//! Counts compared with a ledger of what was sent.

use super::*;

#[test]
fn each_span_is_counted_once_with_its_labels_and_its_duration() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut fixture = Fixture::new("{spans: all, span_names: as_sent, service_graph: false}");
    let (mut calls, mut seconds) = (BTreeMap::<String, u64>::new(), 0.0);
    let mut buckets = BTreeMap::<u64, u64>::new();
    for trace in 1..=300_u128 {
        let service = format!("service-{}", random.u8(..5));
        let count = random.usize(1..400);
        let spans = (0..count).map(|_| {
            let name = format!("work {}", random.u8(..20));
            let ms = [1, 2, 3, 100, 15_000, 15_001][random.usize(..6)];
            let fails = random.bool();
            *calls.entry(labels(&service, &name, if fails { "ERROR" } else { "UNSET" })).or_default() += 1;
            *buckets.entry(ms).or_default() += 1;
            seconds += ms as f64 / 1e3;
            let span = Span { end_time_unix_nano: START + ms * MS, ..span(trace, &name) };
            if fails { failed(span) } else { span }
        });
        let spans: Vec<Span> = spans.collect();
        fixture.spans += spans.len() as u64;
        fixture.send(&service, spans);
    }
    assert_eq!(fixture.calls(), calls);
    assert_eq!(fixture.metrics.totals().calls, fixture.spans);
    let samples = fixture.samples();
    let sum = |part: &str| samples.iter().filter(|(name, _)| name.contains(part)).map(|(_, value)| value).sum::<f64>();
    assert!((sum("duration_seconds_sum") - seconds).abs() < 1e-6 * seconds);
    assert_eq!(sum("duration_seconds_count"), fixture.spans as f64);
    let up_to = |max: u64| buckets.iter().filter(|(ms, _)| **ms <= max).map(|(_, count)| count).sum::<u64>() as f64;
    for (bound, ms) in [("0.002", 2), ("0.004", 4), ("0.1", 100), ("15", 15_000), ("+Inf", u64::MAX)] {
        assert_eq!(sum(&format!("le=\"{bound}\"")), up_to(ms), "{bound}");
    }
}

#[test]
fn entry_spans_are_servers_consumers_and_roots() {
    let parent = 7_u64.to_be_bytes().to_vec();
    for (kind, has_parent, is_entry) in [
        (0, false, true),
        (1, true, false),
        (2, true, true),
        (3, false, true),
        (3, true, false),
        (4, true, false),
        (5, true, true),
        (9, true, false),
    ] {
        let parent_span_id = if has_parent { parent.clone() } else { Vec::new() };
        let sent = Span { kind, parent_span_id, ..span(1, "work") };
        for (section, counts) in [("{}", is_entry), ("{spans: all}", true)] {
            let mut fixture = Fixture::new(section);
            fixture.send("shop", vec![sent.clone()]);
            assert_eq!(
                fixture.metrics.totals().calls,
                u64::from(counts),
                "kind {kind}, parent {has_parent}, {section}"
            );
        }
    }
}

#[test]
fn conditions_choose_the_spans() {
    let section = "{include: ['name == \"a\"', 'name == \"b\"'], exclude: ['attributes[\"x\"] == 1']}";
    let mut fixture = Fixture::new(section);
    let excluded = with(span(1, "a"), attribute("x", Value::IntValue(1)));
    fixture.send("shop", vec![span(1, "a"), span(2, "b"), span(3, "c"), excluded]);
    assert_eq!(fixture.calls(), [(labels("shop", "a", "UNSET"), 1), (labels("shop", "b", "UNSET"), 1)].into());
}

#[test]
fn the_route_comes_before_the_name_and_ids_become_stars() {
    let route = |name: &str| {
        let with_method = with(span(1, name), string("http.request.method", "GET"));
        with(with_method, string("http.route", "/users/{id}/v2000"))
    };
    let old = with(with(span(1, "HTTP POST"), string("http.method", "POST")), string("http.route", "/pay"));
    let spans = || vec![route("GET /users/17"), old.clone(), span(1, "lock 4711"), span(1, "lock 4712")];
    let mut fixture = Fixture::new("{}");
    fixture.send("shop", spans());
    let expected = [("GET /users/{id}/v2000", 1), ("POST /pay", 1), ("lock *", 2)];
    assert_eq!(fixture.calls(), expected.map(|(name, n)| (labels("shop", name, "UNSET"), n)).into());
    for section in ["{span_names: as_sent}", "{span_names: dry_run}"] {
        let mut fixture = Fixture::new(section);
        fixture.send("shop", spans());
        let expected = [("GET /users/17", 1), ("HTTP POST", 1), ("lock 4711", 1), ("lock 4712", 1)];
        assert_eq!(fixture.calls(), expected.map(|(name, n)| (labels("shop", name, "UNSET"), n)).into());
        let normalized = if section.contains("dry_run") { 3 } else { 0 };
        assert_eq!(fixture.metrics.totals().normalized_series, normalized);
    }
}

#[test]
fn dimensions_are_of_the_span_or_else_of_its_resource() {
    let section = "{dimensions: [{name: zone.id}, {name: http.status_code, default: none}, {name: is.live}]}";
    let mut fixture = Fixture::new(section);
    let resource = vec![string("service.name", "shop"), string("zone.id", "a"), string("zone.id", "again")];
    let own = with(span(1, "x"), string("zone.id", "b"));
    let own = with(
        with(own, attribute("http.status_code", Value::IntValue(200))),
        attribute("is.live", Value::BoolValue(true)),
    );
    fixture.send_from(resource, vec![span(1, "x"), own]);
    let plain = labels("shop", "x", "UNSET");
    let expected = [
        (format!("http_status_code=\"200\",is_live=\"true\",{plain},zone_id=\"b\""), 1),
        (format!("http_status_code=\"none\",{plain},zone_id=\"a\""), 1),
    ];
    assert_eq!(fixture.calls(), expected.into());
}
