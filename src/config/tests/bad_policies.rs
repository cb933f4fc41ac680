//! The messages about bad policies: `line:column+length message`, one problem a line.

use super::bad::check;
use super::said;

/// Checks the problems of the policy `{name: a, type: POLICY}`, with columns from `type`.
fn check_policies(cases: &[(&str, &str)]) {
    for (policy, expected) in cases {
        let text = format!("tail_sampling:\n  policies:\n    - {{name: a,\ntype: {policy}}}\n");
        assert_eq!(said(&text), *expected, "{policy}");
    }
}

#[test]
fn policies_that_are_right_and_hardly_meant() {
    check_policies(&[
        (
            "probabilistic, probabilistic: {sampling_percentage: 0.05}",
            "4:59+4 warning: `sampling_percentage: 0.05` is 0.05 %: 1 of 2,000 traces",
        ),
        ("probabilistic, probabilistic: {sampling_percentage: 0.05%}", ""),
        (
            "probabilistic, probabilistic: {sampling_percentage: 0}",
            "4:59+1 warning: 0 % of the traces: no trace can match the policy",
        ),
        (
            "adaptive, adaptive: {goal_percentage: 0.5}",
            "4:45+3 warning: `goal_percentage: 0.5` is 0.5 %: 1 of 200 traces",
        ),
        (
            "identical_errors, identical_errors: {sampling_percentage: 0.1}",
            "4:65+3 warning: `sampling_percentage: 0.1` is 0.1 %: 1 of 1,000 traces",
        ),
        (
            "drop, drop: {drop_sub_policy: [{name: e, type: error}]}",
            "2:3+8 warning: no trace is kept: every policy is of type `drop`",
        ),
    ]);
}

#[test]
fn policies() {
    // `tail_sampling.policies`.
    check(&[
        ("tail_sampling:\n  policies: []\n", "2:3+8 `policies` is an empty list"),
        ("tail_sampling:\n  policies:\n", "2:3+8 `policies` is an empty list"),
        ("tail_sampling:\n  policies: {name: a}\n", "2:13+1 expected a list, found a section"),
        (
            "tail_sampling:\n  policies:\n    - latency\n",
            "3:7+7 expected a section of `key: value` lines, found `latency`",
        ),
        ("tail_sampling:\n  policies:\n    - {}\n", "3:7+1 the key `name` is missing\n3:7+1 the key `type` is missing"),
        ("tail_sampling:\n  policies:\n    - {type: error}\n", "3:7+1 the key `name` is missing"),
        ("tail_sampling:\n  policies:\n    - {name: a}\n", "3:7+1 the key `type` is missing"),
        ("tail_sampling:\n  policies:\n    - {name: '', type: error}\n", "3:14+2 a policy name must not be empty"),
        (
            "tail_sampling:\n  policies:\n    - {name: \"a\\tb\", type: error}\n",
            "3:14+6 a policy name must be at most 128 bytes, without control characters",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: error}\n    - {name: b, type: trace_flags}\n    - {name: a, type: error}\n",
            "5:14+1 the policy name `a` is given twice",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: latncy, latency: {threshold_ms: 5}}\n",
            "3:23+6 unknown policy type `latncy`",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: error, latency: {threshold_ms: 5}}\n",
            "3:30+7 a policy of type `error` has no section `latency`",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: always_sample, always_sample: {}}\n",
            "3:38+13 a policy of type `always_sample` has no section `always_sample`",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: error, ottl_condition: {}}\n",
            "3:30+14 a policy of type `error` has no section `ottl_condition`",
        ),
        ("tail_sampling:\n  policies:\n    - {name: a, type: error, errors: {}}\n", "3:30+6 unknown key `errors`"),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: error, error: {status: false, http: false, rpc: false}}\n",
            "3:37+1 the policy keeps nothing: all its parts are off",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: error, error: {https: true}}\n",
            "3:38+5 unknown key `https`",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: latency}\n",
            "3:7+1 a policy of type `latency` needs the section `latency`",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: latency, latency: }\n",
            "3:7+1 a policy of type `latency` needs the section `latency`",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: latency, latency: {}}\n",
            "3:41+1 the key `threshold_ms` is missing",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: latency, latency: {threshold_ms: -1}}\n",
            "3:56+2 `-1` is out of range",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: latency, latency: {threshold_ms: 1s}}\n",
            "3:56+2 expected a whole number, found `1s`",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: latency, latency: {threshold_ms: 10000}}\n",
            "3:56+5 warning: `decision_wait` runs from the first span: it can be over before a trace is this slow",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: latency, latency: {threshold_ms: 500, upper_threshold_ms: 500}}\n",
            "3:81+3 the policy keeps nothing: `upper_threshold_ms` is not above `threshold_ms`",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: probabilistic}\n",
            "3:7+1 a policy of type `probabilistic` needs the section `probabilistic`",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: probabilistic, probabilistic: {hash_salt: x}}\n",
            "3:53+1 the key `sampling_percentage` is missing\n3:54+9 warning: `hash_salt` has no effect",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: probabilistic, probabilistic: {sampling_percentage: 100.5}}\n",
            "3:75+5 `100.5%` is out of range",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: probabilistic, probabilistic: {sampling_percentage: -1}}\n",
            "3:75+2 `-1%` is out of range",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: probabilistic, probabilistic: {sampling_percentage: .nan}}\n",
            "3:75+4 `NaN%` is out of range",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: probabilistic, probabilistic: {sampling_percentage: '5'}}\n",
            "3:75+3 expected a percentage, found `\"5\"`",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: status_code}\n",
            "3:7+1 a policy of type `status_code` needs the section `status_code`",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: status_code, status_code: {}}\n",
            "3:49+1 the key `status_codes` is missing",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: status_code, status_code: {status_codes: []}}\n",
            "3:50+12 `status_codes` is an empty list",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: status_code, status_code: {status_codes: [error, ERR, 2, OK, OK]}}\n",
            "3:65+5 unknown status code `error`\n3:72+3 unknown status code `ERR`\n3:77+1 unknown status code `2`\n3:84+2 warning: given twice",
        ),
    ]);
}

