//! Tests that parts that many spans share are read once, and outside the locks.

use super::*;
use crate::otlp::visited;

const KEEP_ERRORS: &str = "tail_sampling: {policies: [{name: errors, type: error}]}\n";

/// Returns a resource of a service with `empty` attributes that have neither key nor value, and one that is a dimension.
fn resource(empty: usize, zone: &str) -> Resource {
    let mut attributes = vec![KeyValue::default(); empty];
    attributes.extend([string("service.name", "shop"), string("zone", zone)]);
    Resource { attributes, ..Resource::default() }
}

fn request(groups: Vec<(Resource, Vec<Vec<Span>>)>) -> Bytes {
    let group = |(resource, scopes): (Resource, Vec<Vec<Span>>)| ResourceSpans {
        resource: Some(resource),
        scope_spans: scopes.into_iter().map(|spans| ScopeSpans { spans, ..ScopeSpans::default() }).collect(),
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: groups.into_iter().map(group).collect() }.encode_to_vec().into()
}

/// Returns the bytes that are read to count the spans of a request, and those that are read once they are decided.
fn read_bytes(fixture: &mut Fixture, body: Bytes) -> (u64, u64) {
    let mut scanned = Scan::default();
    let body = scan(body, fixture.policies.probe(), &mut scanned).unwrap();
    let share = fixture.table.budget().force(body.len());
    fixture.table.insert(body.clone(), &scanned, share, fixture.now_ms, &mut fixture.outcome);
    let _ = visited::take();
    fixture.metrics.count(&scanned, &body, fixture.policies.counted(), &mut fixture.buffer, fixture.now_ms);
    let counted_bytes = visited::take();
    fixture.settle();
    (counted_bytes, visited::take())
}

#[test]
fn a_resource_is_read_once_for_all_its_scopes() {
    let mut fixture = Fixture::new("{dimensions: [{name: zone}], service_graph: false}");
    let scopes = (0..500).map(|n| vec![span(n + 1, "work")]).collect();
    let body = request(vec![(resource(20_000, "a"), scopes)]);
    let len = body.len() as u64;
    let (counted_bytes, _) = read_bytes(&mut fixture, body);
    assert!(counted_bytes <= 3 * len, "{counted_bytes} bytes of a body of {len}");
    let plain = labels("shop", "work", "UNSET");
    assert_eq!(fixture.calls(), [(format!("{plain},zone=\"a\""), 500)].into());
}

/// Returns the request of `traces` failed traces, each with a span of each of `zones` resources.
fn failed_traces(traces: u128, zones: u128, empty: usize) -> Bytes {
    let group = |zone| {
        let spans = (0..traces).map(|n| failed(span(n + 1, "work"))).collect();
        (resource(empty, &format!("zone {zone}")), vec![spans])
    };
    request((0..zones).map(group).collect())
}

#[test]
fn a_resource_is_read_once_for_all_traces_of_a_round() {
    for (traces, zones) in [(2_000, 1), (100, 20)] {
        let mut fixture = Fixture::whole(&format!("{KEEP_ERRORS}span_metrics: {{dimensions: [{{name: zone}}]}}"));
        let body = failed_traces(traces, zones, 3_000);
        let len = body.len() as u64;
        let (_, decided_bytes) = read_bytes(&mut fixture, body);
        // The spans of traces that the graph follows are read again for it.
        assert!(
            decided_bytes <= 4 * len,
            "{traces} traces, {zones} resources: {decided_bytes} bytes of a body of {len}"
        );
        let text = fixture.text(Format::OpenMetrics);
        let exemplars = text.lines().filter(|line| line.contains(" # {trace_id"));
        assert_eq!(exemplars.count() as u128, zones, "each series has an exemplar\n{text}");
    }
}

/// The spans of one resource may be kept one by one, by small requests that come later.
#[test]
fn a_large_resource_is_not_read_for_exemplars() {
    let mut fixture = Fixture::whole(&format!("{KEEP_ERRORS}span_metrics: {{dimensions: [{{name: zone}}]}}"));
    let spans = (0..100).map(|n| span(n + 1, "work")).collect();
    let _ = read_bytes(&mut fixture, request(vec![(resource(20_000, "a"), vec![spans])]));
    let mut decided_bytes = 0;
    for n in 0..100 {
        let (_, bytes) =
            read_bytes(&mut fixture, request(vec![(resource(0, "b"), vec![vec![failed(span(n + 1, "late"))]])]));
        decided_bytes += bytes;
    }
    assert!(decided_bytes < 100_000, "{decided_bytes}");
    let text = fixture.text(Format::OpenMetrics);
    let exemplars: Vec<&str> = text.lines().filter(|line| line.contains(" # {trace_id")).collect();
    assert!(exemplars.len() == 1 && exemplars[0].contains("zone=\"b\""), "{exemplars:?}");
    assert_eq!(fixture.calls().values().sum::<u64>(), 200, "all are counted");
}
