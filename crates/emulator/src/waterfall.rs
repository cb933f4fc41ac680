//! The order and depth in which a waterfall shows the spans of a trace.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::stored::SpanFacts;

/// The position of a span in the waterfall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaterfallRow {
    /// The span's index in the slice that was ordered.
    pub index: usize,
    /// Number of stored ancestors.
    pub depth: u32,
    /// True if the span has no parent or its parent is stored.
    pub parent_stored: bool,
}

/// Orders spans for the waterfall: parents before children, siblings by start time. The first span is the root: a span
/// without a parent if there is one, or else the earliest span whose parent is not stored. (On Cloud Run, the platform
/// does not export the outermost parent.) Every span has exactly one place. A cycle of parents is cut.
#[must_use]
pub fn order(spans: &[SpanFacts]) -> Vec<WaterfallRow> {
    let by_id: HashMap<u64, usize> = spans.iter().enumerate().rev().map(|(index, span)| (span.id, index)).collect();
    let parent_of = |span: &SpanFacts| by_id.get(&span.parent_id).copied();
    let mut by_time: Vec<usize> = (0..spans.len()).collect();
    by_time.sort_unstable_by_key(|&index| time_key(&spans[index]));

    let mut children: Vec<Vec<usize>> = vec![Vec::new(); spans.len()];
    for &index in by_time.iter().rev() {
        if let Some(parent) = parent_of(&spans[index]) {
            children[parent].push(index);
        }
    }
    // A span with a stored parent starts a walk only if it is in a cycle. Otherwise its ancestor's walk has placed it.
    let mut starts = by_time;
    starts.sort_by_key(|&index| root_rank(&spans[index], parent_of(&spans[index]).is_some()));

    let mut places = Vec::with_capacity(spans.len());
    let mut placed = vec![false; spans.len()];
    for start in starts {
        let mut stack = vec![(start, 0)];
        while let Some((index, depth)) = stack.pop() {
            if std::mem::replace(&mut placed[index], true) {
                continue;
            }
            let span = &spans[index];
            places.push(WaterfallRow { index, depth, parent_stored: span.parent_id == 0 || parent_of(span).is_some() });
            stack.extend(children[index].iter().map(|&child| (child, depth + 1)));
        }
    }
    places
}

/// Returns the index of the span that [`order`] puts first.
#[must_use]
pub fn root(spans: impl Iterator<Item = SpanFacts> + Clone) -> Option<usize> {
    let ids: HashSet<u64> = spans.clone().map(|span| span.id).collect();
    let key = |span: &SpanFacts| (root_rank(span, ids.contains(&span.parent_id)), time_key(span));
    spans.enumerate().min_by_key(|(_, span)| key(span)).map(|(index, _)| index)
}

/// Ranks spans without a parent before spans whose parent is not stored, and those before all others.
fn root_rank(span: &SpanFacts, parent_stored: bool) -> u8 {
    if span.parent_id == 0 { 0 } else { 1 + u8::from(parent_stored) }
}

/// Sorts earlier spans first. Of spans with the same start (clocks may tick in milliseconds), the longer one comes
/// first: it is probably the parent.
fn time_key(span: &SpanFacts) -> (i64, Reverse<i64>, u64) {
    (span.start_ns, Reverse(span.end_ns), span.id)
}

#[cfg(test)]
mod tests;