#[test]
fn conditions_on_a_span() {
    check_policies(&[
        (
            "string_attribute, string_attribute: {key: k, values: []}",
            "4:52+6 warning: `values` is empty: nothing matches",
        ),
        ("trace_state, trace_state: {key: k, values: []}", "4:42+6 warning: `values` is empty: nothing matches"),
        ("string_attribute, string_attribute: {key: k, values: [a, a]}", "4:64+1 warning: given twice"),
        (
            "string_attribute, string_attribute: {key: k, values: ['(a', '(b)'], enabled_regex_matching: true}",
            "4:61+4 not a regular expression: missing closing ): `(a`",
        ),
        (
            "string_attribute, string_attribute: {key: k, values: [a], enabled_regex_matchin: true, invert_matches: true}",
            "4:65+21 unknown key `enabled_regex_matchin`\n4:94+14 unknown key `invert_matches`",
        ),
        (
            "string_attribute, string_attribute: {key: k, values: [a], cache_max_size: 10}",
            "4:65+14 warning: `cache_max_size` has no effect",
        ),
        (
            "string_attribute, string_attribute: {key: k, values: [[a]], invert_match: 1}",
            "4:61+1 expected a string, found a list\n4:81+1 expected true or false, found `1`",
        ),
        (
            "numeric_attribute, numeric_attribute: {key: k}",
            "4:45+1 `numeric_attribute` has neither `min_value` nor `max_value`",
        ),
        (
            "numeric_attribute, numeric_attribute: {key: k, min_value: '5', max_value: .inf}",
            "4:65+3 expected a number, found `\"5\"`\n4:81+4 expected a number, found `.inf`",
        ),
        (
            "numeric_attribute, numeric_attribute: {key: k, min_value: 5, max_value: 4.5}",
            "4:79+3 the policy matches nothing: `max_value` is below `min_value`",
        ),
        (
            "boolean_attribute, boolean_attribute: {value: yes}",
            "4:45+1 the key `key` is missing\n4:53+3 expected true or false, found `yes`",
        ),
        ("trace_state, trace_state: {}", "4:33+1 the key `key` is missing\n4:33+1 the key `values` is missing"),
        ("trace_flags, trace_flags: {}", "4:20+11 a policy of type `trace_flags` has no section `trace_flags`"),
        (
            "extension_x, extension_x: {a: 5}",
            "4:7+11 unknown policy type `extension_x`\n4:20+11 unknown key `extension_x`",
        ),
        ("string_atribute, string_attribute: {key: k, values: [a]}", "4:7+15 unknown policy type `string_atribute`"),
        ("ottl_condition, ottl_condition: {}", "4:39+1 `ottl_condition` has neither `span` nor `spanevent`"),
        (
            "ottl_condition, ottl_condition: {span: [\"a\\\"b ? c\"], spanevent: [a?, 'it''s ?'], error_mode: ignored}",
            "4:49+1 OTTL: the string is not closed\n4:73+1 OTTL: unexpected `?`\n4:79+1 OTTL: unexpected `'`\n4:100+7 unknown error mode `ignored`",
        ),
    ]);
}

