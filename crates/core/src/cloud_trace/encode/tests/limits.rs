//! Tests of the limits: data over a limit is cut or dropped and counted, and memory is bounded.

use super::*;
use crate::resource::cache::{BYTES_MAX, ENTRIES_MAX, SHARED_BYTES_MAX};

#[test]
fn names_and_values_are_cut_between_characters() {
    let cases = [
        ("n".repeat(1_024), 1_024, 0),
        ("n".repeat(1_025), 1_024, 1),
        ("n".repeat(1_023) + "é", 1_023, 2),
        ("n".repeat(1_022) + "é", 1_024, 0),
        ("😀".repeat(257), 1_024, 4),
    ];
    for (name, len, cut) in cases {
        let event = otlp::Event { name: name.clone(), ..Default::default() };
        let found = check_span(&Span { name, events: vec![event], ..plain_span() });
        let name = found.display_name.unwrap();
        assert_eq!((name.value.len(), name.truncated_byte_count), (len, cut));
        let events = found.time_events.unwrap().time_event;
        let Some(time_event::Value::Annotation(annotation)) = &events[0].value else { panic!("no annotation") };
        assert_eq!(annotation.description, Some(name));
    }
    for (value, len, cut) in [("v".repeat(65_532), 65_532, 0), ("v".repeat(65_531) + "€", 65_531, 3)] {
        let expected = cut_text(&value[..len], cut);
        assert_eq!(map_of(vec![string("key", &value)]), [("key".to_string(), expected)]);
        let status = Some(OtlpStatus { code: 2, message: value.clone() });
        assert_eq!(check_span(&Span { status, ..plain_span() }).status.unwrap().message, value[..len]);
    }
    // Long values that are rendered as JSON or base64 are cut as well.
    let values = vec![OtlpValue { value: Some(Value::StringValue("\n".repeat(40_000))) }];
    let found = map_of(vec![pair("key", Value::ArrayValue(ArrayValue { values }))]);
    assert_eq!(found[0].1, cut_text(&format!("[\"{}\\", "\\n".repeat(32_764) + "\\n")[..65_532], 80_004 - 65_532));
    let found = map_of(vec![pair("key", Value::BytesValue(vec![0; 60_000]))]);
    assert_eq!(found[0].1, cut_text(&"A".repeat(65_532), 80_000 - 65_532));
}

#[test]
fn attributes_with_invalid_keys_are_dropped_and_counted() {
    let sent = vec![string(&"k".repeat(512), ""), string(&"l".repeat(513), ""), string("", "")];
    let span = Span { dropped_attributes_count: 5, ..with_attributes(sent.clone()) };
    let found = check_span(&span).attributes.unwrap();
    assert!(found.attribute_map.contains_key(&"k".repeat(512)));
    assert_eq!((found.attribute_map.len(), found.dropped_attributes_count), (3, 7));

    let event = otlp::Event { attributes: sent.clone(), dropped_attributes_count: 5, ..Default::default() };
    let link = otlp::Link { trace_id: vec![1; 16], span_id: vec![1; 8], attributes: sent, ..Default::default() };
    let found = check_span(&Span { events: vec![event], links: vec![link], ..plain_span() });
    let events = found.time_events.unwrap().time_event;
    let Some(time_event::Value::Annotation(annotation)) = &events[0].value else { panic!("no annotation") };
    assert_eq!(annotation.attributes.as_ref().unwrap().dropped_attributes_count, 7);
    assert_eq!(found.links.unwrap().link[0].attributes.as_ref().unwrap().dropped_attributes_count, 2);
}

fn numbered(prefix: &str, count: usize) -> Vec<KeyValue> {
    (0..count).map(|i| pair(&format!("{prefix}{i}"), Value::IntValue(i as i64))).collect()
}

