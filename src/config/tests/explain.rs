//! Policies in plain sentences: every type, nested ones too.

use std::collections::BTreeSet;

use super::*;

/// Returns the sentences about the only policy, which is written as the inside of `{name: n, …}`.
fn explained(policy: &str) -> String {
    let text = format!("tail_sampling:\n  policies:\n    - {{name: n, {policy}}}\n    - {{name: last, type: rare}}\n");
    let loaded = load(&text).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
    let words = explain(&text, &env, &loaded.settings, 0).policies.remove(0);
    assert_eq!(words.name, "n");
    words.sentences.join("\n")
}

const CASES: [(&str, &str); 46] = [
    ("type: always_sample", "Keeps every trace."),
    (
        "type: error",
        "Keeps a trace in which a span has status ERROR, an HTTP status of 500 or more or a gRPC status that means a fault of the server.",
    ),
    ("type: error, error: {http: false, rpc: false}", "Keeps a trace in which a span has status ERROR."),
    ("type: status_code, status_code: {status_codes: [ERROR]}", "Keeps a trace in which a span has status ERROR."),
    (
        "type: status_code, status_code: {status_codes: [OK, UNSET]}",
        "Keeps a trace in which a span has status OK or UNSET.",
    ),
    (
        "type: string_attribute, string_attribute: {key: http.route, values: [/a, /b, /c]}",
        "Keeps a trace in which a span or its resource has an attribute `http.route` with the value `/a`, `/b` or `/c`.",
    ),
    (
        "type: string_attribute, string_attribute: {key: k, values: ['^/api/'], enabled_regex_matching: true}",
        "Keeps a trace in which a span or its resource has an attribute `k` in which the regular expression `^/api/` is found.",
    ),
    (
        "type: string_attribute, string_attribute: {key: k, values: [a], invert_match: true}",
        "Keeps a trace in which no span and no resource has an attribute `k` with the value `a`.",
    ),
    (
        "type: numeric_attribute, numeric_attribute: {key: n, min_value: 5, max_value: 1000}",
        "Keeps a trace in which a span or its resource has an attribute `n` from 5 to 1,000.",
    ),
    (
        "type: numeric_attribute, numeric_attribute: {key: n, min_value: 5, max_value: 5}",
        "Keeps a trace in which a span or its resource has an attribute `n` that is 5.",
    ),
    (
        "type: numeric_attribute, numeric_attribute: {key: n, min_value: 0.5}",
        "Keeps a trace in which a span or its resource has an attribute `n` of 0.5 or more.",
    ),
    (
        "type: numeric_attribute, numeric_attribute: {key: n, max_value: -5, invert_match: true}",
        "Keeps a trace in which no span and no resource has an attribute `n` of -5 or less.",
    ),
    (
        "type: boolean_attribute, boolean_attribute: {key: k, value: true}",
        "Keeps a trace in which a span or its resource has an attribute `k` with the value true.",
    ),
    (
        "type: boolean_attribute, boolean_attribute: {key: k}",
        "Keeps a trace in which a span or its resource has an attribute `k` with the value false.",
    ),
    (
        "type: trace_state, trace_state: {key: vendor, values: [x, y]}",
        "Keeps a trace in which a span's tracestate has an entry `vendor` with the value `x` or `y`.",
    ),
    ("type: trace_flags", "Keeps a trace in which a span has the W3C flag \"sampled\"."),
    (
        "type: ottl_condition, ottl_condition: {span: ['name == \"a\"', 'kind == 2']}",
        "Keeps a trace in which a span fulfils `name == \"a\"` or `kind == 2`.",
    ),
    (
        "type: ottl_condition, ottl_condition: {span: ['kind == 2'], spanevent: ['name == \"exception\"']}",
        "Keeps a trace in which a span fulfils `kind == 2`, or in which an event of a span fulfils `name == \"exception\"`.",
    ),
    (
        "type: latency, latency: {threshold_ms: 1000}",
        "Keeps a trace that took longer than 1,000 ms, from its earliest start to its latest end.",
    ),
    (
        "type: latency, latency: {threshold_ms: 100, upper_threshold_ms: 5000}",
        "Keeps a trace that took longer than 100 ms and at most 5,000 ms, from its earliest start to its latest end.",
    ),
    (
        "type: latency, latency: {threshold_ms: 100, of: root}",
        "Keeps a trace in which a root span took longer than 100 ms.",
    ),
    (
        "type: latency, latency: {threshold_ms: 100, of: any_span}",
        "Keeps a trace in which a span took longer than 100 ms.",
    ),
    (
        "type: latency, latency: {threshold_ms: 100, of: synchronous, thresholds: [{service: cart, route: /x, threshold_ms: 50}, {route: /y, threshold_ms: 10}]}",
        "Keeps a trace in which a span for which a caller waits took longer than 100 ms; 50 ms for the service `cart` and the route `/x`; 10 ms for the route `/y`.",
    ),
    (
        "type: latency, latency: {percentile: 99.5%}",
        "Keeps a trace whose entry span took longer than 99.5 % of those with the same service and route.",
    ),
    (
        "type: latency, latency: {percentile: 99, threshold_ms: 20, key: [tenant]}",
        "Keeps a trace whose entry span took longer than 99 % of those with the same `tenant`, and longer than 20 ms.",
    ),
    ("type: span_count, span_count: {min_spans: 1000}", "Keeps a trace with at least 1,000 spans."),
    ("type: span_count, span_count: {max_spans: 5}", "Keeps a trace with at most 5 spans."),
    ("type: span_count, span_count: {min_spans: 2, max_spans: 5}", "Keeps a trace with 2 to 5 spans."),
    (
        "type: probabilistic, probabilistic: {sampling_percentage: 5}",
        "Keeps a trace that is among 5 % of all traces, chosen by the trace id.",
    ),
    (
        "type: probabilistic, probabilistic: {sampling_percentage: 0.5%}",
        "Keeps a trace that is among 0.5 % of all traces, chosen by the trace id.",
    ),
    (
        "type: rate_limiting, rate_limiting: {spans_per_second: 5000}",
        "Keeps a trace that fits into 5,000 spans a second, or twice as many at once.",
    ),
    (
        "type: bytes_limiting, bytes_limiting: {bytes_per_second: 5000, burst_capacity: 9000}",
        "Keeps a trace that fits into 5,000 bytes a second, or 9,000 at once.",
    ),
    (
        "type: and, and: {and_sub_policy: [{type: trace_flags}, {type: span_count, span_count: {min_spans: 3}}]}",
        "Keeps a trace in which a span has the W3C flag \"sampled\", and with at least 3 spans.",
    ),
    (
        "type: and, and: {same_span: true, and_sub_policy: [{type: trace_flags}, {type: status_code, status_code: {status_codes: [ERROR]}}]}",
        "Keeps a trace in which a span has the W3C flag \"sampled\", and in which a span has status ERROR, all on one and the same span.",
    ),
    (
        "type: not, not: {not_sub_policy: {type: trace_flags}}",
        "Keeps a trace that is not one in which a span has the W3C flag \"sampled\".",
    ),
    (
        "type: not, not: {not_sub_policy: {type: probabilistic, probabilistic: {sampling_percentage: 5%}}}",
        "Keeps a trace that is among 95 % of all traces, chosen by the trace id.",
    ),
    (
        "type: and, and: {and_sub_policy: [{type: trace_flags}, {type: not, not: {not_sub_policy: {type: span_count, span_count: {min_spans: 3}}}}]}",
        "Keeps a trace in which a span has the W3C flag \"sampled\", and that is not one with at least 3 spans.",
    ),
    (
        "type: drop, drop: {drop_sub_policy: [{type: span_count, span_count: {max_spans: 1}}, {type: not, not: {not_sub_policy: {type: trace_flags}}}]}",
        "Drops a trace with at most 1 span, and that is not one in which a span has the W3C flag \"sampled\", whatever other policies say.",
    ),
    (
        "type: composite, composite: {max_total_spans_per_second: 1000, policy_order: [b, a], composite_sub_policy: [{name: a, type: always_sample}, {name: b, type: trace_flags}], rate_allocation: [{policy: b, percent: 30}]}",
        "Keeps at most 1,000 spans a second. The first of these policies that matches a trace decides, within its share:\n  \
         `b` (30 % of them) keeps a trace in which a span has the W3C flag \"sampled\".\n  \
         `a` (1/2 of them) keeps a trace of any kind.",
    ),
    (
        "type: adaptive, adaptive: {goal_percentage: 5}",
        "Keeps a trace that is among 5 % of all traces, in a ratio that is lower for frequent values of service and route than for rare ones.",
    ),
    (
        "type: adaptive, adaptive: {goal_spans_per_second: 2000, key: [tenant]}",
        "Keeps a trace that is among as many traces as have 2,000 spans a second, in a ratio that is lower for frequent values of `tenant` than for rare ones.",
    ),
    ("type: rare", "Keeps a trace that is the first one of its service, route and status in a minute."),
    (
        "type: rare, rare: {traces_per_minute: 3, key: [name]}",
        "Keeps a trace that is among the first 3 of its name in a minute.",
    ),
    (
        "type: budget, budget: {spans_per_month: 100_000_000}",
        "Keeps a trace that fits into the rest of 100,000,000 spans a month, after all that other policies keep, in a ratio that is lower for frequent values of service and route than for rare ones.",
    ),
    (
        "type: budget, budget: {dollars_per_month: 20}",
        "Keeps a trace that fits into the rest of $20 a month, at $0.20 for a million spans after the first 2.5 million, after all that other policies keep, in a ratio that is lower for frequent values of service and route than for rare ones.",
    ),
    (
        "type: identical_errors, identical_errors: {http: false, rpc: false}",
        "Keeps a trace in which a span has status ERROR; of those with the same service, name and exception, the first 10 in 1m and 10 % of the others.",
    ),
];

