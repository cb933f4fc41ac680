use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, EntityRef, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

use super::encode::{NO_PROJECT, OtlpEncodeError, OtlpEncoder, OtlpEncoderSettings};
use crate::budget::Budget;
use crate::export::batch::{Batcher, Form};
use crate::export::settings;
use crate::export::sink::EncodeSpans;
use crate::otlp::reference::Fingerprint;
use crate::otlp::scan::{Scan, scan};
use crate::otlp::wire::WireError;
use crate::otlp::write;
use crate::resource::settings::{ActionType, AllowedProjects, AttributeAction, LiteralValue, ValueSource};
use crate::resource::{Rewriter, SharedRewriter};
use crate::sampling::annotation::{ADJUSTED_COUNT, POLICY, TRIGGER, VERDICT};
use crate::sampling::{Keep, Threshold};
use crate::tail::request::SpanBytes;

const ERRORS: Keep = Keep::new(0, Threshold::ALWAYS);

fn baseline(percent: f64) -> Keep {
    Keep::new(1, Threshold::from_percent(percent))
}

fn settings_of(default_project: Option<&str>) -> OtlpEncoderSettings {
    OtlpEncoderSettings {
        default_project: default_project.map(Arc::from),
        allowed_projects: AllowedProjects::Any,
        annotate: true,
        policy_names: ["errors".to_string(), "baseline".to_string()].into(),
    }
}

fn encoder(default_project: Option<&str>, rewriter: Rewriter) -> OtlpEncoder {
    OtlpEncoder::new(settings_of(default_project), rewriter)
}

fn plain() -> OtlpEncoder {
    encoder(None, Rewriter::default())
}

/// Makes batches of the body of a request. Returns the project and the decoded spans of each.
fn batches(encoder: &mut OtlpEncoder, body: Vec<u8>, keep: Keep) -> Vec<(String, Vec<ResourceSpans>)> {
    let mut found = Scan::default();
    let body = scan(Bytes::from(body), &Fingerprint, &mut found).unwrap();
    let limits = settings::BatchSettings { max_spans: 1000, max_bytes: 1 << 24, max_delay: Duration::ZERO };
    let mut batcher = Batcher::new(Form::Otlp, limits, Budget::new(0));
    for fact in &found.facts {
        let scope = found.scopes[fact.scope as usize];
        let span = SpanBytes {
            resource: scope.resource.of(&body),
            resource_schema_url: scope.resource_schema_url.of(&body),
            scope: scope.scope.of(&body),
            scope_schema_url: scope.scope_schema_url.of(&body),
            span: fact.span.of(&body),
            ..SpanBytes::default()
        };
        let origin = encoder.origin(span);
        let place = <OtlpEncoder as EncodeSpans>::place(&origin);
        batcher.push(place, Instant::now(), |out| encoder.span(&origin, span.span, keep, out)).unwrap();
    }
    batcher.flush();
    let batches = batcher.take_closed().map(|batch| {
        let request = ExportTraceServiceRequest::decode(batch.message().clone()).unwrap();
        (batch.project().to_string(), request.resource_spans)
    });
    batches.collect()
}

fn request(resource_spans: Vec<ResourceSpans>) -> Vec<u8> {
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// Returns the bytes of a span without a resource and a scope.
fn nowhere() -> SpanBytes<'static> {
    SpanBytes::default()
}

/// Encodes one span without a resource and a scope, and decodes the result.
fn one(encoder: &mut OtlpEncoder, span: &Span, keep: Keep) -> Span {
    one_raw(encoder, &span.encode_to_vec(), keep)
}

fn one_raw(encoder: &mut OtlpEncoder, span: &[u8], keep: Keep) -> Span {
    let mut body = Vec::new();
    write::message(&mut body, 1, |out| write::message(out, 2, |out| write::bytes(out, 2, span)));
    let [(_, resource_spans)] = &batches(encoder, body, keep)[..] else { panic!("one batch") };
    resource_spans[0].scope_spans[0].spans[0].clone()
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Value::StringValue(value.into()))
}