#[test]
fn over_the_limit_the_least_important_attributes_are_dropped() {
    // Each case is ((sent of the resource, sent of the span), (kept of the resource, kept of the span)).
    let cases = [
        ((5, 2_000), (0, 1_020)),
        ((1_000, 10), (1_000, 10)),
        ((1_000, 50), (969, 50)),
        ((2_000, 0), (1_019, 0)),
        ((2_000, 2_000), (0, 1_020)),
    ];
    for ((of_resource, of_span), (resource_kept, span_kept)) in cases {
        let sent = Resource { dropped_attributes_count: 3, ..resource(numbered("r", of_resource)) };
        let span = Span { dropped_attributes_count: 4, ..with_attributes(numbered("s", of_span)) };
        let found = check(&sent, &InstrumentationScope::default(), &span).attributes.unwrap();
        let map = &found.attribute_map;
        let kept = |prefix: &str| map.keys().filter(|key| key.starts_with(prefix)).count();
        assert_eq!((kept("r"), kept("s")), (resource_kept, span_kept));
        assert!((0..resource_kept).all(|i| map.contains_key(&format!("r{i}"))));
        assert!((0..span_kept).all(|i| map.contains_key(&format!("s{i}"))));
        let labels = 3 + 1 + usize::from(map.contains_key("g.co/agent"));
        assert_eq!(map.len(), labels + resource_kept + span_kept);
        let agent_lost = usize::from(!map.contains_key("g.co/agent"));
        let lost = of_resource - resource_kept + of_span - span_kept + agent_lost + 7;
        assert_eq!(found.dropped_attributes_count as usize, lost);
    }
}

#[test]
fn events_and_links_over_the_limit_are_counted() {
    let event = |i| otlp::Event { name: format!("e{i}"), attributes: numbered("a", 2_000), ..Default::default() };
    let link = |i: u8, len| otlp::Link { trace_id: vec![i | 1; 16], span_id: vec![i | 1; len], ..Default::default() };
    let mut links: Vec<_> = (0..=199).map(|i| link(i, 8)).collect();
    links.insert(3, link(1, 7));
    links.insert(5, otlp::Link { trace_id: vec![0; 16], ..link(1, 8) });
    let events: Vec<_> = (0..300).map(|i| otlp::Event { attributes: vec![], ..event(i) }).chain([event(300)]).collect();
    let span = Span { events, links, dropped_events_count: 2, dropped_links_count: 4, ..plain_span() };
    let found = check_span(&span);
    let events = found.time_events.unwrap();
    assert_eq!((events.time_event.len(), events.dropped_annotations_count), (256, 2 + 45));
    let links = found.links.unwrap();
    assert_eq!((links.link.len(), links.dropped_links_count), (128, 4 + 74));

    let found = check_span(&Span { events: vec![event(0)], ..plain_span() });
    let events = found.time_events.unwrap().time_event;
    let Some(time_event::Value::Annotation(annotation)) = &events[0].value else { panic!("no annotation") };
    let attributes = annotation.attributes.as_ref().unwrap();
    assert_eq!((attributes.attribute_map.len(), attributes.dropped_attributes_count), (1_024, 976));
}

#[test]
fn dropped_counts_never_overflow() {
    let span = Span {
        dropped_attributes_count: u32::MAX,
        dropped_events_count: u32::MAX,
        dropped_links_count: u32::MAX,
        ..plain_span()
    };
    let found = check_span(&span);
    assert_eq!(found.attributes.unwrap().dropped_attributes_count, i32::MAX);
    assert_eq!(found.time_events.unwrap().dropped_annotations_count, i32::MAX);
    assert_eq!(found.links.unwrap().dropped_links_count, i32::MAX);
}

