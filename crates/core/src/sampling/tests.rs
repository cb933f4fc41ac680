//! Tests of policies from their configuration, with traces as a sender encodes them.

mod counts;
mod fleet;
mod successors;

use std::collections::HashMap;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

use super::{Keep, Policies, Summary, Verdict};
use crate::otlp::TraceId;
use crate::otlp::scan::{self, Scan};
use crate::testing;

/// A trace id of medium randomness: a ratio of 50 % keeps it, one of 49 % does not.
pub(super) const ID: TraceId = TraceId([0x80; 16]);

const MS: u64 = 1_000_000;
/// Time 0 of the tests, in nanoseconds since 1970.
const EPOCH: u64 = 1_700_000_000_000 * MS;

/// Compiles the policies of a YAML list.
pub(super) fn policies(list: &str) -> Policies {
    compiled(&format!("tail_sampling:\n  policies:\n{list}\n"))
}

/// Compiles the policies of a configuration.
pub(super) fn compiled(text: &str) -> Policies {
    let loaded = testing::load(text).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
    Policies::compile(&loaded.tail_sampling.policies, loaded.tail_sampling.sample_on_first_match).unwrap()
}

/// Compiles one policy with the name `p`. `kind` is its type and its settings.
pub(super) fn policy(kind: &str) -> Policies {
    policies(&format!("    - {{name: p, type: {kind}}}"))
}

/// A builder of spans. It starts with a child span, 10 ms long, without attributes.
#[derive(Clone, Debug)]
pub(super) struct TestSpan {
    resource: Vec<KeyValue>,
    pub(super) span: Span,
}

pub(super) fn span() -> TestSpan {
    let span = Span {
        trace_id: ID.0.into(),
        span_id: vec![2; 8],
        parent_span_id: vec![1; 8],
        name: "work".into(),
        kind: 1,
        ..Span::default()
    };
    TestSpan { resource: Vec::new(), span }.between(0, 10)
}

pub(super) fn root() -> TestSpan {
    let mut root = span();
    root.span.parent_span_id.clear();
    root
}

pub(super) fn string(text: &str) -> Value {
    Value::StringValue(text.into())
}

