//! What was written, by trace, within a bound in bytes: the traces whose first span came first go first.
//!
//! Spans are held encoded: an object tree of one takes several times its bytes, and the bound is in bytes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use prost::Message;
use serde::Serialize;
use tokio::sync::watch;

use super::check::Violation;
use super::stored::StoredSpan;
use crate::otlp::TraceId;

mod colors;
mod held;

use colors::Colors;
pub use held::TraceSummary;
use held::{Held, TRACE_OVERHEAD_BYTES, Trace};

/// How many services and policies a [`Status`] lists, the most frequent first: it fills the page's menus.
const NAMES_MAX: usize = 200;

/// The store. Shared by the API, the page and tests.
#[derive(Debug)]
pub struct Store {
    table: Mutex<Table>,
    written: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Table {
    bytes_max: usize,
    bytes: usize,
    traces: HashMap<TraceId, Trace>,
    /// The traces by the arrival of their first span.
    arrivals: VecDeque<TraceId>,
    colors: Colors,
    counts: Counts,
}

/// What happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Calls whose spans were all stored.
    pub accepted_calls: u64,
    /// Calls refused for a bad span.
    pub refused_calls: u64,
    /// Why the last of them was refused.
    pub last_refusal: Option<String>,
    /// Spans that were stored.
    pub written_spans: u64,
    /// Spans that were sent again, unchanged: a retry.
    pub repeated_spans: u64,
    /// Spans that were sent again under the same name but changed; the first is kept.
    pub conflicting_spans: u64,
    /// Traces that went to make room.
    pub evicted_traces: u64,
    /// Their spans.
    pub evicted_spans: u64,
}

/// What the store holds and what happened so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Traces held.
    pub traces: usize,
    /// Spans held.
    pub spans: usize,
    /// Bytes held.
    pub bytes: usize,
    /// The bound on them.
    pub max_bytes: usize,
    /// What happened so far.
    #[serde(flatten)]
    pub counts: Counts,
    /// Traces held by policy; the most frequent if there are very many.
    pub policies: BTreeMap<Box<str>, usize>,
    /// Traces held by service; the most frequent if there are very many.
    pub services: BTreeMap<Box<str>, usize>,
}

/// Which traces, in which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// All; the last to arrive first.
    #[default]
    Newest,
    /// Those with a failed span; the last to arrive first.
    Errors,
    /// All; the longest first.
    Slow,
}

/// A question to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Which traces, in which order.
    pub filter: Filter,
    /// Only traces kept by this policy.
    pub policy: Option<String>,
    /// Only traces with a span of this service.
    pub service: Option<String>,
    /// At most so many.
    pub limit: usize,
}

impl Default for Query {
    fn default() -> Self {
        Query { filter: Filter::Newest, policy: None, service: None, limit: usize::MAX }
    }
}

