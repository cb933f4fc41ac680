//! Warnings about configurations that are valid but probably not meant. Each warning is tested with a case that it is
//! about, and with a similar case without a mistake.

use super::{load, said};
use crate::terminal::Paint;

/// Checks the messages about policies, each written as the inside of `{…}`, without their places.
fn check(cases: &[(&[&str], &[&str])]) {
    for (policies, expected) in cases {
        let lines: String = policies.iter().map(|policy| format!("    - {{{policy}}}\n")).collect();
        let said = said(&format!("tail_sampling:\n  policies:\n{lines}"));
        let messages: Vec<&str> =
            said.lines().map(|line| line.split_once(" warning: ").map_or(line, |(_, m)| m)).collect();
        assert_eq!(messages, *expected, "{policies:#?}");
    }
}

const ERRORS: &str = "name: errors, type: error";
const ALL: &str = "name: all, type: always_sample";

#[test]
fn policies_that_contradict_themselves() {
    let and = "no trace can match the policy: its policies contradict each other";
    let of_and = |parts: &str| format!("name: a, type: and, and: {{and_sub_policy: [{parts}]}}");
    let same_span = |parts: &str| format!("name: a, type: and, and: {{same_span: true, and_sub_policy: [{parts}]}}");
    let health = "{type: string_attribute, string_attribute: {key: http.route, values: [/health]}}";
    let other = "{type: string_attribute, string_attribute: {key: http.route, values: [/cart, /health]}}";
    let no_error = "{type: not, not: {not_sub_policy: {type: error}}}";
    let status = |codes: &str| format!("{{type: status_code, status_code: {{status_codes: [{codes}]}}}}");
    let latency = |range: &str| format!("{{type: latency, latency: {{{range}}}}}");
    let count = |range: &str| format!("{{type: span_count, span_count: {{{range}}}}}");
    let not = |policy: &str| format!("{{type: not, not: {{not_sub_policy: {policy}}}}}");
    let ottl = |text: &str| format!("name: a, type: ottl_condition, ottl_condition: {{span: ['{text}']}}");

    // A trace cannot have an error and no error.
    check(&[
        (&[&of_and(&format!("{{type: error}}, {no_error}"))], &[and]),
        (&[&of_and(&format!("{}, {no_error}", status("ERROR")))], &[and]),
        (&[&of_and(&format!("{}, {no_error}", status("OK")))], &[]),
    ]);
    // Ranges that do not meet.
    check(&[
        (
            &[&of_and(&format!(
                "{}, {}",
                latency("threshold_ms: 500"),
                latency("threshold_ms: 0, upper_threshold_ms: 500")
            ))],
            &[and],
        ),
        (
            &[&of_and(&format!(
                "{}, {}",
                latency("threshold_ms: 500"),
                latency("threshold_ms: 0, upper_threshold_ms: 501")
            ))],
            &[],
        ),
        (&[&of_and(&format!("{}, {}", count("min_spans: 5"), count("max_spans: 4")))], &[and]),
        (&[&of_and(&format!("{}, {}", count("min_spans: 5"), count("max_spans: 5")))], &[]),
        (&[&of_and(&format!("{}, {}", latency("threshold_ms: 500"), not(&latency("threshold_ms: 400"))))], &[and]),
        (&[&of_and(&format!("{}, {}", latency("threshold_ms: 500"), not(&latency("threshold_ms: 600"))))], &[]),
    ]);
    // Two spans can have two statuses, one span cannot.
    check(&[
        (&[&of_and(&format!("{}, {}", status("OK"), status("ERROR")))], &[]),
        (
            &[&same_span(&format!("{}, {}", status("OK"), status("ERROR")))],
            &["no trace can match the policy: its conditions contradict each other"],
        ),
        (&[&same_span(&format!("{}, {}", status("OK, ERROR"), status("ERROR")))], &[]),
        (&[&of_and(&format!("{health}, {}", not(other)))], &[and]),
        (&[&of_and(&format!("{other}, {}", not(health)))], &[]),
    ]);
    // Nothing matches `not` of everything.
    check(&[
        (
            &["name: a, type: not, not: {not_sub_policy: {type: always_sample}}"],
            &["no trace can match the policy: the policy within it matches every trace"],
        ),
        (
            &["name: a, type: not, not: {not_sub_policy: {type: span_count, span_count: {min_spans: 1}}}"],
            &["no trace can match the policy: the policy within it matches every trace"],
        ),
        (&["name: a, type: not, not: {not_sub_policy: {type: span_count, span_count: {min_spans: 2}}}"], &[]),
    ]);
    // OTTL is reported where it stands.
    check(&[
        (
            &[&ottl("name == \"a\" and name == \"b\"")],
            &["OTTL: the condition contradicts itself: no trace can match it"],
        ),
        (&[&ottl("name == \"a\" or name == \"b\"")], &[]),
    ]);
}

