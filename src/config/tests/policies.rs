//! Policies as they are written, and the rules that they become.

use std::time::Duration;

use super::{load, settings};
use crate::condition::{Check, Condition, Field, Number, Pattern, Range, RangeBound};
use crate::sampling::settings::{
    Adaptive, BudgetPolicy, Composite, Goal, IdenticalErrors, KeyField, KeySpan, Percentile, Policy, Rare, Rule,
    TokenBucket, TraceKey, TrafficMemory,
};

/// The rule of the policy `{name: n, POLICY}`, which stands beside one that keeps. Warnings are possible, because some of the
/// policies make no sense.
fn rule(policy: &str) -> Rule {
    let keeps = "{name: keeps, type: always_sample}";
    let text =
        format!("tail_sampling:\n  decision_wait: 5m\n  policies:\n    - {{name: n, {policy}}}\n    - {keeps}\n");
    let loaded = load(&text).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
    loaded.settings.tail_sampling.policies[0].rule.clone()
}

fn check(cases: impl IntoIterator<Item = (&'static str, Rule)>) {
    for (policy, expected) in cases {
        assert_eq!(rule(policy), expected, "{policy}");
    }
}

fn attribute(key: &str, check: Check) -> Condition {
    Condition::test(Field::Attribute(key.into()), check)
}

fn one_of(texts: &[&str]) -> Check {
    Check::OneOf(texts.iter().map(|&text| text.into()).collect())
}

fn range(min: Option<Number>, max: Option<Number>) -> Range {
    let bound = |at| RangeBound { at, inclusive: true };
    Range { min: min.map(bound), max: max.map(bound) }
}

fn not(condition: Condition) -> Condition {
    Condition::Not(Box::new(condition))
}

fn any_span(condition: Condition) -> Rule {
    Rule::AnySpan(condition)
}

fn no_span(condition: Condition) -> Rule {
    Rule::Not(Box::new(unnamed(any_span(condition))))
}

fn unnamed(rule: Rule) -> Policy {
    Policy::new("", rule)
}

#[test]
fn names_are_kept_as_they_are_written() {
    let text = "tail_sampling: {policies: [{name: 404, type: error}, {name: a b, type: always_sample}]}";
    let policies = settings(text).tail_sampling.policies;
    assert_eq!(policies.iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>(), ["404", "a b"]);
}

#[test]
fn conditions_on_a_span() {
    let codes = |codes: &[i64]| any_span(Condition::Any(codes.iter().map(|&code| Condition::status(code)).collect()));
    let matches = |text| attribute("k", Check::Matches(Pattern::new(text).unwrap()));
    let not_empty = Check::Length(range(Some(Number::Int(1)), None));
    let anything = Check::Matches(Pattern::new(".*").unwrap());
    check([
        ("type: error", any_span(Condition::failed(true, true, true))),
        ("type: error, error: {http: false, rpc: false}", any_span(Condition::failed(true, false, false))),
        ("type: status_code, status_code: {status_codes: [ERROR, UNSET, OK]}", codes(&[2, 0, 1])),
        ("type: trace_flags", any_span(Condition::test(Field::Flags, Check::HasBits(1)))),
        (
            "type: trace_state, trace_state: {key: vendor, values: [y, x]}",
            any_span(Condition::test(Field::TraceStateEntry("vendor".into()), one_of(&["x", "y"]))),
        ),
        (
            "type: boolean_attribute, boolean_attribute: {key: k, value: true}",
            any_span(attribute("k", Check::Bool(true))),
        ),
        ("type: boolean_attribute, boolean_attribute: {key: k}", any_span(attribute("k", Check::Bool(false)))),
        (
            "type: boolean_attribute, boolean_attribute: {key: k, value: true, invert_match: true}",
            no_span(attribute("k", Check::Bool(true))),
        ),
        (
            "type: string_attribute, string_attribute: {key: k, values: [b, 200, a]}",
            any_span(Condition::Any(vec![attribute("k", one_of(&["200", "a", "b"]))])),
        ),
        (
            "type: string_attribute, string_attribute: {key: k, values: [a], invert_match: true}",
            no_span(Condition::Any(vec![attribute("k", one_of(&["a"]))])),
        ),
        (
            "type: string_attribute, string_attribute: {key: k, values: ['/live', \\/health], enabled_regex_matching: true}",
            any_span(Condition::Any(vec![matches("/live"), matches("\\/health")])),
        ),
        (
            "type: string_attribute, string_attribute: {key: k, values: ['.*'], enabled_regex_matching: true}",
            any_span(Condition::Any(vec![attribute("k", Check::All(vec![not_empty, anything]))])),
        ),
    ]);
}

#[test]
fn numbers_have_the_bounds_that_are_written() {
    let within = |min, max| any_span(attribute("k", Check::Number(range(min, max))));
    let int = |value| Some(Number::Int(value));
    check([
        (
            "type: numeric_attribute, numeric_attribute: {key: k, min_value: 50, max_value: 100}",
            within(int(50), int(100)),
        ),
        // The Collector cannot tell these from "not set".
        ("type: numeric_attribute, numeric_attribute: {key: k, min_value: 0}", within(int(0), None)),
        ("type: numeric_attribute, numeric_attribute: {key: k, max_value: 0}", within(None, int(0))),
        (
            "type: numeric_attribute, numeric_attribute: {key: k, min_value: 0.5, max_value: 1e3}",
            within(Some(Number::Double(0.5)), Some(Number::Double(1e3))),
        ),
        (
            "type: numeric_attribute, numeric_attribute: {key: k, min_value: 1, invert_match: true}",
            no_span(attribute("k", Check::Number(range(int(1), None)))),
        ),
    ]);
}

#[test]
fn whole_traces() {
    check([
        ("type: always_sample", Rule::AlwaysSample),
        (
            "type: latency, latency: {threshold_ms: 0, upper_threshold_ms: 20}",
            Rule::Latency { threshold_ms: 0, upper_threshold_ms: 20 },
        ),
        (
            "type: latency, latency: {threshold_ms: 5, of: trace}",
            Rule::Latency { threshold_ms: 5, upper_threshold_ms: 0 },
        ),
        (
            "type: probabilistic, probabilistic: {sampling_percentage: 0.5%}",
            Rule::Probabilistic { sampling_percentage: 0.5 },
        ),
        ("type: span_count, span_count: {min_spans: 2}", Rule::SpanCount { min_spans: 2, max_spans: None }),
        (
            "type: span_count, span_count: {min_spans: 2, max_spans: 0}",
            Rule::SpanCount { min_spans: 2, max_spans: None },
        ),
        ("type: span_count, span_count: {max_spans: 20}", Rule::SpanCount { min_spans: 0, max_spans: Some(20) }),
        (
            "type: rate_limiting, rate_limiting: {spans_per_second: 35}",
            Rule::RateLimiting(TokenBucket { per_second: 35, burst: 70 }),
        ),
        (
            "type: rate_limiting, rate_limiting: {spans_per_second: 35, burst_capacity: 10}",
            Rule::RateLimiting(TokenBucket { per_second: 35, burst: 10 }),
        ),
        (
            "type: bytes_limiting, bytes_limiting: {bytes_per_second: 1024000, burst_capacity: 0}",
            Rule::BytesLimiting(TokenBucket { per_second: 1_024_000, burst: 2_048_000 }),
        ),
    ]);
}

#[test]
fn durations_of_spans() {
    let longer = |min_ms: i64, below_ms: Option<i64>| {
        let bound = |ms: i64, inclusive| RangeBound { at: Number::Int(ms * 1_000_000), inclusive };
        let range = Range { min: Some(bound(min_ms, true)), max: below_ms.map(|ms| bound(ms, false)) };
        Condition::test(Field::Duration, Check::Number(range))
    };
    let kind =
        |min, max| Condition::test(Field::Kind, Check::Number(range(Some(Number::Int(min)), Some(Number::Int(max)))));
    let root = || not(Condition::test(Field::ParentSpanId, Check::Present));
    let service = || Condition::test(Field::ResourceAttribute("service.name".into()), one_of(&["cart"]));
    let route = || {
        let attributes = ["http.route", "rpc.method"];
        let attributes = attributes.map(|key| Condition::test(Field::SpanAttribute(key.into()), one_of(&["/pay"])));
        Condition::Any([attributes.as_slice(), &[Condition::test(Field::Name, one_of(&["/pay"]))]].concat())
    };
    let of = |slow, spans| any_span(Condition::All(vec![slow, spans]));
    let case = |meant: Condition, own, others| {
        Condition::Any(vec![Condition::All(vec![own, meant.clone()]), Condition::All(vec![others, not(meant)])])
    };
    check([
        ("type: latency, latency: {threshold_ms: 100, of: root}", of(longer(101, None), root())),
        (
            "type: latency, latency: {threshold_ms: 100, upper_threshold_ms: 200, of: any_span}",
            of(longer(101, Some(201)), Condition::Constant(true)),
        ),
        (
            "type: latency, latency: {threshold_ms: 100, of: synchronous}",
            of(longer(101, None), Condition::Any(vec![kind(2, 2), Condition::All(vec![root(), not(kind(4, 5))])])),
        ),
        (
            "type: latency, latency: {threshold_ms: 100, of: root, thresholds: [{service: cart, route: /pay, threshold_ms: 5}, {service: cart, threshold_ms: 50}]}",
            of(
                case(
                    Condition::All(vec![service(), route()]),
                    longer(6, None),
                    case(Condition::All(vec![service()]), longer(51, None), longer(101, None)),
                ),
                root(),
            ),
        ),
        // As long as the Collector's numbers go.
        (
            "type: latency, latency: {threshold_ms: 0, upper_threshold_ms: 9223372036854775807, of: any_span}",
            of(
                Condition::test(
                    Field::Duration,
                    Check::Number(Range {
                        min: Some(RangeBound { at: Number::Int(1_000_000), inclusive: true }),
                        max: Some(RangeBound { at: Number::Int(i64::MAX), inclusive: false }),
                    }),
                ),
                Condition::Constant(true),
            ),
        ),
    ]);
}

#[test]
fn policies_within_policies() {
    let status_error = || any_span(Condition::Any(vec![Condition::status(2)]));
    let slow = || Rule::Latency { threshold_ms: 5, upper_threshold_ms: 0 };
    let named = Policy::new;
    check([
        (
            "type: and, and: {and_sub_policy: [{name: a, type: status_code, status_code: {status_codes: [ERROR]}}, {type: latency, latency: {threshold_ms: 5}}]}",
            Rule::And(vec![named("a", status_error()), unnamed(slow())]),
        ),
        ("type: and, and: {and_sub_policy: [{name: a, type: latency, latency: {threshold_ms: 5}}]}", slow()),
        (
            "type: not, not: {not_sub_policy: {name: a, type: latency, latency: {threshold_ms: 5}}}",
            Rule::Not(Box::new(named("a", slow()))),
        ),
        (
            "type: drop, drop: {drop_sub_policy: [{type: latency, latency: {threshold_ms: 5}}, {type: not, not: {not_sub_policy: {type: always_sample}}}]}",
            Rule::Drop(vec![unnamed(slow()), unnamed(Rule::Not(Box::new(unnamed(Rule::AlwaysSample))))]),
        ),
        (
            "type: and, and: {same_span: true, and_sub_policy: [{type: status_code, status_code: {status_codes: [ERROR]}}, {type: boolean_attribute, boolean_attribute: {key: k, invert_match: true}}]}",
            any_span(Condition::All(vec![
                Condition::Any(vec![Condition::status(2)]),
                not(attribute("k", Check::Bool(false))),
            ])),
        ),
        (
            "type: drop, drop: {same_span: true, drop_sub_policy: [{type: error}, {type: trace_flags}]}",
            Rule::Drop(vec![unnamed(any_span(Condition::All(vec![
                Condition::failed(true, true, true),
                Condition::test(Field::Flags, Check::HasBits(1)),
            ])))]),
        ),
    ]);
}

/// A composite of `a`, `b` and `c`, which keep everything.
fn composite(options: &str) -> String {
    let policies = ["a", "b", "c"].map(|name| format!("{{name: {name}, type: always_sample}}")).join(", ");
    format!(
        "type: composite, composite: {{max_total_spans_per_second: 1000, composite_sub_policy: [{policies}]{options}}}"
    )
}

#[test]
fn composites_have_an_order_and_allowances() {
    for (options, expected) in [
        ("", [("a", 333), ("b", 333), ("c", 333)]),
        (", rate_allocation: []", [("a", 333), ("b", 333), ("c", 333)]),
        (", policy_order: [c, a, b]", [("c", 333), ("a", 333), ("b", 333)]),
        (
            ", rate_allocation: [{policy: b, percent: 90}, {policy: a, percent: 1}, {policy: c, percent: 0}]",
            [("a", 10), ("b", 900), ("c", 333)],
        ),
        (
            ", policy_order: [b, c, a], rate_allocation: [{policy: a, percent: 100}]",
            [("b", 333), ("c", 333), ("a", 1000)],
        ),
    ] {
        let policies = expected.map(|(name, share)| (Policy::new(name, Rule::AlwaysSample), share));
        let expected = Composite { max_total_spans_per_second: 1000, policies: policies.into() };
        assert_eq!(rule(&composite(options)), Rule::Composite(expected), "{options}");
    }
}

fn key(of: KeySpan, fields: impl Into<Vec<KeyField>>) -> TraceKey {
    TraceKey { fields: fields.into(), of }
}

#[test]
fn what_a_key_is_made_of() {
    use KeyField::{Attribute, Exception, Name, Route, Service, Status};
    let expected = [Status, Name, Exception, Attribute("tenant".into()), Route, Service];
    assert_eq!(
        rule("type: rare, rare: {key: [status, name, exception, tenant, route, service]}"),
        Rule::Rare(Rare { key: key(KeySpan::Entry, expected), traces_per_minute: 1, max_keys: 1000 })
    );
}

#[test]
fn policies_with_keys() {
    use KeyField::{Attribute, Exception, Name, Route, Service, Status};
    let entry = |fields: &[KeyField]| key(KeySpan::Entry, fields);
    let adaptive = Adaptive {
        key: entry(&[Service, Route]),
        goal: Goal::Percentage(5.0),
        memory: TrafficMemory::Ema(0.5),
        adjustment_interval: Duration::from_secs(15),
        max_keys: 1000,
    };
    let windowed = Adaptive {
        key: entry(&[Attribute("tenant".into())]),
        goal: Goal::SpansPerSecond(99.5),
        memory: TrafficMemory::Windowed(Duration::from_secs(30)),
        adjustment_interval: Duration::from_secs(5),
        max_keys: 50,
    };
    let rare = Rare { key: entry(&[Service, Route, Status]), traces_per_minute: 1, max_keys: 1000 };
    let budget =
        |spans_per_month| Rule::Budget(BudgetPolicy { spans_per_month, key: entry(&[Service, Route]), max_keys: 1000 });
    let errors = IdenticalErrors {
        condition: Condition::failed(true, true, true),
        key: key(KeySpan::Error, [Service, Name, Exception]),
        first: 10,
        window: Duration::from_secs(60),
        sampling_percentage: 10.0,
        max_keys: 1000,
    };
    let some_errors = IdenticalErrors {
        condition: Condition::failed(true, false, true),
        key: key(KeySpan::Error, [Name]),
        first: 3,
        window: Duration::from_secs(3600),
        sampling_percentage: 0.0,
        max_keys: 2,
    };
    let percentile = |percentile, threshold_ms, fields: &[KeyField], max_keys| {
        Rule::Percentile(Percentile { percentile, key: entry(fields), threshold_ms, max_keys })
    };
    check([
        ("type: adaptive, adaptive: {goal_percentage: 5}", Rule::Adaptive(adaptive.clone())),
        (
            "type: adaptive, adaptive: {goal_percentage: 5%, weight: 1}",
            Rule::Adaptive(Adaptive { memory: TrafficMemory::Ema(1.0), ..adaptive }),
        ),
        (
            "type: adaptive, adaptive: {goal_spans_per_second: 99.5, key: [tenant], lookback: 30s, adjustment_interval: 5s, max_keys: 50}",
            Rule::Adaptive(windowed),
        ),
        ("type: rare", Rule::Rare(rare.clone())),
        (
            "type: rare, rare: {traces_per_minute: 2, max_keys: 7}",
            Rule::Rare(Rare { traces_per_minute: 2, max_keys: 7, ..rare }),
        ),
        ("type: budget, budget: {spans_per_month: 100_000_000}", budget(1e8)),
        // 2.5 million are free, and a million costs 20 cents.
        ("type: budget, budget: {dollars_per_month: 10}", budget(52.5e6)),
        ("type: budget, budget: {dollars_per_month: 10, dollars_per_million_spans: 1}", budget(12.5e6)),
        ("type: identical_errors", Rule::IdenticalErrors(errors)),
        (
            "type: identical_errors, identical_errors: {http: false, key: [name], first: 3, window: 1h, sampling_percentage: 0, max_keys: 2}",
            Rule::IdenticalErrors(some_errors),
        ),
        ("type: latency, latency: {percentile: 99}", percentile(99.0, 0, &[Service, Route], 500)),
        (
            "type: latency, latency: {percentile: 99.9%, threshold_ms: 50, key: [service], max_keys: 10}",
            percentile(99.9, 50, &[Service], 10),
        ),
    ]);
}

#[test]
fn every_type_of_the_collector_can_be_pasted() {
    let text = include_str!("../../../tests/fixtures/collector_policies.yaml");
    let loaded = load(text).unwrap_or_else(|problems| panic!("{problems}"));
    let warnings: Vec<_> = loaded.warnings.iter().map(|warning| warning.message.as_str()).collect();
    let expected = [
        "`num_traces` has no effect",
        "`expected_new_traces_per_sec` has no effect",
        "the policy and all behind it have no effect: `everything` on line 11 keeps every trace",
        "`hash_salt` has no effect",
        "`cache_max_size` has no effect",
        "the policy also drops traces with an error, which `codes` keeps",
    ];
    assert_eq!(warnings, expected);
    assert_eq!(loaded.settings.tail_sampling.policies.len(), 21);
}

#[test]
fn policies_for_a_time_and_shadow_policies() {
    let text = "tail_sampling:
  policies:
    - {name: a, type: error}
    - {name: b, type: trace_flags, until: 2026-12-01T01:00:00+01:00}
    - {name: c, type: always_sample, shadow: true}
  shadow:
    policies:
      - {name: d, type: error, until: 2026-12-01T00:00:01Z}
";
    let settings = settings(text).tail_sampling;
    let named = |policies: &[Policy]| policies.iter().map(|policy| policy.name.clone()).collect::<Vec<_>>();
    assert_eq!(
        (named(&settings.policies), named(&settings.shadow.policies)),
        (vec!["a".into(), "b".into()], vec!["c".into(), "d".into()])
    );
    let end = 1_796_083_200;
    assert_eq!(settings.policies[1].until, Some(end));
    let counting = |at| {
        let settings = settings.at(at);
        named(&settings.policies).len() * 10 + named(&settings.shadow.policies).len()
    };
    assert_eq!([end - 1, end, end + 1].map(counting), [22, 12, 11]);
    // Without policies of its own, a shadow list leaves the default ones.
    let only_shadow = super::settings("tail_sampling: {shadow: {policies: [{name: d, type: error}]}}").tail_sampling;
    assert_eq!(named(&only_shadow.policies), ["errors", "slow", "baseline"]);
}