#[test]
fn whole_traces() {
    check_policies(&[
        (
            "span_count, span_count: {}",
            "4:31+1 the policy keeps everything: it has neither `min_spans` nor `max_spans`",
        ),
        (
            "span_count, span_count: {min_spans: 3, max_spans: 2}",
            "4:57+1 the policy keeps nothing: `max_spans` is below `min_spans`",
        ),
        ("span_count, span_count: {min_spans: 3000000000}", "4:43+10 `3000000000` is out of range"),
        ("rate_limiting, rate_limiting: {burst_capacity: 5}", "4:37+1 the key `spans_per_second` is missing"),
        ("rate_limiting, rate_limiting: {spans_per_second: 0}", "4:56+1 `0` is out of range"),
        (
            "bytes_limiting, bytes_limiting: {spans_per_second: 10}",
            "4:39+1 the key `bytes_per_second` is missing\n4:40+16 unknown key `spans_per_second`",
        ),
        ("latency, latency: {threshold_ms: 5, of: span}", "4:47+4 unknown duration `span`"),
        (
            "latency, latency: {threshold_ms: 5, thresholds: [{service: a, threshold_ms: 5}]}",
            "4:43+10 `thresholds` needs the duration of a span: a trace has many services and routes",
        ),
        (
            "latency, latency: {threshold_ms: 5, of: root, thresholds: [{threshold_ms: 5}, {servce: a}]}",
            "4:66+1 the threshold has neither `service` nor `route`\n4:85+1 the threshold has neither `service` nor `route`\n4:85+1 the key `threshold_ms` is missing\n4:86+6 unknown key `servce`",
        ),
        (
            "latency, latency: {threshold_ms: 5, key: [service], max_keys: 5}",
            "4:43+3 `key` belongs to `percentile`\n4:59+8 `max_keys` belongs to `percentile`",
        ),
        ("latency, latency: {percentile: 100}", "4:38+3 `100%` is out of range"),
        (
            "latency, latency: {percentile: 99, of: root, thresholds: [{service: a, threshold_ms: 5}], upper_threshold_ms: 7}",
            "4:42+2 `of` has no place beside `percentile`\n4:52+10 `thresholds` has no place beside `percentile`\n4:97+18 `upper_threshold_ms` has no place beside `percentile`",
        ),
    ]);
}