#[test]
fn a_part_that_matches_nothing_says_what_follows() {
    let zero = "0 % of the traces: no trace can match the policy";
    let none = "{name: b, type: not, not: {not_sub_policy: {type: always_sample}}}";
    let never = |consequence: &str| {
        format!("no trace can match the policy{consequence}: the policy within it matches every trace")
    };
    check(&[
        (&["name: a, type: probabilistic, probabilistic: {sampling_percentage: 0}"], &[zero]),
        (&["name: a, type: probabilistic, probabilistic: {sampling_percentage: 0.001%}"], &[]),
        // Each is reported once, where the part stands.
        (
            &[
                "name: a, type: and, and: {and_sub_policy: [{type: error}, {type: probabilistic, probabilistic: {sampling_percentage: 0}}]}",
            ],
            &[zero],
        ),
        (
            &[
                "name: a, type: and, and: {and_sub_policy: [{type: error}, {type: string_attribute, string_attribute: {key: k, values: []}}]}",
            ],
            &["`values` is empty: nothing matches"],
        ),
        (
            &[&format!("name: a, type: and, and: {{and_sub_policy: [{{type: error}}, {none}]}}")],
            &[&never(", so the `and` around it keeps nothing")],
        ),
        (
            &[&format!("name: a, type: drop, drop: {{drop_sub_policy: [{{type: error}}, {none}]}}"), ALL],
            &[&never(", so the `drop` around it drops nothing")],
        ),
    ]);
    let contradiction = "{type: string_attribute, string_attribute: {key: k, values: []}}";
    check(&[(
        &[&format!("name: a, type: not, not: {{not_sub_policy: {contradiction}}}")],
        &["`values` is empty: nothing matches"],
    )]);
}

#[test]
fn policies_that_other_policies_make_useless() {
    let slow = |ms: u64| format!("name: slow{ms}, type: latency, latency: {{threshold_ms: {ms}}}");
    let ratio = |percent: u64| {
        format!("name: r{percent}, type: probabilistic, probabilistic: {{sampling_percentage: {percent}}}")
    };
    let rare = "name: rare, type: rare";
    let limited = "name: l, type: and, and: {and_sub_policy: [{type: error}, {type: rate_limiting, rate_limiting: {spans_per_second: 5}}]}";
    check(&[
        (&[ALL, ERRORS], &["the policy has no effect: `all` on line 3 keeps every trace"]),
        (&[ALL, ERRORS, rare], &["the policy and the one behind it have no effect: `all` on line 3 keeps every trace"]),
        (
            &[ALL, ERRORS, rare, &slow(5)],
            &["the policy and all behind it have no effect: `all` on line 3 keeps every trace"],
        ),
        (&[ALL, rare], &["the policy has no effect: `all` on line 3 keeps every trace"]),
        (&[ERRORS, ALL], &[]),
        (
            &[&slow(500), &slow(900)],
            &["the policy has no effect: `slow500` on line 3 keeps every trace that it matches"],
        ),
        (&[&slow(900), &slow(500)], &[]),
        (&[&ratio(10), &ratio(5)], &["the policy has no effect: `r10` on line 3 keeps every trace that it matches"]),
        (&[&ratio(5), &ratio(10)], &[]),
        (&[&ratio(100), ERRORS], &["the policy has no effect: `r100` on line 3 keeps every trace"]),
        (&[&ratio(99), ERRORS], &[]),
        (&[ERRORS, limited], &["the policy has no effect: `errors` on line 3 keeps every trace that it matches"]),
        // A limited policy leaves traces for those behind it.
        (&[limited, ERRORS], &[]),
        (&[rare, ERRORS], &[]),
    ]);
    let composite = |subs: &str| {
        format!(
            "name: c, type: composite, composite: {{max_total_spans_per_second: 100, composite_sub_policy: [{subs}]}}"
        )
    };
    check(&[
        (
            &[&composite("{name: x, type: always_sample}, {name: y, type: error}")],
            &["the policy has no effect: `x` on line 3 takes every trace"],
        ),
        (&[&composite("{name: y, type: error}, {name: x, type: always_sample}")], &[]),
    ]);
}

