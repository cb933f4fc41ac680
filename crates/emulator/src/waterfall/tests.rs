//! Tests of order, depth and root.

use proptest::prelude::*;

use super::*;
use crate::otlp::TraceId;

fn facts(id: u64, parent_id: u64, start_ns: i64, end_ns: i64) -> SpanFacts {
    SpanFacts { trace_id: TraceId([1; 16]), id, parent_id, start_ns, end_ns }
}

/// Draws the spans as `id@depth`, with `?` if the parent is not stored.
fn drawn(spans: &[SpanFacts]) -> String {
    let draw = |place: &WaterfallRow| {
        let missing = if place.parent_stored { "" } else { "?" };
        format!("{}@{}{missing}", spans[place.index].id, place.depth)
    };
    order(spans).iter().map(draw).collect::<Vec<_>>().join(" ")
}

#[test]
fn spans_follow_their_parents_ordered_by_time() {
    let cases = [
        ("nothing", vec![], ""),
        ("a tree", vec![facts(3, 1, 5, 6), facts(1, 0, 0, 9), facts(2, 1, 1, 2), facts(4, 2, 1, 2)], "1@0 2@1 4@2 3@1"),
        ("a local root", vec![facts(2, 77, 0, 9), facts(3, 2, 1, 2)], "2@0? 3@1"),
        ("the root comes before an earlier local root", vec![facts(2, 77, 0, 9), facts(1, 0, 5, 6)], "1@0 2@0?"),
        ("starting together, the longer is the parent", vec![facts(2, 77, 0, 3), facts(3, 78, 0, 9)], "3@0? 2@0?"),
        ("its own parent", vec![facts(5, 5, 0, 1)], "5@0"),
        ("a cycle", vec![facts(1, 2, 4, 5), facts(2, 1, 3, 6)], "2@0 1@1"),
        ("the same id in two projects", vec![facts(1, 0, 0, 9), facts(2, 1, 1, 2), facts(2, 1, 3, 4)], "1@0 2@1 2@1"),
    ];
    for (name, spans, expected) in cases {
        assert_eq!(drawn(&spans), expected, "{name}");
    }
}

#[test]
fn a_very_deep_trace_does_not_overflow_the_stack() {
    let spans: Vec<SpanFacts> = (1..=200_000).map(|id| facts(id, id - 1, 0, 1)).collect();
    assert_eq!(order(&spans).last().map(|place| place.depth), Some(199_999));
}

proptest! {
    #[test]
    fn every_span_has_one_place_and_the_first_is_the_root(spans in prop::collection::vec((1..9u64, 0..9u64, 0..4i64), 1..12)) {
        let spans: Vec<SpanFacts> = spans.into_iter().map(|(id, parent, start)| facts(id, parent, start, 9)).collect();
        let places = order(&spans);
        let mut indices: Vec<usize> = places.iter().map(|place| place.index).collect();
        prop_assert_eq!(root(spans.iter().copied()).map(|index| spans[index]), indices.first().map(|&index| spans[index]));
        indices.sort_unstable();
        prop_assert_eq!(indices, (0..spans.len()).collect::<Vec<_>>());
    }
}
