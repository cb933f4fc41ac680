//! Single traces of a replay with everything that can be known of them: their spans, the decisions, the answer of each
//! policy with the spans that are the reason for it, and what is written.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::sink_spans::{SinkEncoder, SinkSpan, heap_bytes};
use super::{Observer, TextValue};
use crate::otlp::TraceId;
use crate::otlp::fields::span as span_fields;
use crate::otlp::scan::{Scan, Scope, SpanFact, scan};
use crate::otlp::view::{self, Attributes, Lineage, submessages};
use crate::sampling::{Answer, Policies, PolicyParts, Summary, Verdict};
use crate::tail::Decision;
use crate::tail::kept::KeptSpans;
use crate::tail::table::Millis;

/// The most spans that are named as the reason why a part of a policy holds.
pub(super) const REASONS_MAX: usize = 10_000;

/// A span of an inspected trace.
#[derive(Clone, Debug)]
pub struct InspectedSpan {
    /// The time of arrival, counted from the first request.
    pub arrival_ms: Millis,
    /// The facts of the scan, with the conditions of the parts of policies.
    fact: SpanFact,
    scope: Scope,
    body: Bytes,
}

impl InspectedSpan {
    /// Returns the `Span` message.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        self.fact.span.of(&self.body)
    }

    /// Returns the name of its service; empty if there is none.
    #[must_use]
    pub fn service(&self) -> String {
        String::from_utf8_lossy(self.scope.service.of(&self.body)).into_owned()
    }

    /// Returns the name of the span.
    #[must_use]
    pub fn name(&self) -> String {
        let name = submessages(self.message(), span_fields::NAME).last().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }

    /// Returns the place of the span in its trace.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        view::lineage(self.message())
    }

    /// Returns the nanoseconds from start to end; `None` if one of them is not set.
    #[must_use]
    pub fn duration_nanos(&self) -> Option<u64> {
        let SpanFact { start_unix_nano, end_unix_nano, .. } = self.fact;
        (start_unix_nano != 0 && end_unix_nano != 0).then(|| end_unix_nano.saturating_sub(start_unix_nano))
    }

    /// Returns true if the status of the span is ERROR.
    #[must_use]
    pub fn has_error(&self) -> bool {
        self.fact.error
    }

    /// Returns the attributes of the span as they were sent.
    #[must_use]
    pub fn attributes(&self) -> Vec<(String, TextValue)> {
        let text =
            |(key, value): (&[u8], _)| (String::from_utf8_lossy(key).into_owned(), TextValue::of_any_value(value));
        Attributes::of_span(self.message()).iter().map(text).collect()
    }
}

/// A trace with its decisions and its written spans.
#[derive(Clone, Debug)]
pub struct InspectedTrace {
    /// The trace.
    pub id: TraceId,
    /// The accepted spans in the order of their arrival.
    pub spans: Vec<InspectedSpan>,
    /// The decisions.
    pub decisions: Vec<InspectedDecision>,
    /// The kept spans, or in a dry run all spans, as they are written. An error is the reason why a span cannot be
    /// written.
    pub written: Vec<Result<SinkSpan, String>>,
    /// The number of further written spans, for which there was no room.
    pub written_left_out: u64,
    /// The number of kept spans.
    pub kept_spans: u64,
}

/// A decision on an inspected trace.
#[derive(Clone, Debug)]
pub struct InspectedDecision {
    /// The decision.
    pub decision: Decision,
    /// The number of spans that had come.
    span_count: usize,
    /// The policies that were in force.
    policies: Arc<Policies>,
}

/// The answer of one policy on a trace, and the reason for it.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyFinding {
    /// The index of the policy in [`Policies::names`].
    pub policy: u16,
    /// The answer.
    pub answer: Answer,
    /// True if it is a shadow policy, whose answer is never acted on.
    pub is_shadow: bool,
    /// The parts of the policy.
    pub parts: Vec<PartFinding>,
}

/// The answer of a part of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct PartFinding {
    /// The index of the part in [`PolicyParts::parts`].
    pub part: usize,
    /// True if the part holds for the trace; `None` if it depends on other traces.
    pub holds: Option<bool>,
    /// The first spans for each of which it holds alone, as indices into [`InspectedTrace::spans`], 10,000 at most. It
    /// can hold for the trace and for no single span.
    pub spans: Vec<usize>,
}