#[test]
fn policies_of_type_drop_that_drop_too_much() {
    let health = "{type: string_attribute, string_attribute: {key: http.route, values: [/health]}}";
    let no_error = "{type: not, not: {not_sub_policy: {type: error}}}";
    let drop = |parts: &str| format!("name: d, type: drop, drop: {{drop_sub_policy: [{parts}]}}");
    let status_alone = "{type: numeric_attribute, numeric_attribute: {key: http.response.status_code, min_value: 500}}";
    let status = |range: &str| {
        format!("name: h5, type: numeric_attribute, numeric_attribute: {{key: http.response.status_code, {range}}}")
    };
    let eats = "the policy also drops traces with an error, which `errors` keeps";
    let of_health = "name: h, type: string_attribute, string_attribute: {key: http.route, values: [/health]}";
    let of_more = "name: h, type: string_attribute, string_attribute: {key: http.route, values: [/health, /cart]}";
    check(&[
        (&[&drop(health), ERRORS], &[eats]),
        (&[&drop(&format!("{health}, {no_error}")), ERRORS], &[]),
        // No policy keeps errors.
        (&[&drop(health), "name: slow, type: latency, latency: {threshold_ms: 500}"], &[]),
        (
            &[&drop(health), "name: e, type: identical_errors"],
            &["the policy also drops traces with an error, which `e` keeps"],
        ),
        // Errors that are kept by the status of one key.
        (
            &[&drop(health), &status("min_value: 500")],
            &["the policy also drops traces with an error, which `h5` keeps"],
        ),
        (
            &[&drop(health), &status("min_value: 500, max_value: 599")],
            &["the policy also drops traces with an error, which `h5` keeps"],
        ),
        (&[&drop(health), &status("min_value: 504")], &[]),
        (
            &[
                &drop(&format!("{health}, {{type: not, not: {{not_sub_policy: {status_alone}}}}}")),
                &status("min_value: 500"),
            ],
            &[],
        ),
        // HTTP errors alone.
        (
            &[
                &drop("{type: status_code, status_code: {status_codes: [OK]}}"),
                "name: errors, type: error, error: {status: false, rpc: false}",
            ],
            &[eats],
        ),
        (
            &[
                &drop(&format!(
                    "{health}, {{type: not, not: {{not_sub_policy: {{type: error, error: {{status: false}}}}}}}}"
                )),
                "name: errors, type: error, error: {status: false, rpc: false}",
            ],
            &[],
        ),
        (&[&drop("{type: always_sample}"), ERRORS], &["the policy drops every trace, so that nothing is kept"]),
        (&[&drop(health), of_health], &["the policy keeps no trace: `d` drops every trace that it matches"]),
        (&[&drop(health), of_more], &[]),
    ]);
}

#[test]
fn regular_expressions_that_are_found_in_every_value() {
    let of = |values: &str| {
        format!(
            "name: a, type: string_attribute, string_attribute: {{key: k, enabled_regex_matching: true, values: [{values}]}}"
        )
    };
    let all = "the regular expression is found in every value";
    let ottl = |condition: &str| format!("name: a, type: ottl_condition, ottl_condition: {{span: ['{condition}']}}");
    let of_ottl = "OTTL: the regular expression is found in every value";
    check(&[
        (&[&ottl("IsMatch(name, \".*\")")], &[of_ottl]),
        (&[&ottl("kind == SPAN_KIND_SERVER and IsMatch(attributes[\"k\"], \"a*\")")], &[of_ottl]),
        (&[&ottl("IsMatch(name, \"^/api/.*\")")], &[]),
    ]);
    check(&[
        (&[&of("'.*'")], &[all]),
        (&[&of("'^/api', '(x|y)*'")], &[all]),
        (&[&of("'^/api/.*$', 'x+'")], &[]),
        (&["name: a, type: string_attribute, string_attribute: {key: k, values: ['.*']}"], &[]),
    ]);
}

