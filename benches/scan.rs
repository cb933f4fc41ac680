//! The cost of scanning a received span. For comparison, prost decodes the same bytes into owned messages.
#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use spansieve::condition::{Check, Condition, Field, Number, Pattern, Range, RangeBound};
use spansieve::config::Settings;
use spansieve::otlp::scan::{NoProbe, Scan, scan};
use spansieve::sampling::Policies;
use spansieve::sampling::settings::{KeyField, KeySpan, Policy, Rare, Rule, TraceKey};
use spansieve::tail::settings::TailSampling;

use workload::SPAN_COUNT;

mod support;

use support::{report, workload};

/// Returns the default policies: errors, slow traces, and a ratio of the rest.
fn default_policies() -> Vec<Rule> {
    vec![
        Rule::AnySpan(Condition::failed(true, true, true)),
        Rule::Latency { threshold_ms: 2_000, upper_threshold_ms: 0 },
        Rule::Probabilistic { sampling_percentage: 5.0 },
    ]
}

/// Returns twenty policies on attributes, of all kinds. About a third of them match something in the request.
fn attribute_policies() -> Vec<Rule> {
    let mut conditions = exact_strings();
    conditions.extend(numeric_ranges());
    conditions.extend(patterns_and_flags());
    conditions.extend(combinations());
    assert_eq!(conditions.len(), 20);
    conditions.into_iter().map(Rule::AnySpan).collect()
}

fn exact_strings() -> Vec<Condition> {
    vec![
        attribute("shop.customer.tier", one_of(&["enterprise", "plus"])),
        attribute("http.route", one_of(&["/checkout", "/pay", "/refunds/{id}"])),
        attribute("http.route", one_of(&["/admin", "/orders/{id}"])),
        attribute("http.request.method", one_of(&["DELETE", "PATCH"])),
        attribute("db.operation.name", one_of(&["DELETE", "UPDATE"])),
        attribute("feature_flag.result.variant", one_of(&["canary"])),
        attribute("service.name", one_of(&["checkout", "payments"])),
        attribute("exception.type", one_of(&["java.lang.OutOfMemoryError"])),
    ]
}

fn numeric_ranges() -> Vec<Condition> {
    vec![
        attribute("http.response.status_code", within(400, 499)),
        attribute("http.response.status_code", within(500, 599)),
        attribute("db.response.returned_rows", within(1_000, i64::MAX)),
        attribute("shop.items", within(10, 1_000)),
    ]
}

fn patterns_and_flags() -> Vec<Condition> {
    let pattern = |text: &str| Check::Matches(Pattern::new(text).expect("a pattern"));
    vec![
        attribute("url.path", pattern("^/(orders|carts)/[0-9]+9$")),
        attribute("db.query.text", pattern("(?i)drop table|truncate")),
        attribute("server.address", pattern(r"\.legacy\.")),
        attribute("shop.cached", Check::Bool(true)),
    ]
}

fn combinations() -> Vec<Condition> {
    let not = |condition| Condition::Not(Box::new(condition));
    let resource = |key: &str, check| Condition::test(Field::ResourceAttribute(key.into()), check);
    vec![
        not(attribute("http.request.method", one_of(&["GET", "POST"]))),
        resource("deployment.environment.name", one_of(&["staging"])),
        Condition::All(vec![
            resource("service.namespace", one_of(&["shop"])),
            Condition::test(Field::Kind, Check::Number(Range::exactly(Number::Int(2)))),
            Condition::test(Field::Duration, within(500_000_000, i64::MAX)),
        ]),
        Condition::All(vec![
            Condition::test(Field::Name, Check::HasPrefix("GET ".into())),
            Condition::Any(vec![
                attribute("client.address", Check::HasPrefix("203.0.113.7".into())),
                not(attribute("url.scheme", one_of(&["https"]))),
            ]),
        ]),
    ]
}

fn attribute(key: &str, check: Check) -> Condition {
    Condition::test(Field::Attribute(key.into()), check)
}

fn one_of(texts: &[&str]) -> Check {
    Check::OneOf(texts.iter().map(|&text| text.to_owned()).collect())
}

fn within(min: i64, max: i64) -> Check {
    let bound = |at| Some(RangeBound { at: Number::Int(at), inclusive: true });
    Check::Number(Range { min: bound(min), max: bound(max) })
}

fn compiled(rules: Vec<Rule>) -> Policies {
    let named = rules.into_iter().enumerate().map(|(n, rule)| Policy::new(&format!("policy {n}"), rule));
    let settings = TailSampling { policies: named.collect(), ..Settings::default().tail_sampling };
    Policies::compile(&settings.policies, settings.sample_on_first_match).expect("policies that fit")
}

/// Measures the step after the scan: making a summary for each trace of the request, with and without a key.
fn summaries(group: &mut BenchmarkGroup<'_, WallTime>, body: &Bytes, result: &mut Scan) {
    let fields = vec![KeyField::Service, KeyField::Route, KeyField::Status];
    let key = TraceKey { fields, of: KeySpan::Entry };
    let rare = Rule::Rare(Rare { key, traces_per_minute: 1, max_keys: 1_000 });
    for (name, rules) in [("summaries", vec![]), ("summaries with a key", vec![rare])] {
        let policies = compiled(rules);
        scan(body.clone(), policies.probe(), result).expect("a request");
        result.facts.sort_by_key(|fact| fact.trace_id);
        report::per_span(group, name, SPAN_COUNT, || {
            for facts in result.facts.chunk_by(|a, b| a.trace_id == b.trace_id) {
                black_box(policies.summary(facts.iter(), result, body));
            }
        });
    }
}

fn benches(criterion: &mut Criterion) {
    let body = Bytes::from(workload::request().encode_to_vec());
    let mut result = Scan::default();
    let mut group = criterion.benchmark_group("scan");
    report::per_span(&mut group, "framing and facts", SPAN_COUNT, || {
        scan(black_box(body.clone()), &NoProbe, &mut result)
    });
    let cases = [
        ("with no policy", vec![]),
        ("with the three default policies", default_policies()),
        ("with 20 attribute policies", attribute_policies()),
    ];
    for (name, rules) in cases {
        let policies = compiled(rules);
        scan(body.clone(), policies.probe(), &mut result).expect("a request");
        assert_eq!(result.facts.len(), SPAN_COUNT);
        report::per_span(&mut group, name, SPAN_COUNT, || scan(black_box(body.clone()), policies.probe(), &mut result));
    }
    summaries(&mut group, &body, &mut result);
    report::per_span(&mut group, "prost owned decode", SPAN_COUNT, || {
        ExportTraceServiceRequest::decode(black_box(&body[..]))
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