#[test]
fn the_cache_of_resources_is_bounded() {
    let mut encoder = encoder(true);
    let named = |name: &str| resource(vec![string("service.name", name)]).encode_to_vec();
    let first = encoder.resource(&named("first"));
    assert!(Arc::ptr_eq(&first, &encoder.resource(&named("first"))));
    for i in 0..ENTRIES_MAX {
        encoder.resource(&named(&i.to_string()));
    }
    assert!(!Arc::ptr_eq(&first, &encoder.resource(&named("first"))));
    let large = |i: u32| resource(vec![string("k", &format!("{i:060000}"))]).encode_to_vec();
    let kept = encoder.resource(&large(0));
    assert!(Arc::ptr_eq(&kept, &encoder.resource(&large(0))));
    for i in 1..BYTES_MAX as u32 / 60_000 {
        encoder.resource(&large(i));
        assert!(encoder.held_bytes() < BYTES_MAX + (1 << 20));
    }
    assert!(!Arc::ptr_eq(&kept, &encoder.resource(&large(0))));
}

#[test]
fn a_large_resource_is_cut() {
    let small = |i: usize| string(&format!("small{i}"), "v");
    let long = |i: usize| string(&format!("long{i}"), &"v".repeat(6_000));
    // Each case is ((long values, small values after them), long values that are kept).
    for ((long_count, small_count), long_kept) in
        [((0, 200), 0), ((1, 10), 1), ((20, 10), 20), ((40, 10), 31), ((0, 1_020), 0)]
    {
        let sent = resource((0..long_count).map(long).chain((0..small_count).map(small)).collect());
        let found = check(&sent, &InstrumentationScope::default(), &plain_span()).attributes.unwrap();
        let count = |prefix: &str| found.attribute_map.keys().filter(|key| key.starts_with(prefix)).count();
        assert_eq!(count("long"), long_kept);
        assert_eq!(count("long") + count("small") + found.dropped_attributes_count as usize, long_count + small_count);
        let is_cut = long_count * 6_000 > RESOURCE_BYTES_MAX;
        let expected = if is_cut { cut_text(&"v".repeat(1_024), 6_000 - 1_024) } else { text(&"v".repeat(6_000)) };
        assert!(found.attribute_map.iter().all(|(key, value)| !key.starts_with("long") || *value == expected));
        assert!(found.encoded_len() < RESOURCE_BYTES_MAX + 1_024);
    }
    // A double takes up to 309 characters as text, but only 11 bytes in the request.
    let doubles = (0..1_000).map(|i| pair(&format!("double{i}"), Value::DoubleValue(f64::MAX))).collect();
    let found = check(&resource(doubles), &InstrumentationScope::default(), &plain_span());
    assert!(found.encoded_len() < RESOURCE_BYTES_MAX + 1_024);
}

#[test]
fn a_scope_is_cut_like_a_name() {
    let scope = InstrumentationScope { name: "n".repeat(1_025), version: "v".repeat(2_000), ..Default::default() };
    let map = check(&Resource::default(), &scope, &plain_span()).attributes.unwrap().attribute_map;
    assert_eq!(map["otel.scope.name"], cut_text(&"n".repeat(1_024), 1));
    assert_eq!(map["otel.scope.version"], cut_text(&"v".repeat(1_024), 976));
}