fn span() -> Span {
    Span {
        trace_id: (1..=16).collect(),
        span_id: vec![1; 8],
        parent_span_id: vec![2; 8],
        flags: 0x301,
        name: "GET /orders".into(),
        kind: 2,
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        attributes: vec![text("a", "größe"), pair("d", Value::DoubleValue(0.5))],
        dropped_attributes_count: 3,
        events: vec![Event { name: "e".into(), attributes: vec![text("k", "v")], ..Event::default() }],
        dropped_events_count: 4,
        links: vec![Link { trace_id: vec![3; 16], span_id: vec![4; 8], ..Link::default() }],
        dropped_links_count: 5,
        status: Some(Status { message: "broken".into(), code: 2 }),
        ..Span::default()
    }
}

/// Returns `span` with annotations and this tracestate, as the encoder should write it.
fn annotated(span: Span, policy: &str, count: Value, trace_state: &str) -> Span {
    let mut span = Span { trace_state: trace_state.into(), ..span };
    span.attributes.extend([text(POLICY, policy), pair(ADJUSTED_COUNT, count)]);
    span
}

#[test]
fn only_annotations_and_threshold_of_a_span_change() {
    let mut encoder = plain();
    let found = one(&mut encoder, &span(), ERRORS);
    assert_eq!(found, annotated(span(), "errors", Value::IntValue(1), "ot=th:0"));
    // The randomness of the span, the last 7 bytes of its trace id, is a small number. The span can only pass a lower
    // threshold.
    let percent = 99.0;
    let found = one(&mut encoder, &span(), baseline(percent));
    let count = Value::DoubleValue(Threshold::from_percent(percent).adjusted_count());
    assert_eq!(found, annotated(span(), "baseline", count, "ot=th:028f5c28f5c29"));
    let sent = Span { trace_state: "v=1,ot=rv:ffffffffffffff".into(), ..span() };
    let found = one(&mut encoder, &sent, baseline(50.0));
    assert_eq!(found, annotated(sent, "baseline", Value::IntValue(2), "ot=rv:ffffffffffffff;th:8,v=1"));
}

#[test]
fn replaced_actions_apply_to_resources_that_were_rewritten_before() {
    let shared = SharedRewriter::default();
    let mut encoder = OtlpEncoder::new(settings_of(None), shared.clone());
    let sent = Resource { attributes: vec![text("env", "dev")], ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span()], ..ScopeSpans::default() }];
    let body = request(vec![ResourceSpans { resource: Some(sent), scope_spans, ..ResourceSpans::default() }]);
    let mut env = || {
        let found = batches(&mut encoder, body.clone(), ERRORS);
        found[0].1[0].resource.clone().unwrap().attributes
    };
    assert_eq!(env(), [text("env", "dev")]);
    let source = ValueSource::Value(LiteralValue::String("prod".into()));
    let action = ActionType::Upsert { key: "env".into(), source };
    shared.replace(&[AttributeAction { condition: None, action }]);
    assert_eq!(env(), [text("env", "prod")]);
}

#[test]
fn annotations_of_the_sender_are_replaced() {
    let forged =
        [text(POLICY, "mine"), text("b", "2"), text(TRIGGER, "again"), pair(ADJUSTED_COUNT, Value::IntValue(9))];
    let mut sent = span();
    sent.attributes.splice(1..1, forged);
    let mut expected = span();
    expected.attributes.insert(1, text("b", "2"));
    let found = one(&mut plain(), &sent, ERRORS);
    let mut expected = annotated(expected, "errors", Value::IntValue(1), "ot=th:0");
    assert_eq!(found, expected);
    expected.attributes.push(text(TRIGGER, "rescue"));
    assert_eq!(one(&mut plain(), &sent, Keep { rescued: true, ..ERRORS }), expected);
    // A dry run exports all traces, so the tracestate must not say that a ratio chose them.
    let dry = one(&mut plain(), &sent, Keep { dry_run: true, ..Keep::new(1, Threshold::from_percent(5.0)) });
    assert_eq!(dry.trace_state, "ot=th:0");
    let dropped = one(&mut plain(), &sent, Keep::only_dry_run(None));
    assert_eq!(dropped.trace_state, "ot=th:0");
    let verdict = |span: &Span| span.attributes.iter().find(|pair| pair.key == VERDICT).cloned();
    assert_eq!(verdict(&dry), Some(text(VERDICT, "kept")));
    assert_eq!(verdict(&dropped), Some(text(VERDICT, "dropped")));
    // Without annotations, those of the sender stay: it may be another Spansieve that kept the span before.
    let settings = OtlpEncoderSettings { annotate: false, ..settings_of(None) };
    let mut silent = OtlpEncoder::new(settings, Rewriter::default());
    let found = one(&mut silent, &sent, ERRORS);
    assert_eq!(found, Span { trace_state: "ot=th:0".into(), ..sent });
}