#[test]
fn every_type_has_its_sentence() {
    for (policy, expected) in CASES {
        assert_eq!(explained(policy), expected, "{policy}");
    }
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    let place = "/properties/tail_sampling/properties/policies/items/properties/type/anyOf/0/enum";
    let types: BTreeSet<&str> =
        schema.pointer(place).unwrap().as_array().unwrap().iter().filter_map(|t| t.as_str()).collect();
    let covered = CASES.map(|(policy, _)| policy.strip_prefix("type: ").unwrap().split(',').next().unwrap());
    assert_eq!(types, covered.into_iter().collect());
}

#[test]
fn long_lists_are_cut() {
    let values = (0..25).map(|n| format!("v{n}")).collect::<Vec<_>>().join(", ");
    let words = explained(&format!("type: string_attribute, string_attribute: {{key: k, values: [{values}]}}"));
    assert!(words.ends_with("`v18`, `v19` or 5 more."), "{words}");
}

#[test]
fn the_whole_says_when_and_where() {
    let whole = |text: &str| explain(text, &env, &load(text).unwrap().settings, 0).whole;
    assert_eq!(
        whole("export: {endpoint: embedded}"),
        [
            "A trace is decided 10s after its first span.",
            "It is kept if at least one policy keeps it.",
            "A dropped trace is kept after all if a span that comes within 1m is evidence for it, as long as memory has it.",
            "Kept traces are written to the embedded Cloud Trace.",
        ]
    );
    let text = "tail_sampling:\n  decision_wait: 1m\n  decision_wait_after_root_received: 2s\n  sample_on_first_match: true\n  \
                rescue: {window: 0s}\n  policies:\n    - {name: a, type: drop, drop: {drop_sub_policy: [{type: trace_flags}]}}\n    \
                - {name: b, type: always_sample}\n";
    assert_eq!(
        whole(text),
        [
            "A trace is decided 1m after its first span, or 2s after its root span, if that is earlier.",
            "It is kept if at least one policy keeps it and none drops it.",
            "The first policy that keeps it is the one that its spans name.",
            "Kept traces are written to https://cloudtrace.googleapis.com.",
        ]
    );
}