#[test]
fn limits_below_one_trace() {
    let bytes = |limits: &str| format!("name: a, type: bytes_limiting, bytes_limiting: {{{limits}}}");
    let spans = |limits: &str| format!("name: a, type: rate_limiting, rate_limiting: {{{limits}}}");
    let composite = |total: u64, shares: &str| {
        format!(
            "name: a, type: composite, composite: {{max_total_spans_per_second: {total}, composite_sub_policy: \
             [{{name: x, type: error}}, {{name: y, type: always_sample}}], rate_allocation: [{shares}]}}"
        )
    };
    check(&[
        (&[&bytes("bytes_per_second: 569")], &["569 bytes are less than one span, which has about 570"]),
        (
            &[&bytes("bytes_per_second: 600")],
            &["the bucket holds 1,200 bytes, less than one trace, which has about 5,700"],
        ),
        (&[&bytes("bytes_per_second: 600, burst_capacity: 5700")], &[]),
        (&[&bytes("bytes_per_second: 2850")], &[]),
        (&[&spans("spans_per_second: 1")], &["the bucket holds 2 spans, less than one trace, which has about 10"]),
        (
            &[&spans("spans_per_second: 100, burst_capacity: 9")],
            &["the bucket holds 9 spans, less than one trace, which has about 10"],
        ),
        (&[&spans("spans_per_second: 5")], &[]),
        (&[&spans("spans_per_second: 1, burst_capacity: 10")], &[]),
        (
            &[&bytes("bytes_per_second: 1000, burst_capacity: 10")],
            &["10 bytes are less than one span, which has about 570"],
        ),
        (&[&bytes("bytes_per_second: 10000, burst_capacity: 0")], &[]),
        (
            &[&composite(100, "{policy: x, percent: 0}")],
            &["0 % is not nothing: the policy gets the total divided by all, 50 spans a second"],
        ),
        (
            &[&composite(10, "{policy: x, percent: 9}")],
            &["9 % of 10 is less than a span in a second, and is taken as one"],
        ),
        (&[&composite(10, "{policy: x, percent: 10}")], &[]),
        (&[&composite(1, "")], &["1 spans a second are less than one for each of 2 policies"]),
        (&[&composite(2, "")], &[]),
    ]);
    for (text, expected) in [
        ("tail_sampling: {spans_max: 1}", "1:28+1 warning: each trace is decided at its first span"),
        ("tail_sampling: {spans_max: 2}", ""),
        (
            "tail_sampling: {spans_max: 100, policies: [{name: a, type: span_count, span_count: {min_spans: 101}}]}",
            "1:51+1 warning: `min_spans: 101` is more than `spans_max`: a trace is decided when it has 100 spans",
        ),
        (
            "tail_sampling: {spans_max: 100, policies: [{name: a, type: and, and: {and_sub_policy: [{type: error}, {type: span_count, span_count: {min_spans: 200}}]}}]}",
            "1:51+1 warning: `min_spans: 200` is more than `spans_max`: a trace is decided when it has 100 spans",
        ),
        ("tail_sampling: {spans_max: 100, policies: [{name: a, type: span_count, span_count: {min_spans: 100}}]}", ""),
        (
            "tail_sampling: {spans_max: 100, shadow: {policies: [{name: a, type: span_count, span_count: {min_spans: 101}}]}}",
            "1:60+1 warning: `min_spans: 101` is more than `spans_max`: a trace is decided when it has 100 spans",
        ),
        (
            "tail_sampling: {rescue: {max_bytes: 100}}",
            "1:37+3 warning: 100 bytes are less than one span: no trace can be rescued",
        ),
        ("tail_sampling: {rescue: {max_bytes: 0}}", ""),
    ] {
        assert_eq!(said(text), expected, "{text}");
    }
}

#[test]
fn waits_shorter_than_a_threshold() {
    let latency = |rest: &str| format!("name: a, type: latency, latency: {{{rest}}}");
    let wait = "`decision_wait` runs from the first span: it can be over before a trace is this slow";
    let of_cart =
        |ms: u64| latency(&format!("threshold_ms: 100, of: root, thresholds: [{{service: cart, threshold_ms: {ms}}}]"));
    check(&[
        (&[&latency("threshold_ms: 10000")], &[wait]),
        (&[&latency("threshold_ms: 9999")], &[]),
        (&[&of_cart(10_000)], &[wait]),
        (&[&of_cart(9_999)], &[]),
        (&[&latency("percentile: 99, threshold_ms: 10000")], &[wait]),
        (&[&latency("percentile: 99, threshold_ms: 9999")], &[]),
    ]);
    let bounded = |ms: u64| {
        latency(&format!(
            "threshold_ms: 100, upper_threshold_ms: 500, of: root, thresholds: [{{service: cart, threshold_ms: {ms}}}]"
        ))
    };
    check(&[
        (&[&bounded(500)], &["nothing matches here: the threshold is not below `upper_threshold_ms`"]),
        (&[&bounded(499)], &[]),
    ]);
}

#[test]
fn the_place_and_the_remedy() {
    let text = "tail_sampling:\n  policies:\n    - name: all\n      type: always_sample\n    - name: errors\n      type: error\n";
    let loaded = load(text).unwrap();
    let rendered = super::super::render(&loaded.warnings, text, "c.yaml", Paint::PLAIN);
    assert_eq!(
        rendered,
        "warning: the policy has no effect: `all` on line 3 keeps every trace\n --> c.yaml:5:13\n  |\n5 |     - name: errors\n  \
         |             ^^^^^^\n  = help: take it out, or put it before `all`\n\n"
    );
}

#[test]
fn many_large_policies_are_compared_in_bounded_time() {
    let values: Vec<String> = (0..200).map(|n| format!("v{n}")).collect();
    let policy = |n: usize| {
        format!(
            "    - {{name: p{n}, type: and, and: {{and_sub_policy: [{{type: string_attribute, string_attribute: {{key: k{n}, values: [{}]}}}}, \
             {{type: error}}, {{type: not, not: {{not_sub_policy: {{type: string_attribute, string_attribute: {{key: k, values: [{}]}}}}}}}}]}}}}\n",
            values.join(", "),
            values.join(", ")
        )
    };
    let policies: String = (0..100).map(policy).collect();
    assert_eq!(said(&format!("tail_sampling:\n  policies:\n{policies}")), "");
}
