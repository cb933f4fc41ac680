//! Compares the traces of a test with what is expected of them.

use std::collections::HashMap;

use super::written::WrittenFindings;
use crate::offline::Observer;
use crate::offline::inspect::trace_of;
use crate::offline::render::shown;
use crate::otlp::TraceId;
use crate::policy_tests::settings::{Expectations, ExpectedVerdict};
use crate::sampling::{Keep, Verdict};
use crate::tail::kept::KeptSpans;
use crate::tail::table::Millis;
use crate::tail::{Decision, Trigger};

/// The state of a trace in a test.
#[derive(Clone, Debug, PartialEq)]
struct SeenTrace {
    id: TraceId,
    verdict: Verdict,
    trigger: Trigger,
    kept_spans: u64,
}

/// An observer that remembers the state of each trace.
#[derive(Debug, Default)]
pub(super) struct SeenTraces<'e> {
    start_unix_nano: u64,
    traces: Vec<SeenTrace>,
    places: HashMap<TraceId, usize>,
    /// The comparison of written spans, if the test says how spans are written.
    written: Option<WrittenFindings<'e>>,
}

impl<'e> SeenTraces<'e> {
    pub(super) fn new(written: Option<WrittenFindings<'e>>) -> Self {
        SeenTraces { written, ..SeenTraces::default() }
    }

    /// Returns the number of traces.
    pub(super) fn len(&self) -> usize {
        self.traces.len()
    }
}

impl Observer for SeenTraces<'_> {
    fn begins(&mut self, unix_nano: u64) {
        self.start_unix_nano = unix_nano;
    }

    fn decided(&mut self, decision: Decision) {
        let Decision { trace, verdict, trigger, .. } = decision;
        match self.places.get(&trace).and_then(|index| self.traces.get_mut(*index)) {
            Some(seen) => (seen.verdict, seen.trigger) = (verdict, trigger),
            None => {
                self.places.insert(trace, self.traces.len());
                self.traces.push(SeenTrace { id: trace, verdict, trigger, kept_spans: 0 });
            }
        }
    }

    fn kept(&mut self, spans: KeptSpans, now_ms: Millis) {
        // In a dry run, spans of dropped traces leave, too. A test is about the verdict.
        if spans.keep.is_dropped() {
            return;
        }
        let trace = trace_of(&spans);
        let seen = trace.and_then(|id| self.places.get(&id)).and_then(|index| self.traces.get_mut(*index));
        if let Some(seen) = seen {
            seen.kept_spans += u64::from(spans.fragment.span_count());
        }
        if let Some(written) = &mut self.written {
            written.add(&spans, trace, self.start_unix_nano.saturating_add(now_ms.saturating_mul(1_000_000)));
        }
    }
}