#[test]
fn without_policies_those_of_an_empty_configuration_are_explained() {
    let names: Vec<String> =
        explain("", &env, &Settings::default(), 0).policies.into_iter().map(|policy| policy.name).collect();
    assert_eq!(names, ["errors", "slow", "baseline"]);
    let written =
        format!("tail_sampling:\n  policies:\n{}", super::super::explain::DEFAULT_POLICIES.replace("- {", "    - {"));
    assert_eq!(settings(&written).tail_sampling.policies, Settings::default().tail_sampling.policies);
}

/// Returns the explanation of `tail_sampling` on 2025-12-01 at midnight in UTC.
fn on_december_first(tail_sampling: &str) -> Explanation {
    let text = format!("tail_sampling: {{{tail_sampling}}}\nexport: {{endpoint: embedded}}");
    explain(&text, &env, &load(&text).unwrap().settings, 1_764_547_200)
}

#[test]
fn shadow_policies_would_keep_and_drop() {
    let words = on_december_first(
        "policies: [{name: a, type: always_sample}, {name: b, type: error, shadow: true}], shadow: {policies: \
         [{name: c, type: drop, drop: {drop_sub_policy: [{type: trace_flags}]}}]}",
    );
    let is_shadow = "It is a shadow policy: evaluated and counted, but it decides nothing.";
    let sentences: Vec<(&str, Vec<&str>)> = words
        .policies
        .iter()
        .map(|policy| (policy.name.as_str(), policy.sentences.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(sentences[0], ("a", vec!["Keeps every trace."]));
    let [first, second] = sentences[1].1.as_slice() else { panic!("{sentences:?}") };
    assert!(first.starts_with("Would keep a trace in which a span has status ERROR"), "{first}");
    assert_eq!(*second, is_shadow);
    let dropped = "Would drop a trace in which a span has the W3C flag \"sampled\", whatever other policies say.";
    assert_eq!(sentences[2], ("c", vec![dropped, is_shadow]));
    // The shadow policy that would drop changes no verdict.
    assert_eq!(words.whole[1], "It is kept if at least one policy keeps it.");
}

#[test]
fn a_policy_counts_only_until_its_end() {
    let with_end =
        |end: &str| on_december_first(&format!("policies: [{{name: a, type: always_sample, until: {end}}}]"));
    let lasting = with_end("2025-12-01T00:00:01Z");
    assert_eq!(lasting.policies[0].sentences, ["Keeps every trace.", "It counts until 2025-12-01T00:00:01Z."]);
    assert_eq!(lasting.whole[1], "It is kept if at least one policy keeps it.");
    let ended = with_end("2025-12-01T00:00:00Z");
    let end = "It ended at 2025-12-01T00:00:00Z and does not count any more.";
    assert_eq!(ended.policies[0].sentences, ["Kept every trace.", end]);
    let whole = [
        "A trace is decided 10s after its first span.",
        "No trace is kept: no policy keeps any.",
        "Kept traces are written to the embedded Cloud Trace.",
    ];
    assert_eq!(ended.whole, whole, "and nothing brings a dropped trace back");
}

#[test]
fn a_dry_run_writes_all_traces() {
    let words = on_december_first("dry_run: true, policies: [{name: a, type: error}]");
    assert_eq!(
        words.whole.last().unwrap(),
        "All traces are written to the embedded Cloud Trace, dropped ones too: this is a dry run, which annotates and \
         counts verdicts."
    );
}
