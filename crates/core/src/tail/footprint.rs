//! The memory that steady traffic needs, as the trace table accounts for it.
//!
//! It is an upper estimate: it assumes that each span waits for the whole `decision_wait`, although spans that come
//! later than the first one of their trace wait less.

use super::compression::SCRATCH_BYTES_MAX;
use super::request::{HeldSpan, Request};
use super::services::ServiceNumber;
use super::settings::{Compress, Memory, TailSampling};
use super::shard::{FLEET_TRACE_BYTES, TRACE_BYTES};
use super::table::TableLimits;
use crate::budget::{ENTRY_BYTES, block_bytes};
use crate::otlp::scan::Scope;
use crate::sampling::Policies;

/// The ratio at which LZ4 compresses usual spans; see `memory.compress`.
const COMPRESSION_RATIO: f64 = 4.0;
/// Seconds for which a body is held as it came before it is compressed.
const PLAIN_SECONDS: f64 = 1.0;

/// Steady traffic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// Spans that come in each second.
    pub spans_per_second: f64,
    /// Bytes of a span in a request, with its part of resource and scope.
    pub bytes_per_span: f64,
    /// Spans in a request.
    pub spans_per_request: f64,
    /// Spans of one trace in one request.
    pub spans_per_fragment: f64,
    /// The part of the spans that is kept, 0 to 1.
    pub kept: f64,
}

/// What a table does in addition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Additions {
    /// It remembers facts about decisions ([`Table::with_facts`](super::Table::with_facts)).
    pub facts: bool,
    /// It is a part of a fleet ([`Table::with_fleet`](super::Table::with_fleet)).
    pub fleet: bool,
}

/// Bytes of memory, by use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Footprint {
    /// Bodies of the requests with spans that wait for their decision.
    pub bodies: f64,
    /// The parts of the blocks of bodies that are not filled: one block is being filled, and of another one the first
    /// bodies are released already.
    pub blocks: f64,
    /// The index of these spans, their requests and their traces.
    pub index: f64,
    /// Verdicts that are remembered, the sample of traces that is followed, and the buffers of the compression.
    pub caches: f64,
    /// The keys that policies remember.
    pub policies: f64,
    /// Dropped traces with their index that rescue would hold if there is room. They make way under pressure.
    pub rescue: f64,
    /// The same without the bound of `rescue.max_bytes`.
    pub rescue_unbounded: f64,
}

impl Footprint {
    /// Computes the memory that `traffic` needs with a budget of `limit_bytes`.
    #[must_use]
    pub fn of(
        settings: &TailSampling,
        memory: &Memory,
        policies: &Policies,
        traffic: &Traffic,
        limit_bytes: usize,
        additions: Additions,
    ) -> Self {
        let mut limits = TableLimits::new(settings, limit_bytes);
        limits.remembers_facts = additions.facts;
        let wait = settings.decision_wait.as_secs_f64();
        let index_per_span = index_bytes_per_span(policies, traffic, additions);
        let rescue_window = settings.rescue.window.as_secs_f64();
        let is_compressed = memory.compress == Compress::Lz4;
        // The bound of rescue counts the bytes of spans as they were sent.
        let rescue_rate = traffic.spans_per_second * (1.0 - traffic.kept);
        let rescue_wire = rescue_rate * rescue_window * traffic.bytes_per_span;
        let rescue_spans = |wire: f64| wire / traffic.bytes_per_span;
        let held = |wire: f64| {
            let body = if is_compressed { wire / COMPRESSION_RATIO } else { wire };
            body + rescue_spans(wire) * index_per_span
        };
        let bound = if limits.rescue_window_ms.is_some() { limits.rescue_bytes_max as f64 } else { 0.0 };
        Footprint {
            bodies: traffic.spans_per_second * traffic.bytes_per_span * held_seconds(wait, is_compressed),
            blocks: 2.0 * block_bytes(limit_bytes) as f64,
            index: traffic.spans_per_second * wait * index_per_span,
            caches: (limits.cache_bytes() + if is_compressed { SCRATCH_BYTES_MAX } else { 0 }) as f64,
            policies: policies.state_bytes_max() as f64,
            rescue: held(rescue_wire.min(bound)),
            rescue_unbounded: if bound > 0.0 { held(rescue_wire) } else { 0.0 },
        }
    }

    /// Returns the bytes that must fit into the budget: all but rescue, which makes way.
    #[must_use]
    pub fn required(&self) -> f64 {
        self.bodies + self.blocks + self.index + self.caches + self.policies
    }
}

/// Returns the seconds of traffic that are held, where a compressed body counts as the part that is left of it.
fn held_seconds(wait: f64, is_compressed: bool) -> f64 {
    let plain = if is_compressed { PLAIN_SECONDS.min(wait) } else { wait };
    plain + (wait - plain) / COMPRESSION_RATIO
}

/// Returns the bytes that the table takes for a span beside its body.
fn index_bytes_per_span(policies: &Policies, traffic: &Traffic, additions: Additions) -> f64 {
    let request = size_of::<Request>() + ENTRY_BYTES + size_of::<Scope>() + size_of::<ServiceNumber>();
    let fleet_bytes = if additions.fleet { FLEET_TRACE_BYTES } else { 0 };
    let fragment = TRACE_BYTES + fleet_bytes + policies.summary_heap_bytes();
    size_of::<HeldSpan>() as f64
        + request as f64 / traffic.spans_per_request
        + fragment as f64 / traffic.spans_per_fragment
}

#[cfg(test)]
mod tests;