fn key_value(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

impl TestSpan {
    pub(super) fn with(mut self, key: &str, value: Value) -> Self {
        self.span.attributes.push(key_value(key, value));
        self
    }

    pub(super) fn of(mut self, key: &str, value: Value) -> Self {
        self.resource.push(key_value(key, value));
        self
    }

    pub(super) fn service(self, name: &str) -> Self {
        self.of("service.name", string(name))
    }

    /// Sets start and end, in milliseconds after `EPOCH`.
    pub(super) fn between(mut self, start_ms: u64, end_ms: u64) -> Self {
        (self.span.start_time_unix_nano, self.span.end_time_unix_nano) = (EPOCH + start_ms * MS, EPOCH + end_ms * MS);
        self
    }

    pub(super) fn kind(mut self, kind: i32) -> Self {
        self.span.kind = kind;
        self
    }

    pub(super) fn named(mut self, name: &str) -> Self {
        self.span.name = name.into();
        self
    }

    pub(super) fn status(mut self, code: i32) -> Self {
        self.span.status = Some(Status { code, message: String::new() });
        self
    }

    pub(super) fn failed(self) -> Self {
        self.status(2)
    }

    pub(super) fn state(mut self, trace_state: &str) -> Self {
        self.span.trace_state = trace_state.into();
        self
    }

    pub(super) fn flags(mut self, flags: u32) -> Self {
        self.span.flags = flags;
        self
    }

    pub(super) fn event(mut self, name: &str) -> Self {
        self.span.events.push(Event { name: name.into(), ..Event::default() });
        self
    }
}

/// Returns the summary that the trace table makes of `spans`, which come in one request.
pub(super) fn summary(policies: &Policies, spans: &[TestSpan]) -> Summary {
    let groups = spans.iter().map(|span| ResourceSpans {
        resource: Some(Resource { attributes: span.resource.clone(), ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans: vec![span.span.clone()], ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    });
    let request = ExportTraceServiceRequest { resource_spans: groups.collect() };
    let mut scanned = Scan::default();
    let body = scan::scan(Bytes::from(request.encode_to_vec()), policies.probe(), &mut scanned).unwrap();
    policies.summary(scanned.facts.iter(), &scanned, &body)
}

/// Decides a trace of these spans. Returns the name of the policy that keeps it, `-` if none does, or `!` and the name
/// of the policy of type `drop` that drops it.
pub(super) fn decided(policies: &Policies, spans: &[TestSpan], trace_id: TraceId, now_ms: u64) -> String {
    let name = |policy: u16| policies.names()[usize::from(policy)].clone();
    match policies.decide(&summary(policies, spans), trace_id, now_ms) {
        Verdict::Kept(Keep { policy, .. }) => name(policy),
        Verdict::Dropped => "-".into(),
        Verdict::DroppedByPolicy(policy) => format!("!{}", name(policy)),
    }
}

/// Returns true if one policy of this type keeps a trace of these spans.
pub(super) fn keeps(kind: &str, spans: &[TestSpan]) -> bool {
    decided(&policy(kind), spans, ID, 0) == "p"
}

fn check(cases: &[(&str, &[TestSpan], bool)]) {
    for (kind, spans, expected) in cases {
        assert_eq!(keeps(kind, spans), *expected, "{kind} of {spans:#?}");
    }
}

#[test]
fn attributes() {
    let (x, empty) = (|| span().with("k", string("x")), || span().with("k", string("")));
    let int = |value| span().with("k", Value::IntValue(value));
    let text = "string_attribute, string_attribute: {key: k, values: [x, y]}";
    let inverted = "string_attribute, string_attribute: {key: k, values: [x], invert_match: true}";
    let regex = "string_attribute, string_attribute: {key: k, values: ['^a+$', b.*], enabled_regex_matching: true}";
    let anything = "string_attribute, string_attribute: {key: k, values: ['.*'], enabled_regex_matching: true}";
    let with_empty = "string_attribute, string_attribute: {key: k, values: ['', x]}";
    let range = "numeric_attribute, numeric_attribute: {key: k, min_value: 50, max_value: 100}";
    let inverted_range = "numeric_attribute, numeric_attribute: {key: k, min_value: 50, invert_match: true}";
    let boolean = "boolean_attribute, boolean_attribute: {key: k, value: true}";
    let inverted_boolean = "boolean_attribute, boolean_attribute: {key: k, value: true, invert_match: true}";
    let yes = || span().with("k", Value::BoolValue(true));
    check(&[
        (text, &[span(), x()], true),
        (text, &[span().of("k", string("y"))], true),
        (text, &[span().with("k", string("z"))], false),
        (text, &[span().with("kk", string("x")), int(5)], false),
        (inverted, &[span()], true),
        (inverted, &[span(), span().with("k", string("y"))], true),
        (inverted, &[span(), x()], false),
        (inverted, &[span(), span().of("k", string("x"))], false),
        (regex, &[span().with("k", string("aaa"))], true),
        (regex, &[span().with("k", string("aaac"))], false),
        (regex, &[span().with("k", string("abc"))], true),
        (anything, &[x()], true),
        (anything, &[empty()], false),
        (anything, &[int(1)], false),
        (anything, &[span().of("k", Value::IntValue(5)).with("k", string(""))], false),
        (anything, &[span().of("k", string("")).with("k", Value::BytesValue(vec![1]))], false),
        (anything, &[span().of("k", string("")).with("k", string("x"))], true),
        (with_empty, &[empty().of("k", Value::BytesValue(vec![1]))], false),
        (with_empty, &[empty().of("k", string("x"))], true),
        (
            r"string_attribute, string_attribute: {key: k, values: ['^/\w+$'], enabled_regex_matching: true}",
            &[span().with("k", string("/straße"))],
            false,
        ),
        (
            "string_attribute, string_attribute: {key: k, values: ['^/users/{id}$'], enabled_regex_matching: true}",
            &[span().with("k", string("/users/{id}"))],
            true,
        ),
        ("string_attribute, string_attribute: {key: k, values: []}", &[x(), empty()], false),
        ("string_attribute, string_attribute: {key: k, values: [], invert_match: true}", &[x()], true),
        (range, &[int(50)], true),
        (range, &[int(101)], false),
        (range, &[span().of("k", Value::IntValue(100))], true),
        (inverted_range, &[span()], true),
        (inverted_range, &[int(49)], true),
        (inverted_range, &[int(49), int(50)], false),
        (boolean, &[yes()], true),
        (boolean, &[span().with("k", Value::BoolValue(false)), x()], false),
        (inverted_boolean, &[yes()], false),
        (inverted_boolean, &[span()], true),
    ]);
}

#[test]
fn fields_of_spans() {
    let codes = "status_code, status_code: {status_codes: [OK, UNSET]}";
    let state = "trace_state, trace_state: {key: vendor, values: [x, y]}";
    let same = "ottl_condition, ottl_condition: {span: ['attributes[\"k\"] == name']}";
    let of_resource =
        "ottl_condition, ottl_condition: {span: ['resource.attributes[\"a\"] - resource.attributes[\"b\"] > 0']}";
    let of_event =
        "ottl_condition, ottl_condition: {spanevent: ['Split(name, \"\")[0] == \"b\" and span.name != \"x\"']}";
    let ottl = "ottl_condition, ottl_condition: {span: ['name == \"a\"', 'kind == SPAN_KIND_SERVER'], spanevent: ['name == \"exception\"']}";
    check(&[
        ("error", &[span(), span().failed()], true),
        ("error", &[span().with("http.response.status_code", Value::IntValue(503))], true),
        ("error", &[span().with("http.response.status_code", Value::IntValue(404))], false),
        (codes, &[span().failed()], false),
        (codes, &[span().failed(), span()], true),
        (codes, &[span().status(1)], true),
        (state, &[span().state("a=b,vendor=x")], true),
        (state, &[span().state("vendor=z,other=x")], false),
        ("trace_flags", &[span(), span().flags(0x301)], true),
        ("trace_flags", &[span().flags(0x302)], false),
        (ottl, &[span(), span().named("a")], true),
        (ottl, &[span().kind(2)], true),
        (ottl, &[span().event("exception")], true),
        (ottl, &[span().named("exception").event("a")], false),
        // A condition that computes a value, too, must hold for a single span, event or resource.
        (same, &[span().named("a").with("k", string("a"))], true),
        (same, &[span().named("a").with("k", string("b")), span().named("b").with("k", string("a"))], false),
        (same, &[span().of("k", string("work"))], false),
        (of_resource, &[span().of("a", Value::IntValue(2)).of("b", Value::IntValue(1))], true),
        (of_resource, &[span().of("a", Value::IntValue(2)), span().of("b", Value::IntValue(1))], false),
        (of_resource, &[span().of("b", Value::IntValue(1)).with("a", Value::IntValue(2))], false),
        (of_event, &[span().named("x").event("work"), span().named("b").event("b1")], true),
        (of_event, &[span().named("b1").event("a")], false),
    ]);
}

#[test]
fn durations() {
    let (slow, between) =
        ("latency, latency: {threshold_ms: 1000}", "latency, latency: {threshold_ms: 100, upper_threshold_ms: 200}");
    let lasting = |ms: u64| span().between(50_000, 50_000 + ms);
    let untimed = |start: bool| {
        let mut span = span();
        *(if start { &mut span.span.start_time_unix_nano } else { &mut span.span.end_time_unix_nano }) = 0;
        span
    };
    check(&[
        (slow, &[lasting(1_000)], false),
        (slow, &[lasting(1_001)], true),
        (slow, &[span().between(0, 10), span().between(995, 1_005)], true),
        ("latency, latency: {threshold_ms: 0}", &[lasting(0)], false),
        ("latency, latency: {threshold_ms: 0}", &[lasting(1)], true),
        (between, &[lasting(200)], true),
        (between, &[lasting(201)], false),
        (between, &[lasting(201), lasting(150)], false),
        (slow, &[untimed(true)], false),
        (slow, &[untimed(false)], false),
        // The trace takes 1.5 s from the start of the span without an end.
        (slow, &[untimed(false), span().between(1_490, 1_500)], true),
        // The end of a span that is before its start does not become the start of the trace.
        (slow, &[span().between(5_000, 0), span().between(5_000, 5_500)], false),
        (slow, &[span().between(5_000, 0), span().between(5_000, 6_001)], true),
        (slow, &[span().between(5_000, 0)], false),
    ]);
}

#[test]
fn durations_of_single_spans() {
    let of = |of: &str| format!("latency, latency: {{threshold_ms: 100, of: {of}}}");
    let (root_only, any, synchronous) = (of("root"), of("any_span"), of("synchronous"));
    let slow_child = || [root(), span().between(0, 101)];
    check(&[
        (&root_only, &slow_child(), false),
        (&root_only, &[span(), root().between(0, 101)], true),
        (&any, &slow_child(), true),
        (&any, &[root().between(0, 60), span().between(60, 120)], false),
        // Kinds in trace.proto: 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
        (&synchronous, &[root(), span().kind(1).between(0, 500)], false),
        (&synchronous, &[root(), span().kind(3).between(0, 500)], false),
        (&synchronous, &[root().kind(2), span().kind(4).between(5, 500), span().kind(5).between(5, 9_000)], false),
        (&synchronous, &[root().kind(5).between(0, 9_000)], false),
        (&synchronous, &[root().kind(1).between(0, 101)], true),
        (&synchronous, &[span().kind(2).between(0, 101)], true),
    ]);
}

#[test]
fn thresholds_by_service_and_route() {
    let latency = "latency, latency: {threshold_ms: 1000, of: root, thresholds: [{service: cart, route: /pay, threshold_ms: 100}, {service: cart, threshold_ms: 5000}, {route: /slow, threshold_ms: 9000}]}";
    let took = |ms: u64| root().between(0, ms);
    let route = |text| move |span: TestSpan| span.with("http.route", string(text));
    let (pay, slow) = (route("/pay"), route("/slow"));
    check(&[
        (latency, &[pay(took(101).service("cart"))], true),
        (latency, &[pay(took(100).service("cart"))], false),
        (latency, &[pay(took(1_001).service("shop"))], true),
        (latency, &[took(4_000).service("cart")], false),
        (latency, &[slow(took(6_000).service("cart"))], true),
        (latency, &[slow(took(6_000))], false),
        (latency, &[slow(took(9_001))], true),
        (latency, &[took(9_001).named("/slow")], true),
        (latency, &[took(8_000).with("rpc.method", string("/slow"))], false),
        (latency, &[took(1_001)], true),
    ]);
}

#[test]
fn sizes_and_ratios() {
    let three = || vec![span(); 3];
    check(&[
        ("always_sample", &[span()], true),
        ("span_count, span_count: {min_spans: 3}", &three(), true),
        ("span_count, span_count: {min_spans: 4}", &three(), false),
        ("span_count, span_count: {max_spans: 3}", &three(), true),
        ("span_count, span_count: {min_spans: 1, max_spans: 2}", &three(), false),
        ("probabilistic, probabilistic: {sampling_percentage: 50}", &three(), true),
        ("probabilistic, probabilistic: {sampling_percentage: 49}", &three(), false),
        ("probabilistic, probabilistic: {sampling_percentage: 0}", &three(), false),
        ("not, not: {not_sub_policy: {type: span_count, span_count: {min_spans: 4}}}", &three(), true),
        ("not, not: {not_sub_policy: {type: span_count, span_count: {min_spans: 3}}}", &three(), false),
    ]);
}

#[test]
fn all_of_several() {
    let and = |same_span: bool| {
        format!(
            "and, and: {{same_span: {same_span}, and_sub_policy: [{{type: error}}, {{type: string_attribute, string_attribute: {{key: k, values: [x]}}}}, {{type: not, not: {{not_sub_policy: {{type: trace_flags}}}}}}]}}"
        )
    };
    let (trace, same_span) = (and(false), and(true));
    let x = || span().with("k", string("x"));
    check(&[
        (&trace, &[span().failed(), x()], true),
        (&trace, &[span().failed(), x(), span().flags(1)], false),
        (&trace, &[span().failed()], false),
        (&same_span, &[span().failed(), x()], false),
        (&same_span, &[x().failed()], true),
        (&same_span, &[x().failed(), span().flags(1)], true),
        (&same_span, &[x().failed().flags(1)], false),
        (&same_span, &[span().failed().of("k", string("x"))], true),
    ]);
}

/// Decides `count` traces with evenly spread ids. Returns the number of the kept ones and the sum of their adjusted
/// counts.
fn kept_of(policies: &Policies, spans: &[TestSpan], count: u64) -> (usize, f64) {
    let summary = summary(policies, spans);
    let ids = (0..count).map(|n| {
        let randomness = (u128::from(n * 2 + 1) << 56) / u128::from(count * 2);
        TraceId((7 << 64 | randomness).to_be_bytes())
    });
    let kept = ids.filter_map(|id| match policies.decide(&summary, id, 0) {
        Verdict::Kept(keep) => Some(keep.threshold.adjusted_count()),
        _ => None,
    });
    kept.fold((0, 0.0), |(traces, stand_for), count| (traces + 1, stand_for + count))
}

#[test]
fn adjusted_counts_are_right_for_ratios_within_other_policies() {
    let ratio = |percent| format!("{{type: probabilistic, probabilistic: {{sampling_percentage: {percent}}}}}");
    let (half, tenth) = (ratio(50), ratio(10));
    let drop = |parts: &str| format!("    - {{name: d, type: drop, drop: {{drop_sub_policy: [{parts}]}}}}");
    let all = "    - {name: a, type: always_sample}";
    let baseline = "    - {name: b, type: probabilistic, probabilistic: {sampling_percentage: 5}}";
    let cases = [
        (format!("    - {{name: a, type: and, and: {{and_sub_policy: [{half}, {tenth}]}}}}"), 100),
        (format!("    - {{name: a, type: and, and: {{and_sub_policy: [{{type: error}}, {tenth}]}}}}"), 100),
        (format!("    - {{name: n, type: not, not: {{not_sub_policy: {tenth}}}}}"), 900),
        // Nine of ten traces are dropped. The adjusted counts of the kept ones include them.
        (format!("{}\n{all}", drop(&ratio(90))), 100),
        (format!("{}\n{all}", drop(&format!("{{type: error}}, {}", ratio(90)))), 100),
        (format!("{}\n{all}", drop(&format!("{{type: trace_flags}}, {}", ratio(90)))), 1000),
        (format!("{}\n{baseline}", drop(&ratio(90))), 50),
        (format!("{}\n{all}", drop(&ratio(100))), 0),
    ];
    for (list, kept) in cases {
        let (traces, stand_for) = kept_of(&policies(&list), &[span().failed()], 1000);
        assert_eq!(traces, kept, "{list}");
        let expected = if kept == 0 { 0.0 } else { 1000.0 };
        assert!((stand_for - expected).abs() < 1e-6, "{list}: {stand_for}");
    }
}

#[test]
fn the_verdict_names_the_least_strict_policy_or_the_first_of_equal_ones() {
    let list = "    - {name: half, type: probabilistic, probabilistic: {sampling_percentage: 60}}
    - {name: slow, type: latency, latency: {threshold_ms: 1000}}
    - {name: most, type: probabilistic, probabilistic: {sampling_percentage: 75}}
    - {name: errors, type: error}
    - {name: flagged, type: trace_flags}";
    let slow = || span().between(0, 1_001);
    for (spans, least_strict, first) in [
        (vec![span()], "most", "half"),
        (vec![span().failed()], "errors", "half"),
        (vec![span().failed().flags(1)], "errors", "half"),
        (vec![slow().failed()], "slow", "half"),
    ] {
        let count = |policies: &Policies| match policies.decide(&summary(policies, &spans), ID, 0) {
            Verdict::Kept(keep) => keep.threshold.adjusted_count(),
            verdict => panic!("{verdict:?}"),
        };
        let all = policies(list);
        let first_match = compiled(&format!("tail_sampling:\n  sample_on_first_match: true\n  policies:\n{list}\n"));
        assert_eq!(decided(&all, &spans, ID, 0), least_strict);
        assert_eq!(decided(&first_match, &spans, ID, 0), first);
        // The adjusted count does not depend on which policy is named.
        assert_eq!(count(&all), count(&first_match), "{spans:?}");
    }
}

#[test]
fn policies_with_state_after_the_first_match_are_not_charged() {
    let list = "    - {name: errors, type: error}\n    - {name: some, type: rate_limiting, rate_limiting: {spans_per_second: 1, burst_capacity: 1}}";
    for (first_match, second) in [(true, "some"), (false, "-")] {
        let policies =
            compiled(&format!("tail_sampling:\n  sample_on_first_match: {first_match}\n  policies:\n{list}\n"));
        assert_eq!(decided(&policies, &[span().failed()], ID, 0), "errors");
        assert_eq!(decided(&policies, &[span()], ID, 0), second);
    }
}

#[test]
fn drop_policies_answer_before_all_others() {
    let list = "    - {name: errors, type: error}
    - {name: limit, type: rate_limiting, rate_limiting: {spans_per_second: 1, burst_capacity: 1}}
    - {name: probes, type: drop, drop: {drop_sub_policy: [{type: string_attribute, string_attribute: {key: path, values: [/live]}}, {type: not, not: {not_sub_policy: {type: latency, latency: {threshold_ms: 1000}}}}]}}";
    let policies = policies(list);
    let probe = || span().with("path", string("/live"));
    for (spans, expected) in [
        (vec![probe().failed()], "!probes"),
        (vec![span()], "limit"),
        (vec![probe().failed().between(0, 1_001)], "errors"),
    ] {
        assert_eq!(decided(&policies, &spans, ID, 0), expected);
    }
}

#[test]
fn a_drop_policy_with_a_rate_limit_limits_all_other_policies() {
    let list = "    - {name: cap, type: drop, drop: {drop_sub_policy: [{type: not, not: {not_sub_policy: {type: rate_limiting, rate_limiting: {spans_per_second: 2, burst_capacity: 2}}}}]}}
    - {name: all, type: always_sample}";
    let policies = policies(list);
    let verdicts: Vec<_> = [0, 0, 0, 499, 500].map(|now_ms| decided(&policies, &[span()], ID, now_ms)).into();
    assert_eq!(verdicts, ["all", "all", "!cap", "!cap", "all"]);
}

#[test]
fn the_verdict_on_evidence_is_the_verdict_on_the_complete_trace() {
    let (errors, slow) = ("{name: errors, type: error}", "{name: slow, type: latency, latency: {threshold_ms: 1000}}");
    let ratio = "{name: ratio, type: probabilistic, probabilistic: {sampling_percentage: 50}}";
    let between = "{name: between, type: latency, latency: {threshold_ms: 0, upper_threshold_ms: 1000}}";
    let large = "{name: large, type: span_count, span_count: {min_spans: 2}}";
    let small = "{name: small, type: span_count, span_count: {max_spans: 2}}";
    let inverted = "{name: other, type: string_attribute, string_attribute: {key: k, values: [x], invert_match: true}}";
    let limited = "{name: limit, type: rate_limiting, rate_limiting: {spans_per_second: 100}}";
    let both = "{name: both, type: and, and: {and_sub_policy: [{type: error}, {type: rate_limiting, rate_limiting: {spans_per_second: 100}}]}}";
    let some_errors = "{name: some, type: and, and: {and_sub_policy: [{type: error}, {type: probabilistic, probabilistic: {sampling_percentage: 50}}]}}";
    let probes = "{name: probes, type: drop, drop: {drop_sub_policy: [{type: string_attribute, string_attribute: {key: k, values: [x]}}]}}";
    let quiet_probes = "{name: probes, type: drop, drop: {drop_sub_policy: [{type: trace_flags}, {type: not, not: {not_sub_policy: {type: error}}}]}}";
    for (list, first_match, proven) in [
        (vec![errors, slow, ratio], false, true),
        (vec![ratio, errors], false, true),
        (vec![some_errors, errors], false, true),
        (vec![large, errors], false, true),
        // The first policy may still keep the trace when more spans come, so the verdict can change.
        (vec![slow, errors], false, false),
        (vec![between, errors], false, false),
        (vec![small, errors], false, false),
        (vec![inverted, errors], false, false),
        (vec![limited, errors], false, false),
        (vec![both, errors], false, false),
        // A span may still come for which the policy drops the trace. The second policy never drops traces with errors.
        (vec![errors, probes], false, false),
        (vec![errors, quiet_probes], false, true),
        (vec![errors, ratio], true, true),
        (vec![ratio, errors], true, false),
    ] {
        let lines = list.iter().map(|policy| format!("    - {policy}\n")).collect::<String>();
        let policies =
            compiled(&format!("tail_sampling:\n  sample_on_first_match: {first_match}\n  policies:\n{lines}"));
        let part = summary(&policies, &[span().failed(), span()]);
        assert_eq!(policies.proven(&part).is_some(), proven, "{lines}");
        if let Some(keep) = policies.proven(&part) {
            let whole = summary(&policies, &[span().failed(), span(), span().between(0, 2_000)]);
            assert_eq!(policies.decide(&whole, ID, 0), Verdict::Kept(keep), "{lines}");
        }
        assert_eq!(policies.proven(&summary(&policies, &[span()])), None, "{lines}");
    }
    assert!(policy("always_sample").proven(&Summary::default()).is_some());
}

#[test]
fn late_spans_rescue_on_their_own_evidence() {
    // A policy, a span that came in time, a late span, and if the policy keeps the whole trace and the late span alone.
    let inverted = "string_attribute, string_attribute: {key: k, values: [x], invert_match: true}";
    let x = || span().with("k", string("x"));
    let limited =
        "and, and: {and_sub_policy: [{type: error}, {type: rate_limiting, rate_limiting: {spans_per_second: 9}}]}";
    let half =
        "and, and: {and_sub_policy: [{type: error}, {type: probabilistic, probabilistic: {sampling_percentage: 50}}]}";
    for (kind, early, late, rescued, proven) in [
        ("error", span(), span().failed(), true, true),
        ("latency, latency: {threshold_ms: 1000}", span(), span().between(900, 1_001), true, false),
        ("latency, latency: {threshold_ms: 1000}", span(), span().between(0, 1_001), true, true),
        ("span_count, span_count: {min_spans: 2}", span(), span(), true, false),
        (inverted, x(), span(), false, false),
        // The ratio is not evidence, so it cannot keep the late span alone.
        (half, span(), span().failed(), true, false),
        // Policies with state are asked only once for a trace.
        (limited, span(), span().failed(), false, false),
        ("rate_limiting, rate_limiting: {spans_per_second: 9}", span(), span(), false, false),
        ("rare", span(), span(), false, false),
    ] {
        let policies = policy(kind);
        let whole = summary(&policies, &[early, late.clone()]);
        assert_eq!(policies.rescue(&whole, ID).is_some(), rescued, "{kind}");
        assert_eq!(policies.evidence(&summary(&policies, &[late]), ID).is_some(), proven, "{kind}");
    }
}

#[test]
fn a_late_span_that_a_drop_policy_drops_rescues_nothing() {
    let policies = policies(
        "    - {name: errors, type: error}\n    - {name: probes, type: drop, drop: {drop_sub_policy: [{type: trace_flags}]}}",
    );
    for (late, expected) in [(span().failed(), true), (span().failed().flags(1), false)] {
        let late = summary(&policies, &[late]);
        assert_eq!(policies.rescue(&late, ID).is_some(), expected);
        assert_eq!(policies.evidence(&late, ID).is_some(), expected);
    }
}

#[test]
fn composites_ask_policies_in_order_and_within_their_allowances() {
    let composite = |order: &str| {
        policies(&format!(
            "    - name: c
      type: composite
      composite:
        max_total_spans_per_second: 10
        policy_order: [{order}]
        composite_sub_policy: [{{name: errors, type: error}}, {{name: rest, type: always_sample}}]
        rate_allocation: [{{policy: errors, percent: 80}}, {{policy: rest, percent: 50}}]"
        ))
    };
    let error = [span().failed()];
    let mut decisions: HashMap<String, usize> = HashMap::new();
    let policies = composite("errors, rest");
    for n in 0..20 {
        let spans = if n % 2 == 0 { &error[..] } else { &[span()] };
        *decisions.entry(decided(&policies, spans, ID, 0)).or_default() += 1;
    }
    // `rest` keeps 5 spans, its allowance. `errors` keeps 5 of its 8, because then the total of 10 is used up.
    assert_eq!(decisions, HashMap::from([("c/errors".into(), 5), ("c/rest".into(), 5), ("-".into(), 10)]));
    assert_eq!(decided(&policies, &error, ID, 1_000), "c/errors");
    // The first policy that would keep the trace decides, even if its allowance is used up.
    let policies = composite("rest, errors");
    let verdicts: Vec<_> = (0..6).map(|_| decided(&policies, &error, ID, 0)).collect();
    assert_eq!(verdicts, ["c/rest", "c/rest", "c/rest", "c/rest", "c/rest", "-"]);
}

#[test]
fn policies_with_a_key_distinguish_traces_by_it() {
    let on = |service: &str| root().service(service).named("GET");
    let rare = policy("rare, rare: {traces_per_minute: 1, key: [service]}");
    let verdicts: Vec<_> = [("a", 0), ("a", 1), ("b", 2), ("a", 120_000)]
        .map(|(service, now_ms)| decided(&rare, &[on(service)], ID, now_ms))
        .into();
    assert_eq!(verdicts, ["p", "-", "p", "p"]);

    let errors = policy("identical_errors, identical_errors: {first: 2, sampling_percentage: 0, key: [service]}");
    let verdicts: Vec<_> = ["a", "a", "a", "b"].map(|name| decided(&errors, &[on(name).failed()], ID, 0)).into();
    assert_eq!(verdicts, ["p", "p", "-", "p"]);
    assert_eq!(decided(&errors, &[on("c")], ID, 0), "-", "not an error");
    let by_http = on("a").with("http.status_code", Value::IntValue(500));
    assert_eq!(decided(&errors, &[by_http], ID, 0), "p", "an error without a key");
}

#[test]
fn budgets_are_charged_for_traces_that_other_policies_keep() {
    let policies = policies(
        "    - {name: errors, type: error}\n    - {name: rest, type: budget, budget: {spans_per_month: 2592000}}",
    );
    assert_eq!(policy("error").month_estimate(0), None);
    for second in 0..7_200 {
        policies.kept(3, second * 1_000);
    }
    let estimate = policies.month_estimate(7_200_000).unwrap();
    assert!((estimate / 7_776_000.0 - 1.0).abs() < 0.2, "three spans a second give an estimate of {estimate} a month");
}

#[test]
fn all_policy_types_of_the_collector_work_in_one_configuration() {
    let policies = compiled(include_str!("../../../../tests/fixtures/collector_policies.yaml"));
    assert_eq!(policies.names().len(), 21 + 3);
    assert_eq!(decided(&policies, &[span().with("url.path", string("/health"))], ID, 0), "!probes");
    assert_eq!(decided(&policies, &[span()], ID, 0), "everything");
}

#[test]
fn too_many_conditions_or_keys_are_an_error_with_the_policys_name() {
    let many = |count: usize, policy: &dyn Fn(usize) -> String| {
        let list: String = (0..count).map(|n| format!("    - {{name: p{n}, {}}}\n", policy(n))).collect();
        let loaded = testing::load(&format!("tail_sampling:\n  policies:\n{list}")).unwrap();
        Policies::compile(&loaded.tail_sampling.policies, loaded.tail_sampling.sample_on_first_match)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    let attribute = |n| format!("type: string_attribute, string_attribute: {{key: k{n}, values: [x]}}");
    let keyed = |n| format!("type: rare, rare: {{key: [k{n}]}}");
    assert_eq!(many(128, &attribute), Ok(()));
    assert_eq!(
        many(129, &attribute).unwrap_err(),
        "policy \"p128\" has more conditions on spans than the 128 that all policies may have together"
    );
    assert_eq!(many(8, &keyed), Ok(()));
    assert!(many(9, &keyed).unwrap_err().starts_with("policy \"p8\" has a `key` that is one too many"));
}
