use super::*;
use crate::config::load;

fn shown(text: &str) -> String {
    let environment = |name: &str| (name == "WAIT").then(|| "7s".to_owned());
    let loaded = load(text, &environment).unwrap_or_else(|problems| panic!("{problems}"));
    self::text(&ConfigAnswer::new("c.yaml".to_owned(), &loaded.shown), Paint::PLAIN)
}

#[test]
fn each_value_has_its_origin() {
    let shown =
        shown("otlp:\n  listen: [127.0.0.1:0]\ntail_sampling:\n  decision_wait: ${env:WAIT}\n  spans_max: 5_000\n");
    for line in [
        "otlp.listen = [127.0.0.1:0]  (c.yaml:2)",
        "otlp.max_request_bytes = 16MiB  (default)",
        "otlp.auth = none  (default)",
        "tail_sampling.decision_wait = 7s  (c.yaml:4, environment)",
        "tail_sampling.spans_max = 5000  (c.yaml:5)",
        "tail_sampling.rescue.window = 1m  (default)",
        "journal = none  (default)",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is missing:\n{shown}");
    }
}

#[test]
fn a_value_is_shown_as_it_is_in_force() {
    let shown = shown("tail_sampling: {decision_cache: {sampled_cache_size: 0}}\n");
    assert!(shown.contains("tail_sampling.decision_cache.sampled_cache_size = 1000  (c.yaml:1)"), "{shown}");
}

#[test]
fn policies_are_shown_with_the_defaults_of_their_types() {
    let shown = shown(
        "tail_sampling:\n  policies:\n    - {name: slow, type: latency, latency: {threshold_ms: 500}}\n    - name: both\n      type: and\n      and:\n        and_sub_policy:\n          - {name: e, type: error}\n",
    );
    for line in [
        "tail_sampling.policies[0].name = slow  (c.yaml:3)",
        "tail_sampling.policies[0].latency.threshold_ms = 500  (c.yaml:3)",
        "tail_sampling.policies[1].and.and_sub_policy[0].type = error  (c.yaml:8)",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is missing:\n{shown}");
    }
    assert!(shown.contains("tail_sampling.policies[0].latency.upper_threshold_ms = 0  (default)"), "{shown}");
}

#[test]
fn secrets_are_masked() {
    let secret = "s3cret-s3cret-s3cret";
    let shown = shown(&format!(
        "otlp: {{auth: {{bearer: {{tokens: [{secret}]}}}}}}\napi: {{listen: '127.0.0.1:9', auth: {{bearer: {{tokens: [{secret}]}}}}}}\nexport: {{api: otlp, endpoint: 'http://tempo:4317', headers: {{x-key: {secret}}}}}\n"
    ));
    assert!(!shown.contains("s3cret"), "{shown}");
    for line in ["otlp.auth.bearer.tokens = [***]", "api.auth.bearer.tokens = [***]", "export.headers.x-key = ***"] {
        assert!(shown.contains(line), "{line} is missing:\n{shown}");
    }
}

#[test]
fn every_value_stays_on_one_line() {
    for (text, expected) in
        [("a", "a"), ("", "\"\""), ("none", "\"none\""), ("a\nb", "\"a\\nb\""), ("a, b", "\"a, b\"")]
    {
        assert_eq!(printable(text), expected);
    }
}

#[test]
fn a_default_in_a_reference_is_from_the_file() {
    let shown = shown("memory: {limit: '${env:LIMIT:-1GiB}'}\ntail_sampling: {decision_wait: '${env:WAIT:-9s}'}\n");
    assert!(shown.contains("memory.limit = 1GiB  (c.yaml:1)\n"), "{shown}");
    assert!(shown.contains("tail_sampling.decision_wait = 7s  (c.yaml:2, environment)\n"), "{shown}");
}

#[test]
fn values_have_their_types_in_json() {
    let text = "tail_sampling:\n  spans_max: 5_000\n  policies:\n    - {name: '17', type: rare}\n    - {name: b, type: latency, latency: {threshold_ms: 250}}\n";
    let loaded = load(text, &|_| None).unwrap();
    let json = serde_json::to_value(ConfigAnswer::new("c.yaml".to_owned(), &loaded.shown)).unwrap();
    let value = |key: &str| {
        let settings = json["settings"].as_array().unwrap();
        settings.iter().find(|setting| setting["key"] == key).unwrap_or_else(|| panic!("{key}: {json:#}"))["value"]
            .clone()
    };
    assert_eq!(value("otlp.reflection"), false);
    assert_eq!(value("tail_sampling.spans_max"), 5_000);
    assert_eq!(value("tail_sampling.policies[0].name"), "17");
    assert_eq!(value("tail_sampling.policies[1].latency.threshold_ms"), 250);
    assert_eq!(value("tail_sampling.policies[1].latency.upper_threshold_ms"), 0, "a default");
    assert_eq!(value("tail_sampling.policies[1].latency.thresholds"), serde_json::json!([]));
    assert_eq!(value("tail_sampling.policies[1].latency.key"), serde_json::json!(["service", "route"]));
    assert_eq!(value("tail_sampling.decision_wait"), "10s");
}
