//! A trace in the store: its encoded spans and a summary of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use prost::Message;

use super::colors::Colors;
use super::{Filter, Query};
use crate::otlp::TraceId;
use crate::proto::google::devtools::cloudtrace::v2::Span;
use crate::stored::{SpanFacts, StoredSpan};
use crate::waterfall;

/// Bytes that a span takes in addition to its encoded form: its [`EncodedSpan`], its entry in the index, and its share
/// of the allocator's overhead. With 256,000 spans in 43,000 traces, the measured resident set was 320 B a span larger than
/// the encoded spans.
const SPAN_OVERHEAD_BYTES: usize = 320;
/// Bytes that a trace takes in addition to its spans.
pub(super) const TRACE_OVERHEAD_BYTES: usize = 512;
/// Bytes that the name of a service or policy takes in addition to its text.
const NAME_OVERHEAD_BYTES: usize = 32;

/// The summary of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSummary {
    /// The trace's id.
    pub trace_id: TraceId,
    /// The display name of the root span, see [`waterfall::root`].
    pub root_name: String,
    /// The service of the root span.
    pub root_service: Option<String>,
    /// The services of all spans, sorted.
    pub services: Vec<String>,
    /// The color number of each service in `services`. A service keeps its number as long as the store exists.
    pub service_colors: Vec<u32>,
    /// The earliest start of a span, in nanoseconds since the epoch.
    pub start_ns: i64,
    /// Nanoseconds from the earliest start to the latest end.
    pub duration_ns: i64,
    /// Number of spans held.
    pub span_count: usize,
    /// Number of failed spans, see [`StoredSpan::is_error`].
    pub error_count: usize,
    /// The policies that kept the trace, sorted; usually one.
    pub policies: Vec<String>,
    /// The adjusted count; the smallest one if the spans differ.
    pub adjusted_count: Option<f64>,
}

/// The stored form of a trace.
#[derive(Debug, Default)]
pub(super) struct StoredTrace {
    pub(super) spans: Vec<EncodedSpan>,
    /// The position in `spans` by project and span id, which identify a span within its trace.
    index: HashMap<(Arc<str>, u64), usize>,
    pub(super) services: BTreeSet<Box<str>>,
    pub(super) policies: BTreeSet<Box<str>>,
    adjusted_count: Option<f64>,
    start_ns: i64,
    end_ns: i64,
    error_count: usize,
    pub(super) bytes: usize,
}

/// The stored form of a span.
#[derive(Clone, Debug)]
pub(super) struct EncodedSpan {
    project: Arc<str>,
    facts: SpanFacts,
    encoded: Arc<[u8]>,
}

impl StoredTrace {
    pub(super) fn new(first: &SpanFacts) -> Self {
        let SpanFacts { start_ns, end_ns, .. } = *first;
        StoredTrace { start_ns, end_ns, bytes: TRACE_OVERHEAD_BYTES, ..StoredTrace::default() }
    }

    pub(super) fn find(&self, span: &StoredSpan) -> Option<&EncodedSpan> {
        let index = self.index.get(&(Arc::clone(&span.project), span.facts.id))?;
        self.spans.get(*index)
    }

    pub(super) fn insert(&mut self, span: &StoredSpan, encoded: Arc<[u8]>) {
        self.bytes += encoded.len() + SPAN_OVERHEAD_BYTES;
        self.start_ns = self.start_ns.min(span.facts.start_ns);
        self.end_ns = self.end_ns.max(span.facts.end_ns);
        self.error_count += usize::from(span.is_error());
        self.bytes += insert_name(&mut self.services, span.service());
        self.bytes += insert_name(&mut self.policies, span.policy());
        let counts = self.adjusted_count.into_iter().chain(span.adjusted_count());
        self.adjusted_count = counts.reduce(f64::min);
        self.index.insert((Arc::clone(&span.project), span.facts.id), self.spans.len());
        self.spans.push(EncodedSpan { project: Arc::clone(&span.project), facts: span.facts, encoded });
    }

    pub(super) fn duration_ns(&self) -> i64 {
        self.end_ns.saturating_sub(self.start_ns)
    }

    pub(super) fn matches(&self, query: &Query) -> bool {
        (query.filter != Filter::Errors || self.error_count > 0)
            && query.policy.as_deref().is_none_or(|policy| self.policies.contains(policy))
            && query.service.as_deref().is_none_or(|service| self.services.contains(service))
    }

    pub(super) fn summary(&self, trace_id: TraceId, colors: &Colors) -> TraceSummary {
        let root = waterfall::root(self.spans.iter().map(|held| held.facts)).and_then(|index| self.spans.get(index));
        let root = root.map(EncodedSpan::decode);
        TraceSummary {
            trace_id,
            root_name: root.as_ref().map_or("", StoredSpan::display_name).to_owned(),
            root_service: root.as_ref().and_then(StoredSpan::service).map(str::to_owned),
            services: self.services.iter().map(ToString::to_string).collect(),
            service_colors: self.services.iter().map(|service| colors.of(service)).collect(),
            start_ns: self.start_ns,
            duration_ns: self.duration_ns(),
            span_count: self.spans.len(),
            error_count: self.error_count,
            policies: self.policies.iter().map(ToString::to_string).collect(),
            adjusted_count: self.adjusted_count,
        }
    }
}

/// Adds `name` if it is new, and returns the bytes that it takes.
fn insert_name(names: &mut BTreeSet<Box<str>>, name: Option<&str>) -> usize {
    match name {
        Some(name) if names.insert(name.into()) => name.len() + NAME_OVERHEAD_BYTES,
        _ => 0,
    }
}

impl EncodedSpan {
    /// Decodes the span. Decoding cannot fail, because the store itself encoded the bytes.
    pub(super) fn decode(&self) -> StoredSpan {
        let span = Span::decode(&*self.encoded).unwrap_or_default();
        StoredSpan { project: Arc::clone(&self.project), facts: self.facts, span }
    }
}