#[test]
fn bad_links_are_cut_and_bad_text_is_mended() {
    let link = |trace: usize, span: usize| Link { trace_id: vec![3; trace], span_id: vec![4; span], ..Link::default() };
    let links = vec![link(16, 8), link(15, 8), link(0, 0), link(16, 9), link(16, 8)];
    let found = one(&mut plain(), &Span { links: links.clone(), ..span() }, ERRORS);
    let links = vec![links[0].clone(), links[2].clone(), links[4].clone()];
    let expected = Span { links, dropped_links_count: 5 + 2, ..span() };
    assert_eq!(found, annotated(expected, "errors", Value::IntValue(1), "ot=th:0"));

    let mut bad = Span { name: "nnn".into(), ..span() }.encode_to_vec();
    let at = bad.windows(3).position(|bytes| bytes == b"nnn").unwrap();
    bad[at + 1] = 0xff;
    let expected = Span { name: "n\u{fffd}n".into(), ..span() };
    let found = one_raw(&mut plain(), &bad, ERRORS);
    assert_eq!(found, annotated(expected, "errors", Value::IntValue(1), "ot=th:0"));
}

#[test]
fn altered_spans_are_counted() {
    let altered_at = |origin: SpanBytes<'_>, raw: &[u8]| {
        let mut encoder = plain();
        let origin = encoder.origin(origin);
        encoder.span(&origin, raw, ERRORS, &mut Vec::new()).unwrap();
        encoder.take_altered().counts().collect::<Vec<_>>()
    };
    let altered = |resource: &[u8], raw: &[u8]| altered_at(SpanBytes { resource, ..nowhere() }, raw);
    let good = span().encode_to_vec();
    let bad_name = [&good[..], &[0x2a, 1, 0xff]].concat();
    let bad_link = Span { links: vec![Link { trace_id: vec![1], ..Link::default() }], ..span() }.encode_to_vec();
    // The resource `attributes {key: "k" value {string_value: 0xff}}`.
    let bad_resource = [0x0a, 8, 0x0a, 1, b'k', 0x12, 3, 0x0a, 1, 0xff];
    assert_eq!(altered(&[], &good), []);
    assert_eq!(altered(&[], &bad_name), [("utf8", 1)]);
    assert_eq!(altered(&[], &bad_link), [("cut", 1)]);
    assert_eq!(altered(&bad_resource, &good), [("utf8", 1)]);
    assert_eq!(altered_at(SpanBytes { scope_schema_url: &[0xff], ..nowhere() }, &good), [("utf8", 1)]);
}

#[test]
fn unknown_and_repeated_fields_are_accepted() {
    // Two tracestates, of which the last counts; its length is encoded in two bytes. Then a field that this version
    // does not know.
    let extra = [&[0x1a, 3][..], b"a=1", &[0x1a, 0x83, 0], b"b=2", &[0xa2, 0x06, 1, 0x07]].concat();
    let raw = [span().encode_to_vec(), extra].concat();
    let mut out = Vec::new();
    let mut encoder = plain();
    let origin = encoder.origin(nowhere());
    encoder.span(&origin, &raw, ERRORS, &mut out).unwrap();
    assert!(out.windows(4).any(|bytes| bytes == [0xa2, 0x06, 1, 0x07]));
    let found = one_raw(&mut plain(), &raw, ERRORS);
    assert_eq!(found, annotated(span(), "errors", Value::IntValue(1), "ot=th:0,b=2"));
    assert_eq!(encoder.span(&origin, &[0x0a, 9], ERRORS, &mut out), Err(OtlpEncodeError::Wire(WireError::Truncated)));
}

