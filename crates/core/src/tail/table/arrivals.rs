//! The spans of one request, by trace.

use std::sync::Arc;

use crate::otlp::scan::Scan;
use crate::sampling::{Policies, Summary};
use crate::tail::request::{Fragment, Request};
use crate::tail::rescan::SpanReader;
use crate::tail::shard::Arrival;

/// An iterator that groups the facts of a request by trace. The facts are in the order of their hashes.
pub(super) struct Arrivals<'a, A> {
    pub(super) policies: &'a Policies,
    pub(super) order: &'a [(u64, u32)],
    pub(super) scan: &'a Scan,
    pub(super) body: &'a [u8],
    pub(super) request: &'a Arc<Request>,
    /// Reads the spans of a fragment again, if other policies have come into force since the scan.
    pub(super) again: A,
    pub(super) next: usize,
}

impl<A: FnMut(&Fragment) -> Summary> Iterator for Arrivals<'_, A> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let first = self.next;
        let rest = &self.order[first..];
        let fact_of = |&(_, index): &(u64, u32)| &self.scan.facts[index as usize];
        let id = fact_of(rest.first()?).trace_id;
        // Equal hashes do not prove equal ids.
        let count = rest.iter().take_while(|&place| fact_of(place).trace_id == id).count();
        self.next += count;
        let fragment = Fragment::new(Arc::clone(self.request), first as u32, count as u32);
        let summary = if self.scan.generation == self.policies.generation() {
            self.policies.summary(rest[..count].iter().map(fact_of), self.scan, self.body)
        } else {
            let summary = (self.again)(&fragment);
            fragment.recharge(0, summary.heap_bytes());
            summary
        };
        Some(Arrival { id, hash: rest[0].0, summary, fragment })
    }
}

/// Evaluates the spans of `batch` again if their summaries are not of `policies`, because others have come into force
/// since the request was scanned.
#[inline]
pub(super) fn refresh(batch: &mut [Arrival], policies: &Policies) {
    let is_stale = |arrival: &&Arrival| arrival.summary.generation != policies.generation();
    if let Some(stale) = batch.iter().find(is_stale) {
        let mut reader = SpanReader::new(policies, policies.probe(), stale.fragment.share(0));
        for arrival in batch {
            let before_bytes = arrival.summary.heap_bytes();
            arrival.summary.take_found(reader.summary(std::iter::once(&arrival.fragment)));
            arrival.fragment.recharge(before_bytes, arrival.summary.heap_bytes());
        }
    }
}