#[test]
fn policies_within_policies() {
    check_policies(&[
        ("and, and: {}", "4:17+1 the key `and_sub_policy` is missing"),
        ("and, and: {and_sub_policy: []}", "4:18+14 `and_sub_policy` is an empty list"),
        (
            "and, and: {and_sub_policy: [{type: latency}, {name: x}]}",
            "4:35+1 a policy of type `latency` needs the section `latency`\n4:52+1 the key `type` is missing",
        ),
        (
            "and, and: {and_sub_policy: [{type: and, and: {and_sub_policy: [{type: error}]}}]}",
            "4:42+3 a policy of type `and` cannot stand in `and`",
        ),
        (
            "and, and: {and_sub_policy: [{type: drop, drop: {drop_sub_policy: [{type: error}]}}]}",
            "4:42+4 a policy of type `drop` cannot stand in `and`",
        ),
        (
            "and, and: {and_sub_policy: [{type: composite, composite: {}}]}",
            "4:42+9 a policy of type `composite` cannot stand in `and`",
        ),
        (
            "and, and: {same_span: true, and_sub_policy: [{type: error}, {type: latency, latency: {threshold_ms: 5}}]}",
            "4:67+1 `same_span`: this policy asks about the whole trace",
        ),
        (
            "drop, drop: {drop_sub_policy: [{type: and, and: {and_sub_policy: [{type: error}]}}]}",
            "4:45+3 a policy of type `and` cannot stand in `drop`",
        ),
        ("not, not: {}", "4:17+1 the key `not_sub_policy` is missing"),
        (
            "not, not: {not_sub_policy: [{type: error}]}",
            "4:34+1 expected a section of `key: value` lines, found a list",
        ),
        (
            "not, not: {not_sub_policy: {type: not, not: {not_sub_policy: {type: error}}}}",
            "4:41+3 a policy of type `not` cannot stand in `not`",
        ),
        (
            "not, not: {not_sub_policy: {type: and, and: {and_sub_policy: [{type: error}]}}}",
            "4:41+3 a policy of type `and` cannot stand in `not`",
        ),
        (
            "composite, composite: {composite_sub_policy: [{name: b, type: error}]}",
            "4:29+1 the key `max_total_spans_per_second` is missing",
        ),
        (
            "composite, composite: {max_total_spans_per_second: 5, composite_sub_policy: [{type: error}]}",
            "4:84+1 the key `name` is missing",
        ),
        (
            "composite, composite: {max_total_spans_per_second: 5, composite_sub_policy: [{name: b, type: error}, {name: b, type: error}]}",
            "4:115+1 the policy name `b` is given twice",
        ),
        (
            "composite, composite: {max_total_spans_per_second: 5, composite_sub_policy: [{name: b, type: not, not: {not_sub_policy: {type: error}}}]}",
            "4:100+3 a policy of type `not` cannot stand in `composite`",
        ),
        (
            "composite, composite: {max_total_spans_per_second: 5, policy_order: [first, c], composite_sub_policy: [{name: firsts, type: error}, {name: b, type: trace_flags}, {name: c, type: rare}]}",
            "4:61+12 warning: `policy_order` leaves out some of the sub-policies\n4:76+5 warning: `first` has no effect: it is not the name of a sub-policy",
        ),
        (
            "composite, composite: {max_total_spans_per_second: 5, policy_order: [], rate_allocation: [], composite_sub_policy: [{name: a, type: error}]}",
            "4:61+12 warning: `policy_order` leaves out some of the sub-policies",
        ),
        (
            "composite, composite: {max_total_spans_per_second: 5, policy_order: [a, x, a], composite_sub_policy: [{name: a, type: error}]}",
            "4:79+1 warning: `x` has no effect: it is not the name of a sub-policy\n4:82+1 warning: given twice",
        ),
        (
            "composite, composite: {max_total_spans_per_second: 5, policy_order: [b], composite_sub_policy: [{name: a, type: error}, {name: b, type: trace_flags}]}",
            "4:61+12 warning: `policy_order` leaves out some of the sub-policies",
        ),
        (
            "composite, composite: {max_total_spans_per_second: 5, composite_sub_policy: [{name: b, type: error}], rate_allocation: [{policy: x, percent: 101}, {percentage: 5}]}",
            "4:136+1 warning: `x` has no effect: it is not the name of a sub-policy\n4:148+3 `101` is out of range\n4:154+1 the key `policy` is missing\n4:154+1 the key `percent` is missing\n4:155+10 unknown key `percentage`",
        ),
    ]);
}