#[test]
fn spans_of_one_origin_share_their_rewritten_resource() {
    let resource = |name: &str| Resource { attributes: vec![text("service.name", name)], ..Resource::default() };
    let scope_spans = |scope: &str, id: u8| ScopeSpans {
        scope: Some(InstrumentationScope { name: scope.into(), ..InstrumentationScope::default() }),
        spans: vec![Span { span_id: vec![id; 8], ..span() }],
        schema_url: "https://scope".into(),
    };
    let resource_spans = |name: &str, scope_spans| ResourceSpans {
        resource: Some(resource(name)),
        scope_spans,
        schema_url: "https://resource".into(),
    };
    let body = request(vec![
        resource_spans("shop", vec![scope_spans("x", 1), scope_spans("y", 2), scope_spans("x", 3)]),
        resource_spans("cart", vec![scope_spans("x", 4)]),
        resource_spans("shop", vec![scope_spans("y", 5)]),
    ]);
    let upsert = AttributeAction {
        condition: None,
        action: ActionType::Upsert {
            key: "deployment.environment.name".into(),
            source: ValueSource::Value(LiteralValue::String("prod".into())),
        },
    };
    let rewriter = Rewriter::new(
        &crate::resource::settings::ResourceSettings { attributes: vec![upsert], ..Default::default() },
        &[],
    );
    let [(project, found)] = &mut batches(&mut encoder(None, rewriter), body, ERRORS)[..] else { panic!("one batch") };
    assert_eq!(project, NO_PROJECT);
    let mut groups = Vec::new();
    for ResourceSpans { resource, scope_spans, schema_url } in found {
        let attributes = &resource.as_ref().unwrap().attributes;
        assert_eq!(attributes[1], text("deployment.environment.name", "prod"));
        assert_eq!(schema_url, "https://resource");
        for ScopeSpans { scope, spans, schema_url } in scope_spans {
            assert_eq!(schema_url, "https://scope");
            let ids = spans.iter().map(|span| span.span_id[0]).collect::<Vec<_>>();
            groups.push((attributes[0].clone(), scope.as_ref().unwrap().name.clone(), ids));
        }
    }
    groups.sort_by_key(|(_, _, ids)| ids[0]);
    let (shop, cart) = (text("service.name", "shop"), text("service.name", "cart"));
    let expected = [(&shop, "x", vec![1, 3]), (&shop, "y", vec![2, 5]), (&cart, "x", vec![4])];
    assert_eq!(groups, expected.map(|(resource, scope, ids)| (resource.clone(), scope.to_string(), ids)));
}

#[test]
fn resources_name_their_project_if_there_is_a_default_project() {
    // Attributes that the sender sent, the default project, the project of the batch, and the attributes that are
    // written.
    type Texts<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Texts<'_>, Option<&str>, &str, Texts<'_>); 7] = [
        (&[("a", "1")], Some("own"), "own", &[("a", "1"), ("gcp.project_id", "own")]),
        (&[], Some("own"), "own", &[("gcp.project_id", "own")]),
        (&[("gcp.project_id", "p"), ("a", "1")], Some("own"), "p", &[("a", "1"), ("gcp.project_id", "p")]),
        (&[("gcp.project.id", "q")], Some("own"), "q", &[("gcp.project_id", "q")]),
        (&[("gcp.project.id", "q"), ("gcp.project_id", "p")], Some("own"), "p", &[("gcp.project_id", "p")]),
        (&[("gcp.project_id", "not/one")], Some("own"), "own", &[("gcp.project_id", "own")]),
        (&[("gcp.project.id", "q")], None, NO_PROJECT, &[("gcp.project.id", "q")]),
    ];
    for (sent, default, project, expected) in cases {
        let texts = |pairs: Texts<'_>| pairs.iter().map(|(key, value)| text(key, value)).collect::<Vec<_>>();
        let resource = Resource { attributes: texts(sent), ..Resource::default() };
        let scope_spans = vec![ScopeSpans { spans: vec![span()], ..ScopeSpans::default() }];
        let body = request(vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }]);
        let found = batches(&mut encoder(default, Rewriter::default()), body, ERRORS);
        let attributes = &found[0].1[0].resource.as_ref().unwrap().attributes;
        assert_eq!((&*found[0].0, attributes), (project, &texts(expected)), "{sent:?}");
    }
}

#[test]
fn spans_of_a_project_that_is_not_allowed_fail() {
    let named = |project: &str| {
        Resource { attributes: vec![text("gcp.project_id", project)], ..Resource::default() }.encode_to_vec()
    };
    let allowed_projects = AllowedProjects::Listed(vec!["friend".into()]);
    let settings = OtlpEncoderSettings { allowed_projects, ..settings_of(Some("own")) };
    let mut encoder = OtlpEncoder::new(settings, Rewriter::default());
    let mut result = |project: &str| {
        let origin = encoder.origin(SpanBytes { resource: &named(project), ..nowhere() });
        encoder.span(&origin, &span().encode_to_vec(), ERRORS, &mut Vec::new())
    };
    assert_eq!((result("own"), result("friend")), (Ok(()), Ok(())));
    assert_eq!(result("stranger"), Err(OtlpEncodeError::Project("stranger".into())));
}

