//! The order and depth in which a waterfall shows the spans of a trace.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::stored::SpanFacts;

/// Where a span stands in the waterfall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its index in the slice that was ordered.
    pub index: usize,
    /// Ancestors that are stored.
    pub depth: u32,
    /// It names no parent, or one that is stored.
    pub parent_stored: bool,
}

/// The spans, parents before children and siblings by start. The first is the root: a span without a parent if there
/// is one, else the earliest of those whose parent is not stored (on Cloud Run the platform keeps the outermost
/// parent to itself). Every span has exactly one place, also in a cycle of parents, which is cut.
#[must_use]
pub fn order(spans: &[SpanFacts]) -> Vec<Place> {
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
    // What is no root only starts a walk if it stands in a cycle: else it has its place already.
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
            places.push(Place { index, depth, parent_stored: span.parent_id == 0 || parent_of(span).is_some() });
            stack.extend(children[index].iter().map(|&child| (child, depth + 1)));
        }
    }
    places
}

/// The index of the span that [`order`] puts first.
#[must_use]
pub fn root(spans: impl Iterator<Item = SpanFacts> + Clone) -> Option<usize> {
    let ids: HashSet<u64> = spans.clone().map(|span| span.id).collect();
    let key = |span: &SpanFacts| (root_rank(span, ids.contains(&span.parent_id)), time_key(span));
    spans.enumerate().min_by_key(|(_, span)| key(span)).map(|(index, _)| index)
}

/// Roots, then local roots, then the rest.
fn root_rank(span: &SpanFacts, parent_stored: bool) -> u8 {
    if span.parent_id == 0 { 0 } else { 1 + u8::from(parent_stored) }
}

/// Earlier first; among spans that start together (clocks may tick in milliseconds) the longer, likely the parent.
fn time_key(span: &SpanFacts) -> (i64, Reverse<i64>, u64) {
    (span.start_ns, Reverse(span.end_ns), span.id)
}

#[cfg(test)]
mod tests;