impl InspectedTrace {
    fn new(id: TraceId) -> Self {
        let (spans, decisions, written) = (Vec::new(), Vec::new(), Vec::new());
        InspectedTrace { id, spans, decisions, written, written_left_out: 0, kept_spans: 0 }
    }

    /// Returns the decision that is in force in the end; `None` if the trace was not decided.
    #[must_use]
    pub fn last_decision(&self) -> Option<&Decision> {
        self.decisions.last().map(|last| &last.decision)
    }

    /// Returns true if the trace is kept in the end.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.last_decision().is_some_and(|decision| matches!(decision.verdict, Verdict::Kept(_)))
    }

    /// Returns the answers of all policies that were in force at the last decision, in the order of the configuration,
    /// and then those of the shadow policies.
    #[must_use]
    pub fn findings(&self, parts: &PolicyParts) -> Vec<PolicyFinding> {
        let Some(InspectedDecision { decision, span_count, policies }) = self.decisions.last() else {
            return Vec::new();
        };
        // If the other spans of the trace were gone, only the late ones counted.
        let first = span_count.saturating_sub(decision.summary.span_count as usize);
        let mut by_policy = self.part_findings(parts, first, *span_count);
        let asked: HashMap<u16, Answer> = decision.answers.iter().copied().collect();
        let mut finding = |policy: u16, answer: Answer, is_shadow: bool| {
            let answer = asked.get(&policy).copied().unwrap_or(answer);
            PolicyFinding { policy, answer, is_shadow, parts: by_policy.remove(&policy).unwrap_or_default() }
        };
        let answers = policies.answers(&decision.summary, self.id).into_iter();
        let mut findings: Vec<_> = answers.map(|(policy, answer)| finding(policy, answer, false)).collect();
        let shadow = policies.shadow_answers(&decision.summary, self.id).into_iter();
        findings.extend(shadow.map(|(policy, answer)| finding(policy, answer, true)));
        findings
    }

    /// Returns the answers of the parts of policies on the spans `first..end`, by policy.
    fn part_findings(&self, parts: &PolicyParts, first: usize, end: usize) -> HashMap<u16, Vec<PartFinding>> {
        let spans = self.spans.get(first..end).unwrap_or(&self.spans);
        let whole = summary(spans.iter());
        let mut by_policy: HashMap<u16, Vec<PartFinding>> = HashMap::new();
        for (index, part) in parts.parts().iter().enumerate() {
            let holds = part.holds(&whole, self.id);
            let alone = |span: &InspectedSpan| part.holds(&summary(std::iter::once(span)), self.id) == Some(true);
            let is_reason = holds == Some(true) && part.is_about_spans();
            let reasons = spans.iter().enumerate().filter(|(_, span)| is_reason && alone(span));
            let spans = reasons.map(|(index, _)| first + index).take(REASONS_MAX).collect();
            by_policy.entry(part.policy).or_default().push(PartFinding { part: index, holds, spans });
        }
        by_policy
    }
}

impl PolicyFinding {
    /// Returns the spans that are a reason for the answer, in the order of the trace.
    #[must_use]
    pub fn spans(&self) -> Vec<usize> {
        let mut spans: Vec<_> = self.parts.iter().flat_map(|part| part.spans.iter().copied()).collect();
        spans.sort_unstable();
        spans.dedup();
        spans
    }
}

fn summary<'a>(spans: impl Iterator<Item = &'a InspectedSpan>) -> Summary {
    spans.fold(Summary::default(), |mut summary, span| {
        summary.add(&span.fact);
        summary
    })
}

/// An observer that holds whole traces, up to a limit of memory.
#[derive(Debug)]
pub struct Inspector<'p> {
    parts: &'p PolicyParts,
    encoder: SinkEncoder,
    /// The traces to hold; `None` for all.
    wanted: Option<HashSet<TraceId>>,
    start_unix_nano: u64,
    policies: Arc<Policies>,
    bytes_max: usize,
    bytes: usize,
    /// The addresses of the resources of written spans, whose bytes are counted.
    resources: HashSet<usize>,
    left_out: u64,
    scan: Scan,
    traces: Vec<InspectedTrace>,
    places: HashMap<TraceId, usize>,
}

impl<'p> Inspector<'p> {
    /// Makes an inspector of traces that holds about `bytes_max` bytes.
    #[must_use]
    pub fn new(policies: &Arc<Policies>, parts: &'p PolicyParts, encoder: SinkEncoder, bytes_max: usize) -> Self {
        Inspector {
            parts,
            encoder,
            wanted: None,
            start_unix_nano: 0,
            policies: Arc::clone(policies),
            bytes_max,
            bytes: 0,
            resources: HashSet::new(),
            left_out: 0,
            scan: Scan::default(),
            traces: Vec::new(),
            places: HashMap::new(),
        }
    }