#[test]
fn policies_with_keys() {
    check_policies(&[
        ("adaptive", "3:7+1 a policy of type `adaptive` needs the section `adaptive`"),
        ("adaptive, adaptive: {}", "4:27+1 neither `goal_percentage` nor `goal_spans_per_second` is written"),
        (
            "adaptive, adaptive: {key: []}",
            "4:27+1 neither `goal_percentage` nor `goal_spans_per_second` is written\n4:28+3 `key` is an empty list",
        ),
        (
            "adaptive, adaptive: {goal_percentage: 0, key: [a, a]}",
            "4:45+1 `0%` is out of range\n4:57+1 warning: given twice",
        ),
        (
            "adaptive, adaptive: {goal_percentage: 5, goal_spans_per_second: 100, weight: 2, lookback: 30}",
            "4:48+21 `goal_spans_per_second` beside `goal_percentage`\n4:84+1 `2` is out of range\n4:87+8 `lookback` beside `weight`\n4:97+2 the duration `30` has no unit",
        ),
        (
            "adaptive, adaptive: {goal_spans_per_second: 0, adjustment_interval: 0s, max_keys: 0}",
            "4:51+1 `0` is out of range\n4:75+2 `0s` is out of range\n4:89+1 `0` is out of range",
        ),
        (
            "rare, rare: {traces_per_minute: 0, max_keys: 1000000}",
            "4:39+1 `0` is out of range\n4:52+7 `1000000` is out of range",
        ),
        ("budget, budget: {}", "4:23+1 neither `spans_per_month` nor `dollars_per_month` is written"),
        ("budget, budget: {spans_per_month: 0.5}", "4:41+3 `0.5` is out of range"),
        (
            "budget, budget: {spans_per_month: 5, dollars_per_month: 5}",
            "4:44+17 `dollars_per_month` beside `spans_per_month`",
        ),
        (
            "budget, budget: {spans_per_month: 5, dollars_per_million_spans: 1}",
            "4:44+25 warning: `dollars_per_million_spans` has no effect beside `spans_per_month`",
        ),
        ("budget, budget: {dollars_per_month: $10}", "4:43+3 expected a number, found `$10`"),
        (
            "identical_errors, identical_errors: {first: 0, window: 2d, sampling_percentage: 200}",
            "4:51+1 `0` is out of range\n4:62+2 `2d`: unknown unit `d`\n4:87+3 `200%` is out of range",
        ),
        (
            "identical_errors, identical_errors: {status: false, http: false, rpc: false}",
            "4:43+1 the policy keeps nothing: all its parts are off",
        ),
    ]);
}

#[test]
fn labels_are_told_apart_and_bounded() {
    let composite = |name: &str, policies: &str| {
        format!(
            "    - {{name: {name}, type: composite, composite: {{max_total_spans_per_second: 500, composite_sub_policy: [{policies}]}}}}\n"
        )
    };
    let policies = composite("c", "{name: x, type: error}") + "    - {name: c/x, type: error}\n";
    let text = format!("tail_sampling:\n  policies:\n{policies}");
    assert_eq!(said(&text), "4:14+3 the policy name `c/x` is given twice");
    let many: Vec<_> = (0..50).map(|n| format!("{{name: x{n}, type: rare}}")).collect();
    let policies: String = (0..6).map(|n| composite(&format!("c{n}"), &many.join(", "))).collect();
    let text = format!("tail_sampling:\n  policies:\n{policies}");
    assert_eq!(said(&text), "2:3+1 306 policies, with those of composites");
}

#[test]
fn times_and_trials() {
    let zone = "is not a time with a zone";
    check_policies(&[
        ("error, until: 2026-12-01T00:00:00Z", ""),
        ("error, until: '2026-12-01T00:00:00.5+01:00'", ""),
        ("error, until: 2026-12-01", &format!("4:21+10 `2026-12-01` {zone}")),
        ("error, until: 2026-12-01T00:00:00", &format!("4:21+19 `2026-12-01T00:00:00` {zone}")),
        ("error, until: 2026-13-01T00:00:00Z", &format!("4:21+20 `2026-13-01T00:00:00Z` {zone}")),
        ("error, until: 1969-01-01T00:00:00Z", &format!("4:21+20 `1969-01-01T00:00:00Z` {zone}")),
        ("error, until: 2h", &format!("4:21+2 `2h` {zone}")),
        ("error, shadow: yes", "4:22+3 expected true or false, found `yes`"),
        ("error, shadow: true", "2:3+8 warning: no trace is kept: every policy is a shadow policy"),
        (
            "not, not: {not_sub_policy: {type: error, shadow: true}}",
            "4:48+6 a policy within another one has no `shadow`",
        ),
        (
            "and, and: {and_sub_policy: [{type: error, until: 2026-12-01T00:00:00Z}]}",
            "4:49+5 a policy within another one has no `until`",
        ),
    ]);
    check(&[
        (
            "tail_sampling:\n  policies: [{name: a, type: error}]\n  shadow: {policies: [{name: a, type: error}]}\n",
            "3:30+1 the policy name `a` is given twice",
        ),
        ("tail_sampling:\n  shadow: {policies: [{name: a, type: nothing}]}\n", "2:39+7 unknown policy type `nothing`"),
    ]);
}
