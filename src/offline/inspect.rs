//! Single traces of a replay with everything that can be known of them: their spans, the decisions, the answer of each
//! policy with the spans that are the reason for it, and what is written.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::sink_spans::{SinkEncoder, SinkSpan};
use super::{Observer, TextValue};
use crate::otlp::TraceId;
use crate::otlp::fields::span as span_fields;
use crate::otlp::scan::{Scan, Scope, SpanFact, scan};
use crate::otlp::view::{self, Attributes, Lineage, submessages};
use crate::sampling::{Answer, Policies, PolicyParts, Summary, Verdict};
use crate::tail::Decision;
use crate::tail::kept::KeptSpans;
use crate::tail::table::Millis;

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
        let text = |(key, value): (&[u8], _)| {
            Some((String::from_utf8_lossy(key).into_owned(), TextValue::of_any_value(value)?))
        };
        Attributes::of_span(self.message()).iter().filter_map(text).collect()
    }
}

/// A trace with its decisions and its written spans.
#[derive(Clone, Debug)]
pub struct InspectedTrace {
    /// The trace.
    pub id: TraceId,
    /// The accepted spans in the order of their arrival.
    pub spans: Vec<InspectedSpan>,
    /// The decisions, each with the number of the spans that had come.
    pub decisions: Vec<(Decision, usize)>,
    /// The kept spans as they are written, or why one cannot be written.
    pub written: Vec<Result<SinkSpan, String>>,
    /// The number of kept spans.
    pub kept_spans: u64,
}

/// The answer of one policy on a trace, and the reason for it.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyFinding {
    /// The index of the policy in [`Policies::names`].
    pub policy: u16,
    /// The answer.
    pub answer: Answer,
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
    /// The spans for each of which it holds alone, as indices into [`InspectedTrace::spans`]. It can hold for the trace
    /// and for no single span.
    pub spans: Vec<usize>,
}

impl InspectedTrace {
    /// Returns the decision that is in force in the end; `None` if the trace was not decided.
    #[must_use]
    pub fn last_decision(&self) -> Option<&Decision> {
        self.decisions.last().map(|(decision, _)| decision)
    }

    /// Returns true if the trace is kept in the end.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.last_decision().is_some_and(|decision| matches!(decision.verdict, Verdict::Kept(_)))
    }

    /// Returns the answers of all policies at the last decision, in the order of the configuration.
    #[must_use]
    pub fn findings(&self, policies: &Policies, parts: &PolicyParts) -> Vec<PolicyFinding> {
        let Some((decision, span_count)) = self.decisions.last() else { return Vec::new() };
        // If the other spans of the trace were gone, only the late ones counted.
        let first = span_count.saturating_sub(decision.summary.span_count as usize);
        let spans = self.spans.get(first..*span_count).unwrap_or(&self.spans);
        let whole = summary(spans.iter());
        let mut part_findings = parts.parts().iter().enumerate().map(|(index, part)| {
            let holds = part.holds(&whole, self.id);
            let alone = |span: &&InspectedSpan| part.holds(&summary(std::iter::once(*span)), self.id) == Some(true);
            let is_reason = holds == Some(true) && part.is_about_spans();
            let spans = spans.iter().enumerate().filter(|(_, span)| is_reason && alone(span));
            (part.policy, PartFinding { part: index, holds, spans: spans.map(|(index, _)| first + index).collect() })
        });
        let mut by_policy: HashMap<u16, Vec<PartFinding>> = HashMap::new();
        part_findings.by_ref().for_each(|(policy, part)| by_policy.entry(policy).or_default().push(part));
        let asked: HashMap<u16, Answer> = decision.answers.iter().copied().collect();
        let answers = policies.answers(&decision.summary, self.id).into_iter();
        let finding = |(policy, answer): (u16, Answer)| PolicyFinding {
            policy,
            answer: asked.get(&policy).copied().unwrap_or(answer),
            parts: by_policy.remove(&policy).unwrap_or_default(),
        };
        answers.map(finding).collect()
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
    start_unix_nano: Option<u64>,
    bytes_max: usize,
    bytes: usize,
    left_out: u64,
    scan: Scan,
    traces: Vec<InspectedTrace>,
    places: HashMap<TraceId, usize>,
}

impl<'p> Inspector<'p> {
    /// Makes an inspector of traces that holds about `bytes_max` bytes.
    #[must_use]
    pub fn new(parts: &'p PolicyParts, encoder: SinkEncoder, bytes_max: usize) -> Self {
        Inspector {
            parts,
            encoder,
            wanted: None,
            start_unix_nano: None,
            bytes_max,
            bytes: 0,
            left_out: 0,
            scan: Scan::default(),
            traces: Vec::new(),
            places: HashMap::new(),
        }
    }

    /// Sets the time of the first request, unless it is set. Spans are written as at that time and later.
    pub fn start_at(&mut self, unix_nano: u64) {
        self.start_unix_nano.get_or_insert(unix_nano);
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
            let trace =
                InspectedTrace { id, spans: Vec::new(), decisions: Vec::new(), written: Vec::new(), kept_spans: 0 };
            self.traces.push(trace);
            self.traces.len() - 1
        });
        self.bytes += size_of::<InspectedSpan>();
        self.traces[index].spans.push(span);
    }

    fn trace(&mut self, id: TraceId) -> Option<&mut InspectedTrace> {
        self.places.get(&id).and_then(|index| self.traces.get_mut(*index))
    }
}

impl Observer for Inspector<'_> {
    fn accepted(&mut self, body: &Bytes, accepted: &Scan, now_ms: Millis) {
        let is_wanted = |fact: &SpanFact| self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&fact.trace_id));
        if !accepted.facts.iter().any(is_wanted) {
            return;
        }
        if self.bytes + body.len() > self.bytes_max {
            self.left_out += accepted.facts.len() as u64;
            return;
        }
        self.bytes += body.len();
        // The scan has accepted this body before.
        let Ok(body) = scan(body.clone(), self.parts.probe(), &mut self.scan) else { return };
        let found = std::mem::take(&mut self.scan);
        for fact in &found.facts {
            if self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&fact.trace_id)) {
                let scope = found.scopes.get(fact.scope as usize).copied().unwrap_or_default();
                self.add(fact.trace_id, InspectedSpan { arrival_ms: now_ms, fact: *fact, scope, body: body.clone() });
            }
        }
        self.scan = found;
    }

    fn decided(&mut self, decision: Decision) {
        if let Some(trace) = self.trace(decision.trace) {
            let span_count = trace.spans.len();
            trace.decisions.push((decision, span_count));
        }
    }

    fn kept(&mut self, spans: KeptSpans, now_ms: Millis) {
        let id = trace_of(&spans);
        let Some(index) = id.and_then(|id| self.places.get(&id).copied()) else { return };
        let now = self.start_unix_nano.unwrap_or(0).saturating_add(now_ms.saturating_mul(1_000_000));
        let written = self.encoder.written(&spans, now);
        let trace = &mut self.traces[index];
        trace.kept_spans += written.len() as u64;
        trace.written.extend(written);
    }
}

/// Returns the trace of kept spans.
#[must_use]
pub fn trace_of(spans: &KeptSpans) -> Option<TraceId> {
    let open = spans.fragment.open();
    let first = open.spans().next()?;
    submessages(first.span, span_fields::TRACE_ID).last()?.try_into().ok().map(TraceId)
}