    /// Returns the inspector for these traces only.
    #[must_use]
    pub fn of(self, wanted: HashSet<TraceId>) -> Self {
        Inspector { wanted: Some(wanted), ..self }
    }

    /// Returns the traces in the order in which they began, and the number of spans for which there was no room.
    #[must_use]
    pub fn into_traces(self) -> (Vec<InspectedTrace>, u64) {
        (self.traces, self.left_out)
    }

    fn add(&mut self, id: TraceId, span: InspectedSpan) {
        let index = *self.places.entry(id).or_insert_with(|| {
            self.traces.push(InspectedTrace::new(id));
            self.bytes += TRACE_BYTES;
            self.traces.len() - 1
        });
        self.bytes += size_of::<InspectedSpan>();
        self.traces[index].spans.push(span);
    }

    fn is_wanted(&self, fact: &SpanFact) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&fact.trace_id))
    }
}

/// Bytes of memory that a trace takes beside its spans, about: its place by id, and a decision with its answers.
const TRACE_BYTES: usize = size_of::<InspectedTrace>() + size_of::<InspectedDecision>() + 256;

impl Observer for Inspector<'_> {
    fn begins(&mut self, unix_nano: u64) {
        self.start_unix_nano = unix_nano;
    }

    fn in_force(&mut self, policies: &Arc<Policies>) {
        self.policies = Arc::clone(policies);
    }

    fn accepted(&mut self, body: &Bytes, accepted: &Scan, now_ms: Millis) {
        let wanted = accepted.facts.iter().filter(|fact| self.is_wanted(fact)).count();
        if wanted == 0 {
            return;
        }
        if self.bytes + body.len() + wanted * size_of::<InspectedSpan>() > self.bytes_max {
            self.left_out += wanted as u64;
            return;
        }
        self.bytes += body.len();
        // The scan has accepted this body before.
        let Ok(body) = scan(body.clone(), self.parts.probe(), &mut self.scan) else { return };
        let found = std::mem::take(&mut self.scan);
        for fact in &found.facts {
            if !self.is_wanted(fact) {
                continue;
            }
            let scope = found.scopes.get(fact.scope as usize).copied().unwrap_or_default();
            self.add(fact.trace_id, InspectedSpan { arrival_ms: now_ms, fact: *fact, scope, body: body.clone() });
        }
        self.scan = found;
    }

    fn decided(&mut self, decision: Decision) {
        let Some(trace) = self.places.get(&decision.trace).and_then(|index| self.traces.get_mut(*index)) else {
            return;
        };
        let (span_count, policies) = (trace.spans.len(), Arc::clone(&self.policies));
        trace.decisions.push(InspectedDecision { decision, span_count, policies });
    }

    fn kept(&mut self, spans: KeptSpans, now_ms: Millis) {
        let place = trace_of(&spans).and_then(|id| self.places.get(&id).copied());
        let Some(trace) = place.and_then(|index| self.traces.get_mut(index)) else { return };
        let span_count = u64::from(spans.fragment.span_count());
        if !spans.keep.is_dropped() {
            trace.kept_spans += span_count;
        }
        if self.bytes > self.bytes_max {
            trace.written_left_out += span_count;
            return;
        }
        let now = self.start_unix_nano.saturating_add(now_ms.saturating_mul(1_000_000));
        self.encoder.written(&spans, now, |written| {
            if self.bytes > self.bytes_max {
                trace.written_left_out += 1;
                return;
            }
            self.bytes += size_of::<Result<SinkSpan, String>>();
            if let Ok(span) = &written {
                self.bytes += span.name.len() + heap_bytes(&span.attributes);
                // The list lives as long as the span that is pushed, so no other one gets its address.
                if self.resources.insert(span.resource.as_ptr().addr()) {
                    self.bytes += heap_bytes(&span.resource);
                }
            }
            trace.written.push(written);
        });
    }
}

/// Returns the trace of kept spans.
#[must_use]
pub fn trace_of(spans: &KeptSpans) -> Option<TraceId> {
    let open = spans.fragment.open();
    let first = open.spans().next()?;
    submessages(first.span, span_fields::TRACE_ID).last()?.try_into().ok().map(TraceId)
}

#[cfg(test)]
mod tests;