#[test]
fn bad_text_of_an_origin_is_mended_and_entities_without_attributes_are_left_out() {
    let entity = |key: &str, description: &str| EntityRef {
        r#type: "host".into(),
        id_keys: vec![key.into()],
        description_keys: vec![description.into()],
        ..EntityRef::default()
    };
    let resource = Resource {
        attributes: vec![text("host.id", "bbb"), text("host.name", "n")],
        dropped_attributes_count: 7,
        entity_refs: vec![entity("host.id", "host.name"), entity("host.gone", "host.name"), entity("host.id", "gone")],
    };
    let scope = InstrumentationScope { name: "bbb".into(), attributes: vec![text("k", "v")], ..Default::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: vec![span()], schema_url: "bbb".into() }];
    let resource_spans = ResourceSpans { resource: Some(resource), scope_spans, schema_url: "bbb".into() };
    let mut body = request(vec![resource_spans]);
    let places = (0..body.len() - 2).filter(|&at| &body[at..at + 3] == b"bbb").collect::<Vec<_>>();
    assert_eq!(places.len(), 4);
    places.into_iter().for_each(|at| body[at + 1] = 0xff);
    let found = &batches(&mut plain(), body, ERRORS)[0].1[0];
    let mended = "b\u{fffd}b";
    let resource = found.resource.as_ref().unwrap();
    assert_eq!(resource.attributes, [text("host.id", mended), text("host.name", "n")]);
    assert_eq!(resource.dropped_attributes_count, 7);
    assert_eq!(resource.entity_refs, [entity("host.id", "host.name")]);
    let scope = found.scope_spans[0].scope.as_ref().unwrap();
    assert_eq!((&*scope.name, scope.attributes.len()), (mended, 1));
    assert_eq!((&*found.schema_url, &*found.scope_spans[0].schema_url), (mended, mended));
}

#[test]
fn spans_larger_than_a_message_are_cut_and_counted() {
    let long = |key: &str, len: usize| text(key, &"v".repeat(len));
    let many = |count: usize| (0..count).map(|i| long(&i.to_string(), 60_000)).collect::<Vec<_>>();
    let link = Link { trace_id: vec![1; 16], span_id: vec![1; 8], attributes: many(10), ..Link::default() };
    let event = Event { name: "e".into(), attributes: many(10), ..Event::default() };
    let resource =
        Resource { attributes: [many(3), vec![text("service.name", "shop")]].concat(), ..Resource::default() };
    let scope = InstrumentationScope { name: "lib".into(), attributes: many(4), ..InstrumentationScope::default() };
    let sent = Span {
        attributes: many(200),
        dropped_attributes_count: 5,
        events: vec![event; 20],
        links: vec![link; 20],
        ..span()
    };
    let scope_spans = ScopeSpans { scope: Some(scope), spans: vec![sent.clone()], schema_url: "u".repeat(3_000) };
    let resource_spans =
        ResourceSpans { resource: Some(resource), scope_spans: vec![scope_spans], ..Default::default() };
    let mut encoder = plain();
    let found = batches(&mut encoder, request(vec![resource_spans]), ERRORS)[0].1[0].clone();
    assert!(found.encoded_len() < 4 << 20);
    let resource = found.resource.unwrap();
    assert_eq!((resource.attributes.len(), resource.dropped_attributes_count), (2, 2));
    let scope_spans = &found.scope_spans[0];
    let scope = scope_spans.scope.as_ref().unwrap();
    assert_eq!((&*scope.name, scope.attributes.len(), scope.dropped_attributes_count), ("lib", 1, 3));
    assert_eq!(scope_spans.schema_url, "");
    let span = &scope_spans.spans[0];
    // Two of the attributes are annotations.
    let kept = span.attributes.len() - 2;
    assert!(kept > 60, "{kept}");
    assert_eq!(kept + span.dropped_attributes_count as usize, 205);
    assert_eq!(span.events.len() + span.dropped_events_count as usize, 20 + 4);
    assert_eq!(span.links.len() + span.dropped_links_count as usize, 20 + 5);
    assert_eq!((&span.trace_id, &span.name, &span.status), (&sent.trace_id, &sent.name, &sent.status));
    assert_eq!(encoder.take_altered().counts().collect::<Vec<_>>(), [("cut", 1)]);
}