impl Store {
    /// An empty store of at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Store { table: Mutex::new(Table { bytes_max, ..Table::default() }), written: watch::Sender::new(0) }
    }

    /// Stores the spans of one call. A span whose name is already there is not stored again.
    pub fn write(&self, spans: &[StoredSpan]) {
        let encoded: Vec<Arc<[u8]>> = spans.iter().map(|span| span.span.encode_to_vec().into()).collect();
        let mut table = self.table.lock();
        for (span, encoded) in spans.iter().zip(encoded) {
            table.insert(span, encoded);
        }
        table.evict();
        table.counts.accepted_calls += 1;
        self.written.send_replace(table.counts.written_spans);
    }

    /// Counts a refused call.
    pub fn refuse(&self, violation: &Violation) {
        let mut table = self.table.lock();
        table.counts.refused_calls += 1;
        table.counts.last_refusal = Some(violation.to_string());
    }

    /// The number of spans written so far, to wait for: `store.written().wait_for(|&spans| spans >= 3)`.
    #[must_use]
    pub fn written(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Spans held.
    #[must_use]
    pub fn span_count(&self) -> usize {
        self.table.lock().span_count()
    }

    /// Traces held.
    #[must_use]
    pub fn trace_count(&self) -> usize {
        self.table.lock().traces.len()
    }

    /// Whether any span of the trace is held.
    #[must_use]
    pub fn holds(&self, id: &TraceId) -> bool {
        self.table.lock().traces.contains_key(id)
    }

    /// The spans of a trace, as they arrived.
    #[must_use]
    pub fn trace(&self, id: &TraceId) -> Option<Vec<StoredSpan>> {
        self.trace_with_summary(id).map(|(_, spans)| spans)
    }

    /// A trace at a glance, and its spans as they arrived.
    #[must_use]
    pub fn trace_with_summary(&self, id: &TraceId) -> Option<(TraceSummary, Vec<StoredSpan>)> {
        let (summary, held) = {
            let table = self.table.lock();
            let trace = table.traces.get(id)?;
            (trace.summary(*id, &table.colors), trace.spans.clone())
        };
        Some((summary, held.iter().map(Held::decode).collect()))
    }

    /// Every span held, trace by trace, as they arrived.
    #[must_use]
    pub fn spans(&self) -> Vec<StoredSpan> {
        let table = self.table.lock();
        let traces = table.arrivals.iter().filter_map(|id| table.traces.get(id));
        traces.flat_map(|trace| trace.spans.iter().map(Held::decode)).collect()
    }

    /// The traces that `query` asks for.
    #[must_use]
    pub fn traces(&self, query: &Query) -> Vec<TraceSummary> {
        let table = self.table.lock();
        let newest = table.arrivals.iter().rev().filter_map(|id| table.traces.get_key_value(id));
        let mut found: Vec<(&TraceId, &Trace)> = newest.filter(|(_, trace)| trace.matches(query)).collect();
        if query.filter == Filter::Slow {
            found.sort_by_key(|(_, trace)| std::cmp::Reverse(trace.duration_ns()));
        }
        found.into_iter().take(query.limit).map(|(id, trace)| trace.summary(*id, &table.colors)).collect()
    }

    /// What the store holds and what happened so far.
    #[must_use]
    pub fn status(&self) -> Status {
        let table = self.table.lock();
        Status {
            traces: table.traces.len(),
            spans: table.span_count(),
            bytes: table.bytes,
            max_bytes: table.bytes_max,
            counts: table.counts.clone(),
            policies: frequent(table.traces.values().flat_map(|trace| &trace.policies)),
            services: frequent(table.traces.values().flat_map(|trace| &trace.services)),
        }
    }
}

/// How often each name comes, for the [`NAMES_MAX`] most frequent.
fn frequent<'a>(names: impl Iterator<Item = &'a Box<str>>) -> BTreeMap<Box<str>, usize> {
    let mut counts: HashMap<&Box<str>, usize> = HashMap::new();
    names.for_each(|name| *counts.entry(name).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
    counts.into_iter().take(NAMES_MAX).map(|(name, count)| (name.clone(), count)).collect()
}

impl Table {
    fn span_count(&self) -> usize {
        usize::try_from(self.counts.written_spans - self.counts.evicted_spans).unwrap_or(usize::MAX)
    }

    fn insert(&mut self, span: &StoredSpan, encoded: Arc<[u8]>) {
        let trace_id = span.facts.trace_id;
        if let Some(service) = span.service() {
            self.colors.see(service);
        }
        let trace = self.traces.entry(trace_id).or_insert_with(|| {
            self.arrivals.push_back(trace_id);
            self.bytes += TRACE_OVERHEAD_BYTES;
            Trace::new(&span.facts)
        });
        match trace.find(span) {
            None => {
                let bytes_before = trace.bytes;
                trace.insert(span, encoded);
                self.bytes += trace.bytes - bytes_before;
                self.counts.written_spans += 1;
            }
            Some(held) if held.decode() == *span => self.counts.repeated_spans += 1,
            Some(_) => self.counts.conflicting_spans += 1,
        }
    }

    fn evict(&mut self) {
        while self.bytes > self.bytes_max {
            let Some(trace) = self.arrivals.pop_front().and_then(|oldest| self.traces.remove(&oldest)) else { return };
            self.bytes -= trace.bytes;
            self.counts.evicted_traces += 1;
            self.counts.evicted_spans += trace.spans.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests;
