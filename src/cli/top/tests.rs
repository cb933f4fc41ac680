use super::*;
use crate::api::answers::{DecidedAmounts, SpanCounts};

fn answer(uptime_ms: u64, n: u64) -> PoliciesAnswer {
    let policy = |policy: &str, kept_traces, dropped_traces| PolicyCounts {
        policy: policy.into(),
        kept_traces,
        dropped_traces,
        triggers: TriggerCounts::new(),
        amounts: DecidedAmounts::default(),
    };
    let service = |service: &str, spans| ServiceCounts {
        service: service.into(),
        spans,
        late_spans: n,
        amounts: DecidedAmounts::default(),
    };
    PoliciesAnswer {
        uptime_ms,
        policies: vec![policy("errors", 10 * n, 0), policy("health", 0, 4 * n)],
        dropped_without_policy: [("decision_wait".to_owned(), 100 * n)].into(),
        without_policy: DecidedAmounts::default(),
        shadow: vec![ShadowCounts {
            policy: "tried".into(),
            effect: "drop".into(),
            traces: 6 * n,
            spans: 60 * n,
            dollars: n as f64,
        }],
        spans: SpanCounts { received: 1_000 * n, held: 7, ..SpanCounts::default() },
        services: vec![service("idle", 3), service("api", 500 * n)],
    }
}

fn table(before: &PoliciesAnswer, after: &PoliciesAnswer, url: &str) -> String {
    Rates::new(before, after).table(url)
}

#[test]
fn rates_are_those_of_the_time_between() {
    let table = self::table(&answer(60_000, 1), &answer(62_000, 2), "http://d");
    let words = |start: &str| -> Vec<String> {
        let line = table.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {table}"));
        line.split_whitespace().map(str::to_owned).collect()
    };
    assert!(table.starts_with("http://d, up 1 min 2 s, rates of 2.0 s\nspans a second: received 500.0,"), "{table}");
    assert_eq!(words("errors"), ["errors", "5.0", "0.0", "20", "0"]);
    assert_eq!(words("health"), ["health", "0.0", "2.0", "0", "8"]);
    assert_eq!(words("(kept by no policy)")[4..], ["50.0", "200"]);
    assert_eq!(words("tried"), ["tried", "drop", "3.0", "12", "2.00"]);
    assert_eq!(words("api"), ["api", "250.0", "0.5", "1000", "2"]);
    assert!(table.find("\napi") < table.find("\nidle"), "the busiest service is the first: {table}");
}

#[test]
fn a_daemon_that_has_started_again_counts_from_zero() {
    let table = self::table(&answer(60_000, 9), &answer(2_000, 1), "http://d");
    assert!(table.contains("received 500.0,"), "{table}");
    assert!(self::table(&answer(0, 0), &answer(0, 0), "http://d").contains("received 0.0,"), "no time at all");
}

#[test]
fn long_and_many_names_fit() {
    let mut after = answer(1_000, 1);
    after.shadow[0] = ShadowCounts { policy: "s".repeat(100), effect: "e".repeat(100), ..after.shadow[0].clone() };
    after.services = (0..30)
        .map(|n| ServiceCounts {
            service: format!("{n}\n{}", "x".repeat(100)),
            spans: n,
            late_spans: 0,
            amounts: DecidedAmounts::default(),
        })
        .collect();
    let table = self::table(&answer(0, 0), &after, "http://d");
    assert!(table.ends_with("(10 more services)\n"), "{table}");
    assert!(table.lines().skip(2).all(|line| line.chars().count() <= 97), "{table}");
}

#[test]
fn the_rates_are_json_as_well() {
    let (before, after) = (answer(60_000, 1), answer(62_000, 2));
    let json = Rates::new(&before, &after).json();
    assert_eq!(json["received_spans_per_second"], 500.0);
    assert_eq!(json["policies"][0]["kept_traces_per_second"], 5.0);
    assert_eq!(json["dropped_without_policy"], 200);
    let shadow = json!({"policy": "tried", "effect": "drop", "traces_per_second": 3.0, "traces": 12, "spans": 120, "dollars": 2.0});
    assert_eq!(json["shadow"][0], shadow);
    assert_eq!((&json["services"][0]["service"], &json["services"][1]["late_spans"]), (&"api".into(), &2.into()));
    assert_eq!(json.to_string().lines().count(), 1);
}

#[test]
fn any_counts_of_a_daemon_have_rates() {
    let mut after = answer(1_000, 1);
    after.dropped_without_policy = [("a".to_owned(), u64::MAX), ("b".to_owned(), u64::MAX)].into();
    after.services = (0..100_000)
        .map(|n| ServiceCounts { service: n.to_string(), spans: n, late_spans: 0, amounts: DecidedAmounts::default() })
        .collect();
    assert!(table(&after, &after, "http://d").contains(&u64::MAX.to_string()));
}
