use super::*;
use crate::otlp::scan::{NoProbe, Scan, scan};

#[test]
fn ids_depend_on_name_seed_and_number_alone() {
    let id = trace_id("a", 0, 0);
    // The id is a constant, because the traces that a ratio keeps must not change with a new version.
    assert_eq!(id.to_string(), "565e25cbdb1b0d6ebcc4792213045ce1");
    let others = [trace_id("b", 0, 0), trace_id("a", 1, 0), trace_id("a", 0, 1)];
    assert!(others.iter().all(|other| *other != id));
    let mut ids: Vec<_> = (0..100_000).map(|number| trace_id("one in twenty", 0, number)).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 100_000);
}

fn repeated<'t>(text: &'t TraceText, resource: &'t TextAttributes, count: u64, every: Duration) -> RepeatedTrace<'t> {
    RepeatedTrace { text, resource, name: "test", seed: 0, id: None, count, every, start_unix_nano: START_UNIX_NANO }
}

#[test]
fn repeated_traces_come_in_the_order_of_their_times() {
    let trace = TraceText::parse("a  x  1ms\n+25ms a  late  1ms\n").unwrap();
    let shared = TextAttributes::new();
    let times = |every| -> Vec<u64> {
        let requests = Requests::new(repeated(&trace, &shared, 3, Duration::from_millis(every)));
        requests.map(|request| (request.unix_nano - START_UNIX_NANO) / 1_000_000).collect()
    };
    assert_eq!(times(0), [0, 0, 0, 25, 25, 25]);
    assert_eq!(times(10), [0, 10, 20, 25, 35, 45]);
    let mut ids: Vec<Vec<u8>> = Requests::new(repeated(&trace, &shared, 3, Duration::ZERO))
        .map(|request| {
            let request = ExportTraceServiceRequest::decode(&request.body[..]).unwrap();
            request.resource_spans[0].scope_spans[0].spans[0].trace_id.clone()
        })
        .collect();
    assert_eq!(ids[..3], ids[3..], "the first requests of all traces come before the second ones");
    ids.dedup();
    assert_eq!(ids.len(), 6);
}

#[test]
fn a_request_is_made_when_it_is_asked_for() {
    let trace = TraceText::parse("a  x  1ms\n+25ms a  late  1ms\n").unwrap();
    let shared = TextAttributes::new();
    let mut requests = Requests::new(repeated(&trace, &shared, u64::MAX, Duration::from_millis(1)));
    assert_eq!(requests.by_ref().take(1_000).count(), 1_000);
    assert_eq!(requests.next.len(), 2, "one for each arrival of a trace");
}

#[test]
fn one_request_has_the_spans_that_arrive_together() {
    let text = "a  x  10ms  @5ms\n  b  y  1ms  @2ms resource.k=1\n+2s a  late  1ms\n  +1s b  z  1ms orphan\n";
    let trace = TraceText::parse(text).unwrap();
    let shared = vec![("k".to_owned(), TextValue::Int(2)), ("l".to_owned(), TextValue::Int(3))];
    let requests: Vec<TimedRequest> = Requests::new(repeated(&trace, &shared, 1, Duration::ZERO)).collect();
    let times: Vec<u64> = requests.iter().map(|request| (request.unix_nano - START_UNIX_NANO) / 1_000_000).collect();
    assert_eq!(times, [0, 1_000, 2_000]);
    let mut found = Scan::default();
    scan(requests[0].body.clone(), &NoProbe, &mut found).unwrap();
    let starts: Vec<u64> =
        found.facts.iter().map(|fact| (fact.start_unix_nano - START_UNIX_NANO) / 1_000_000).collect();
    assert_eq!((starts, found.scopes.len()), (vec![5, 7], 2), "a child starts after its parent");
    let request = ExportTraceServiceRequest::decode(&requests[0].body[..]).unwrap();
    let keys = |group: &ResourceSpans| -> Vec<(String, Option<Value>)> {
        let attributes = group.resource.clone().unwrap().attributes.into_iter();
        attributes.map(|attribute| (attribute.key, attribute.value.and_then(|value| value.value))).collect()
    };
    let int = |key: &str, value| (key.to_owned(), Some(Value::IntValue(value)));
    assert_eq!(keys(&request.resource_spans[0])[1..], [int("k", 2), int("l", 3)]);
    assert_eq!(keys(&request.resource_spans[1])[1..], [int("k", 1), int("l", 3)], "a span's own value counts");
    let orphan = ExportTraceServiceRequest::decode(&requests[1].body[..]).unwrap();
    assert_eq!(orphan.resource_spans[0].scope_spans[0].spans[0].parent_span_id, [0xff; 8]);
}
