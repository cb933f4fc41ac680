use super::*;
use crate::config::load;

#[test]
fn validate_says_what_a_fleet_changes() {
    let text = "
tail_sampling:
  policies:
    - {name: errors, type: error}
    - {name: few, type: and, and: {and_sub_policy: [{name: a, type: error}, {name: b, type: rate_limiting, rate_limiting: {spans_per_second: 10}}]}}
    - {name: first, type: rare, rare: {key: [service], max_keys: 10}}
    - {name: usual, type: adaptive, adaptive: {key: [service], goal_percentage: 10}}
    - {name: slow, type: latency, latency: {threshold_ms: 5}}
    - {name: calm, type: not, not: {not_sub_policy: {name: e, type: error}}}
    - {name: both, type: and, and: {and_sub_policy: [{name: a, type: error}, {name: b, type: trace_flags}]}}
";
    let changes = |text: &str| changes(&load(text, &|_| None).unwrap().settings);
    assert_eq!(changes(text), Vec::<String>::new());
    let found = changes(&format!("{text}fleet: {{url: 'redis://valkey'}}\n"));
    let expected = [
        "a fleet: its members decide as one, and spans of a trace may come to any of them",
        "  limits that its members share: few",
        "  each member remembers its own part of the traces, so N of them keep more: first",
        "  each member learns from its own part of the traces: usual",
        "  while the engine is away, each member sees only its own spans of a trace: slow, calm, both",
    ];
    assert_eq!(found, expected);
}

#[test]
fn validate_warns_of_a_fleet_that_can_rescue_nothing() {
    let found = |text: &str| {
        let loaded = load(text, &|_| None).unwrap();
        let warnings = warnings(&loaded, text);
        warnings.iter().map(|warning| (warning.line, warning.column, warning.length)).collect::<Vec<_>>()
    };
    let text = |window: &str, more: &str| {
        format!("tail_sampling: {{policies: [{{name: e, type: error}}], rescue: {{window: {window}}}}}\n{more}")
    };
    let fleet = "fleet: {url: 'redis://valkey'}\n";
    assert_eq!(found(&text("0s", fleet)), [(1, 62, 6)]);
    assert_eq!(found(&text("0s", "")), []);
    assert_eq!(found(&text("1s", fleet)), []);
}