#[test]
fn a_span_that_is_too_large_for_one_call_is_cut() {
    let long = |i: usize| string(&format!("long{i}"), &"v".repeat(65_532));
    let event = |name: &str, count: usize| otlp::Event {
        name: name.into(),
        time_unix_nano: plain_span().start_time_unix_nano,
        attributes: (0..count).map(long).collect(),
        ..Default::default()
    };
    let link =
        otlp::Link { trace_id: vec![1; 16], span_id: vec![1; 8], attributes: vec![long(0)], ..Default::default() };
    let status = Some(OtlpStatus { code: 2, message: "why".repeat(30_000) });
    let doubles = |count: usize| (0..count).map(|i| pair(&i.to_string(), Value::DoubleValue(f64::MIN))).collect();
    let spans = [
        with_attributes((0..100).map(long).collect()),
        Span { events: vec![event("many", 100), event("behind", 1)], ..plain_span() },
        Span { events: (0..250).map(|_| event("one of many", 1)).collect(), ..plain_span() },
        Span { links: vec![link; 120], ..with_attributes(vec![long(0)]) },
        Span {
            events: (0..256).map(|_| otlp::Event { attributes: doubles(1_000), ..event("", 0) }).collect(),
            ..plain_span()
        },
    ];
    for span in spans {
        let span = Span { status: status.clone(), ..span };
        let mut encoder = encoder(true);
        let found = encode_body(&mut encoder, body(None, None, &span), errors()).remove(0);
        let len = found.encoded_len();
        assert!(SPAN_BYTES_MAX - len < 250_000, "{len} B are far from the limit");
        assert!(len <= SPAN_BYTES_MAX, "{len} B");
        assert_eq!(found.status.unwrap().message.len(), VALUE_BYTES_MAX);
        let altered: Vec<_> = encoder.take_altered().counts().collect();
        assert_eq!(altered, [("cut", 1)]);
        // All events, links and attributes that are lost are counted.
        let events = found.time_events.unwrap_or_default();
        assert_eq!(events.time_event.len() + events.dropped_annotations_count as usize, span.events.len());
        let links = found.links.unwrap_or_default();
        assert_eq!(links.link.len() + links.dropped_links_count as usize, span.links.len());
        let attributes = found.attributes.unwrap();
        let own = attributes.attribute_map.keys().filter(|key| key.starts_with("long")).count();
        assert_eq!(own + attributes.dropped_attributes_count as usize, span.attributes.len());
    }
}

#[test]
fn data_that_spans_share_is_read_once_for_a_request() {
    let mut encoder = encoder(true);
    let resource = resource(vec![string("service.name", "shop")]).encode_to_vec();
    let scope_id = |scope| Some(ScopeId { request: 7, scope });
    let first = encoder.origin(SpanBytes { scope_id: scope_id(0), resource: &resource, ..SpanBytes::default() });
    // The second call passes no resource: the encoder finds the origin by the place of the scope alone.
    let again = encoder.origin(SpanBytes { scope_id: scope_id(0), ..SpanBytes::default() });
    assert!(Arc::ptr_eq(&first, &again));
    let beside = encoder.origin(SpanBytes { scope_id: scope_id(1), resource: &resource, ..SpanBytes::default() });
    assert!(!Arc::ptr_eq(&first, &beside));
    assert!(Arc::ptr_eq(&first.resource, &beside.resource));
}

#[test]
fn only_the_beginning_of_a_very_large_resource_is_read() {
    let of = |count: usize| (0..count).map(|i| string("k", &format!("{i:01000}"))).collect();
    let long = resource(of(SHARED_BYTES_MAX / 1_000));
    let mut longer = long.clone();
    longer.attributes.push(string("behind", "b"));
    let found = encode_body(&mut encoder(true), body(Some(&longer), None, &plain_span()), errors()).remove(0);
    let attributes = found.attributes.unwrap();
    assert!(!attributes.attribute_map.contains_key("behind"));
    assert_eq!(attributes.dropped_attributes_count, 1, "the attributes behind the limit count as one");
}

#[test]
fn values_nested_as_deep_as_the_scan_allows_are_written() {
    let deep = (0..47).fold(Value::IntValue(1), |value, _| {
        Value::ArrayValue(ArrayValue { values: vec![OtlpValue { value: Some(value) }] })
    });
    let expected = format!("{}1{}", "[".repeat(47), "]".repeat(47));
    assert_eq!(map_of(vec![pair("deep", deep)]), [("deep".to_string(), text(&expected))]);
}

#[test]
fn lengths_of_every_size_are_encoded() {
    for len in [0, 1, 99, 100, 120, 127, 128, 16_383, 16_384, 65_532] {
        map_of(vec![string("key", &"v".repeat(len))]);
    }
    for len in (80..140).chain([512]) {
        map_of(vec![string(&"k".repeat(len), "v"), pair(&"l".repeat(len), Value::IntValue(-1))]);
        check_span(&Span { events: vec![otlp::Event { name: "e".repeat(len), ..Default::default() }], ..plain_span() });
    }
    let large: Vec<_> = (0..40).map(|i| string(&i.to_string(), &"v".repeat(65_532))).collect();
    check_span(&with_attributes(large));
}
