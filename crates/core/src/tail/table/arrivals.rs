//! The spans of one request, by trace.

use std::sync::Arc;

use crate::otlp::scan::Scan;
use crate::sampling::{Policies, Summary};
use crate::tail::request::{Fragment, Request};
use crate::tail::rescan;
use crate::tail::shard::Arrival;

/// An iterator that groups the facts of a request by trace. The facts are in the order of their hashes.
pub(super) struct Arrivals<'a> {
    pub(super) policies: &'a Policies,
    pub(super) order: &'a [(u64, u32)],
    pub(super) scan: &'a Scan,
    pub(super) body: &'a [u8],
    pub(super) request: &'a Arc<Request>,
    pub(super) next: usize,
}

impl Iterator for Arrivals<'_> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let first = self.next;
        let rest = &self.order[first..];
        let fact_of = |&(_, index): &(u64, u32)| &self.scan.facts[index as usize];
        let id = fact_of(rest.first()?).trace_id;
        // Equal hashes do not prove equal ids.
        let count = rest.iter().take_while(|&place| fact_of(place).trace_id == id).count();
        self.next += count;
        let facts = rest[..count].iter().map(fact_of);
        let summary = if self.scan.generation == self.policies.generation() {
            self.policies.summary(facts, self.scan, self.body)
        } else {
            // Other policies have come into force since the scan. `Arrival::refresh` takes the rest from the bytes.
            let mut summary = Summary::of_generation(self.scan.generation);
            facts.for_each(|fact| summary.add(fact));
            summary
        };
        let fragment = Fragment::new(Arc::clone(self.request), first as u32, count as u32);
        Some(Arrival { id, hash: rest[0].0, summary, fragment })
    }
}

impl Arrival {
    /// Evaluates the spans again if their summary is not of `policies`.
    #[inline]
    pub(super) fn refresh(&mut self, policies: &Policies) {
        if self.summary.generation != policies.generation() {
            let before_bytes = self.summary.heap_bytes();
            self.summary.take_found(rescan::summary(policies, std::slice::from_ref(&self.fragment)));
            self.fragment.recharge(before_bytes, self.summary.heap_bytes());
        }
    }
}