/// The expectations of a test, and the traces that were seen.
pub(super) struct Comparison<'a> {
    expect: &'a Expectations,
    seen: &'a SeenTraces<'a>,
    names: &'a [String],
    failed_trace: Option<TraceId>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(expect: &'a Expectations, seen: &'a SeenTraces<'a>, names: &'a [String]) -> Self {
        Comparison { expect, seen, names, failed_trace: None }
    }

    /// Returns the expectations that do not hold.
    pub(super) fn failures(&mut self) -> Vec<String> {
        let mut failures = Vec::new();
        if self.seen.traces.is_empty() {
            return vec!["no span is accepted: trace ids or span ids are not valid".to_owned()];
        }
        failures.extend(self.verdict());
        failures.extend(self.policy());
        failures.extend(self.trigger());
        failures.extend(self.spans());
        failures.extend(self.kept());
        failures.extend(self.adjusted_count());
        if let Some(written) = &self.seen.written {
            failures.extend(written.failures());
            self.failed_trace = self.failed_trace.or(written.different_trace());
        }
        if !failures.is_empty() {
            self.failed_trace = self.failed_trace.or(self.seen.traces.first().map(|seen| seen.id));
        }
        failures
    }

    /// Returns a trace for which an expectation does not hold, after [`Comparison::failures`].
    pub(super) fn failed_trace(&self) -> Option<TraceId> {
        self.failed_trace
    }

    /// Returns the failure of the traces for which `found` is not `expected`, both as they are shown. What was found is
    /// that of the failed trace; another trace is named.
    fn each(&mut self, key: &str, expected: &str, found: impl Fn(&SeenTrace) -> String) -> Option<String> {
        // If a test says how many traces are kept, its other expectations are about the kept traces.
        let only_kept = self.expect.kept.is_some();
        if only_kept && self.keeps().next().is_none() {
            return Some(format!("{key}: expected {expected}, but no trace is kept"));
        }
        let traces = self.seen.traces.iter().filter(|seen| !only_kept || keep(seen).is_some());
        let found = traces.map(|seen| (seen.id, found(seen)));
        let wrong: Vec<(TraceId, String)> = found.filter(|(_, found)| found != expected).collect();
        let of = if self.seen.traces.len() > 1 {
            format!(" for {} of {} traces", wrong.len(), self.seen.traces.len())
        } else {
            String::new()
        };
        let (found, which) = self.shown(&wrong)?;
        Some(format!("{key}: expected {expected}, found {found}{of}{which}"))
    }

    /// Returns what was found for the failed trace if it is one of the `wrong` ones, and otherwise for the first of them,
    /// with the words that name it. The first wrong trace of all becomes the failed one.
    fn shown<'w, T>(&mut self, wrong: &'w [(TraceId, T)]) -> Option<(&'w T, String)> {
        let failed = wrong.iter().find(|(id, _)| self.failed_trace == Some(*id));
        let (id, found) = failed.or(wrong.first())?;
        let is_failed = *self.failed_trace.get_or_insert(*id) == *id;
        Some((found, if is_failed { String::new() } else { format!(", {id} among them") }))
    }

    fn verdict(&mut self) -> Option<String> {
        let expected = self.expect.verdict?;
        let word = |kept| if kept { "kept" } else { "dropped" }.to_owned();
        self.each("verdict", &word(expected == ExpectedVerdict::Kept), |seen| word(keep(seen).is_some()))
    }

    fn policy(&mut self) -> Option<String> {
        let expected = self.expect.policy.as_ref()?;
        let names = self.names;
        let name = |policy: u16| names.get(usize::from(policy)).map(|name| shown(name)).unwrap_or_default();
        self.each("policy", &shown(&expected.name), |seen| match seen.verdict {
            Verdict::Kept(keep) => name(keep.policy),
            Verdict::DroppedByPolicy(policy) => name(policy),
            Verdict::Dropped => "none: no policy keeps the trace".to_owned(),
        })
    }

    fn trigger(&mut self) -> Option<String> {
        let expected = self.expect.trigger?;
        self.each("trigger", expected.as_str(), |seen| seen.trigger.as_str().to_owned())
    }

    fn spans(&mut self) -> Option<String> {
        let expected = self.expect.spans?;
        self.each("spans", &expected.to_string(), |seen| seen.kept_spans.to_string())
    }

    fn kept(&mut self) -> Option<String> {
        let range = self.expect.kept?;
        let (kept, all) = (self.keeps().count(), self.seen.traces.len());
        let percent = 100.0 * kept as f64 / all as f64;
        let is_within = (range.min..=range.max).contains(&percent);
        let expected =
            if range.min == range.max { format!("{}%", range.min) } else { format!("{}% - {}%", range.min, range.max) };
        if is_within {
            return None;
        }
        // A trace of the kind of which there are too many.
        let is_kept = percent > range.max;
        self.failed_trace = self.failed_trace.or_else(|| {
            let mut traces = self.seen.traces.iter();
            traces.find(|seen| keep(seen).is_some() == is_kept).map(|seen| seen.id)
        });
        Some(format!("kept: expected {expected}, found {percent:.2}%: {kept} of {all} traces"))
    }

    fn adjusted_count(&mut self) -> Option<String> {
        let expected = self.expect.adjusted_count?;
        if self.keeps().next().is_none() {
            return Some(format!("adjusted_count: expected {expected}, but no trace is kept"));
        }
        let counts = self.seen.traces.iter().filter_map(|seen| Some((seen.id, keep(seen)?.threshold.adjusted_count())));
        let wrong: Vec<_> = counts.filter(|(_, count)| (count / expected - 1.0).abs() > 1e-6).collect();
        let (found, which) = self.shown(&wrong)?;
        Some(format!("adjusted_count: expected {expected}, found {found}{which}"))
    }

    fn keeps(&self) -> impl Iterator<Item = Keep> {
        self.seen.traces.iter().filter_map(keep)
    }
}

fn keep(seen: &SeenTrace) -> Option<Keep> {
    match seen.verdict {
        Verdict::Kept(keep) => Some(keep),
        Verdict::Dropped | Verdict::DroppedByPolicy(_) => None,
    }
}
