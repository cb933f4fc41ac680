//! Input that senders should not send.

use opentelemetry_proto::tonic::common::v1::ArrayValue;
use proptest::prelude::*;

use super::*;

#[test]
fn times_that_make_no_sense_count_as_zero() {
    let mut fixture = Fixture::new("{}");
    let times = [(0, 0), (0, START), (START, 0), (START, START - 1), (START, START)];
    let spans = times.map(|(start_time_unix_nano, end_time_unix_nano)| Span {
        start_time_unix_nano,
        end_time_unix_nano,
        ..span(1, "x")
    });
    fixture.send("shop", spans.into());
    fixture.send("shop", vec![Span { start_time_unix_nano: 1, end_time_unix_nano: u64::MAX, ..span(1, "x") }]);
    let samples = fixture.samples();
    let bucket = |bound: &str| samples.iter().find(|(name, _)| name.contains(&format!("le=\"{bound}\""))).unwrap().1;
    assert_eq!((*bucket("0.002"), *bucket("15"), *bucket("+Inf")), (5.0, 5.0, 6.0));
    let sum = samples.iter().find(|(name, _)| name.contains("_sum")).unwrap().1;
    assert!((sum - u64::MAX as f64 / 1e9).abs() < 1e6, "{sum}");
}

#[test]
fn values_are_valid_text_of_at_most_128_bytes() {
    let mut fixture = Fixture::new("{dimensions: [{name: d}], span_names: as_sent}");
    let long = "ä".repeat(200);
    fixture.send(&long, vec![with(span(1, &long), string("d", &long))]);
    let cut = "ä".repeat(64);
    assert_eq!(fixture.calls(), [(format!("d={cut:?},{}", labels(&cut, &cut, "UNSET")), 1)].into());

    // Bytes that are not UTF-8, in all places: the scan takes them, prost does not write them.
    for (section, name) in [("{span_names: as_sent}", "br\u{fffd}ken 1"), ("{}", "br\u{fffd}ken *")] {
        let mut fixture = Fixture::new(section);
        let sent = vec![span(1, "br@ken 1"), span(2, "br@ken 1")];
        let group = ResourceSpans {
            resource: Some(Resource { attributes: vec![string("service.name", "sh@p")], ..Resource::default() }),
            scope_spans: vec![ScopeSpans { spans: sent, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        };
        let mut body = ExportTraceServiceRequest { resource_spans: vec![group] }.encode_to_vec();
        body.iter_mut().filter(|byte| **byte == b'@').for_each(|byte| *byte = 0xff);
        fixture.send_bytes(body.into());
        assert_eq!(fixture.calls(), [(labels("sh\u{fffd}p", name, "UNSET"), 2)].into());
    }
}

#[test]
fn a_long_name_is_normalized_wherever_it_is_cut() {
    for before in 0..4 {
        let name = |n: u32| format!("{}{}{n} {}", "x".repeat(before), "ä1234567 ".repeat(12), "é".repeat(600));
        let mut fixture = Fixture::new("{}");
        fixture.send("shop", vec![span(1, &name(1)), span(1, &name(2))]);
        let calls = fixture.calls();
        assert!(calls.len() == 1 && calls.keys().all(|labels| !labels.contains("1234")), "{before}: {calls:?}");
    }
}

#[test]
fn dimensions_without_a_value_are_left_out() {
    let mut fixture = Fixture::new("{dimensions: [{name: absent}, {name: list}, {name: number}, {name: empty}]}");
    let list = Value::ArrayValue(ArrayValue::default());
    let sent = with(with(span(1, "x"), attribute("list", list)), attribute("number", Value::DoubleValue(f64::NAN)));
    fixture.send("shop", vec![with(sent, KeyValue { key: "empty".into(), ..KeyValue::default() })]);
    let plain = labels("shop", "x", "UNSET");
    let (service, rest) = plain.split_once(',').unwrap();
    assert_eq!(fixture.calls(), [(format!("number=\"NaN\",{service},{rest}"), 1)].into());
}

#[test]
fn a_resource_without_a_name_is_an_unknown_service() {
    let mut fixture = Fixture::new("{}");
    fixture.send_from(Vec::new(), vec![span(1, "x")]);
    assert_eq!(fixture.calls(), [(labels("unknown_service", "x", "UNSET"), 1)].into());
}

proptest! {
    #[test]
    fn any_text_comes_back_from_a_parser(service in "[\\PC\"\\\\\n]{1,40}", name in "[\\PC\"\\\\\n]{0,40}", value in "[\\PC\"\\\\\n]{1,40}") {
        let mut fixture = Fixture::new("{span_names: as_sent, dimensions: [{name: d}]}");
        fixture.send(&service, vec![with(span(1, &name), string("d", &value))]);
        let line = fixture.text(Format::OpenMetrics);
        let line = line.lines().find(|line| line.starts_with("traces_span_metrics_calls_total")).unwrap();
        let (_, rest) = line.split_once('{').unwrap();
        let labels = parse_labels(rest.rsplit_once("} ").unwrap().0);
        let cut = |text: &str| text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= 128).map(|(_, c)| c).collect::<String>();
        prop_assert_eq!(&labels["service_name"], &cut(&service));
        prop_assert_eq!(&labels["span_name"], &cut(&name));
        prop_assert_eq!(&labels["d"], &cut(&value));
    }

    #[test]
    fn any_bytes_that_the_scan_takes_are_counted(bytes in proptest::collection::vec(any::<u8>(), 0..64), at in 0_usize..400) {
        let mut fixture = Fixture::new("{spans: all, dimensions: [{name: d}]}");
        let group = ResourceSpans {
            resource: Some(Resource { attributes: vec![string("d", "value")], ..Resource::default() }),
            scope_spans: vec![ScopeSpans { spans: vec![with(span(1, "GET /1"), string("http.route", "/x"))], ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        };
        let mut body = ExportTraceServiceRequest { resource_spans: vec![group] }.encode_to_vec();
        for (place, byte) in body.iter_mut().skip(at).zip(bytes) {
            *place = byte;
        }
        let mut scanned = Scan::default();
        if scan(body.clone().into(), fixture.policies.probe(), &mut scanned).is_ok() {
            fixture.send_bytes(body.into());
            prop_assert_eq!(fixture.calls().values().sum::<u64>(), scanned.facts.len() as u64);
        }
    }
}
