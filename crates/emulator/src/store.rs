//! A store of traces within a limit in bytes. The trace whose first span arrived first is evicted first.
//!
//! Spans are held in encoded form: a decoded span takes several times its encoded bytes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use prost::Message;
use serde::Serialize;
use tokio::sync::watch;

use super::check::ValidationError;
use super::stored::StoredSpan;
use crate::otlp::TraceId;

mod colors;
mod held;

use colors::Colors;
pub use held::TraceSummary;
use held::{EncodedSpan, StoredTrace, TRACE_OVERHEAD_BYTES};

/// Maximum services and policies in a [`StoreStatus`], which fills the page's menus. The most frequent ones are listed.
const NAMES_MAX: usize = 200;

/// The store. The API, the page and tests share it.
#[derive(Debug)]
pub struct TraceStore {
    table: Mutex<StoredTraces>,
    written: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct StoredTraces {
    bytes_max: usize,
    bytes: usize,
    traces: HashMap<TraceId, StoredTrace>,
    /// The ids of the traces, in the order in which their first spans arrived.
    arrivals: VecDeque<TraceId>,
    colors: Colors,
    counts: Counts,
}

/// Counts of calls, spans and traces since the store was created.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Calls whose spans were all valid.
    pub accepted_calls: u64,
    /// Calls that were refused for an invalid request or span.
    pub refused_calls: u64,
    /// The reason of the last refusal.
    pub last_refusal: Option<String>,
    /// Spans that were stored.
    pub written_spans: u64,
    /// Spans that were sent again unchanged, which means that a client retried.
    pub repeated_spans: u64,
    /// Spans that were sent again with the same name but different content. The first span is kept.
    pub conflicting_spans: u64,
    /// Traces that were evicted to make room.
    pub evicted_traces: u64,
    /// Spans of evicted traces.
    pub evicted_spans: u64,
}

/// The store's content and counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoreStatus {
    /// Traces held now.
    pub traces: usize,
    /// Spans held now.
    pub spans: usize,
    /// Bytes held now.
    pub bytes: usize,
    /// The limit of `bytes`.
    pub max_bytes: usize,
    /// Counts since the store was created.
    #[serde(flatten)]
    pub counts: Counts,
    /// Number of held traces by policy. If there are very many policies, only the most frequent ones.
    pub policies: BTreeMap<Box<str>, usize>,
    /// Number of held traces by service. If there are very many services, only the most frequent ones.
    pub services: BTreeMap<Box<str>, usize>,
}

/// A selection of traces, with its order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// All traces; the one that arrived last comes first.
    #[default]
    Newest,
    /// Traces with a failed span; the one that arrived last comes first.
    Errors,
    /// All traces; the longest comes first.
    Slow,
}

/// A query for traces. A trace must match all fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The selection of traces and their order.
    pub filter: Filter,
    /// The policy that must have kept the trace.
    pub policy: Option<String>,
    /// A service that must have a span in the trace.
    pub service: Option<String>,
    /// Maximum number of traces in the answer.
    pub limit: usize,
}

impl Default for Query {
    fn default() -> Self {
        Query { filter: Filter::Newest, policy: None, service: None, limit: usize::MAX }
    }
}

impl TraceStore {
    /// Creates an empty store that holds at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        TraceStore {
            table: Mutex::new(StoredTraces { bytes_max, ..StoredTraces::default() }),
            written: watch::Sender::new(0),
        }
    }

    /// Stores the spans of one call. A span whose name is already in the store is counted but not stored again.
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

    /// Counts a refused call and keeps its reason.
    pub fn refuse(&self, violation: &ValidationError) {
        let mut table = self.table.lock();
        table.counts.refused_calls += 1;
        table.counts.last_refusal = Some(violation.to_string());
    }

    /// Returns a receiver of the number of spans written so far. A caller can wait for a number:
    /// `store.written().wait_for(|&spans| spans >= 3)`.
    #[must_use]
    pub fn written(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Returns the number of spans held now.
    #[must_use]
    pub fn span_count(&self) -> usize {
        self.table.lock().span_count()
    }

    /// Returns true if the store holds a span of the trace.
    #[must_use]
    pub fn holds(&self, id: &TraceId) -> bool {
        self.table.lock().traces.contains_key(id)
    }

    /// Returns the spans of a trace in the order of arrival.
    #[must_use]
    pub fn trace(&self, id: &TraceId) -> Option<Vec<StoredSpan>> {
        self.trace_with_summary(id).map(|(_, spans)| spans)
    }

    /// Returns the summary of a trace, and its spans in the order of arrival.
    #[must_use]
    pub fn trace_with_summary(&self, id: &TraceId) -> Option<(TraceSummary, Vec<StoredSpan>)> {
        let (summary, held) = {
            let table = self.table.lock();
            let trace = table.traces.get(id)?;
            (trace.summary(*id, &table.colors), trace.spans.clone())
        };
        Some((summary, held.iter().map(EncodedSpan::decode).collect()))
    }

    /// Returns all spans, trace by trace, in the order of arrival.
    #[must_use]
    pub fn spans(&self) -> Vec<StoredSpan> {
        let table = self.table.lock();
        let traces = table.arrivals.iter().filter_map(|id| table.traces.get(id));
        traces.flat_map(|trace| trace.spans.iter().map(EncodedSpan::decode)).collect()
    }

    /// Returns the traces that match `query`.
    #[must_use]
    pub fn traces(&self, query: &Query) -> Vec<TraceSummary> {
        let table = self.table.lock();
        let newest = table.arrivals.iter().rev().filter_map(|id| table.traces.get_key_value(id));
        let mut found: Vec<(&TraceId, &StoredTrace)> = newest.filter(|(_, trace)| trace.matches(query)).collect();
        if query.filter == Filter::Slow {
            found.sort_by_key(|(_, trace)| std::cmp::Reverse(trace.duration_ns()));
        }
        found.into_iter().take(query.limit).map(|(id, trace)| trace.summary(*id, &table.colors)).collect()
    }

    /// Returns the store's content and counts.
    #[must_use]
    pub fn status(&self) -> StoreStatus {
        let table = self.table.lock();
        StoreStatus {
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

/// Counts each name, and returns the [`NAMES_MAX`] most frequent ones.
fn frequent<'a>(names: impl Iterator<Item = &'a Box<str>>) -> BTreeMap<Box<str>, usize> {
    let mut counts: HashMap<&Box<str>, usize> = HashMap::new();
    names.for_each(|name| *counts.entry(name).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
    counts.into_iter().take(NAMES_MAX).map(|(name, count)| (name.clone(), count)).collect()
}

impl StoredTraces {
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
            StoredTrace::new(&span.facts)
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
