//! Single decisions, for a caller of the table that wants more than their counts.

use smallvec::SmallVec;

use super::request::Fragment;
use super::table::Millis;
use super::tally::Trigger;
use crate::otlp::TraceId;
use crate::sampling::{Answer, Policies, Summary, Verdict};

/// A decision on one trace. A trace that is dropped first and rescued later has two.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The trace.
    pub trace: TraceId,
    /// The verdict.
    pub verdict: Verdict,
    /// The reason why the trace was decided when it was.
    pub trigger: Trigger,
    /// The time of the decision.
    pub at_ms: Millis,
    /// The facts that the verdict is based on. If late spans are evidence and the other spans of their trace are gone,
    /// these are the facts of the late spans alone.
    pub summary: Summary,
    /// The numbers and the answers of the policies that were asked. Empty unless [`DecisionLog::with_answers`] has made
    /// the log. Also empty for verdicts on evidence, for which no policy is asked; see [`Policies::answers`].
    pub answers: Vec<(u16, Answer)>,
    /// The spans, for [`Decision::services`]. Empty unless [`DecisionLog::with_services`] has made the log.
    fragments: SmallVec<[Fragment; 3]>,
}

/// Decisions are equal if all but their spans are equal: these only lead to the services.
impl PartialEq for Decision {
    fn eq(&self, other: &Self) -> bool {
        let facts = |one: &Self| (one.trace, one.verdict, one.trigger, one.at_ms);
        facts(self) == facts(other) && self.summary == other.summary && self.answers == other.answers
    }
}

impl Decision {
    pub(super) fn new(trace: TraceId, verdict: Verdict, trigger: Trigger, at_ms: Millis, summary: &Summary) -> Self {
        let (summary, answers, fragments) = (summary.clone(), Vec::new(), SmallVec::new());
        Decision { trace, verdict, trigger, at_ms, summary, answers, fragments }
    }

    /// Returns the names of the first `count_max` services of the trace, as they were sent. Of a compressed request, only
    /// the first span is looked at. There are none unless [`DecisionLog::with_services`] has made the log.
    #[must_use]
    pub fn services(&self, count_max: usize) -> Vec<Vec<u8>> {
        let mut services: Vec<Vec<u8>> = Vec::new();
        for fragment in &self.fragments {
            for (service, _) in fragment.glance().spans_by_service() {
                if services.len() < count_max && !services.iter().any(|known| known == service) {
                    services.push(service.to_vec());
                }
            }
        }
        services
    }
}

/// The traces whose services decisions know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Traces {
    #[default]
    None,
    Kept,
    All,
}

/// The decisions of a round of work, in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub struct DecisionLog {
    with_answers: bool,
    with_services: Traces,
    decisions: Vec<Decision>,
    /// The answers for the decision that is noted next.
    answers: Vec<(u16, Answer)>,
}

impl DecisionLog {
    /// Creates a log that has the answers of the policies in addition.
    #[must_use]
    pub fn with_answers() -> Self {
        DecisionLog { with_answers: true, ..DecisionLog::default() }
    }

    /// Creates a log whose decisions know the services of their traces. They hold the spans, so drain it soon.
    #[must_use]
    pub fn with_services() -> Self {
        DecisionLog { with_services: Traces::All, ..DecisionLog::default() }
    }

    /// Does the same as [`DecisionLog::with_services`] for kept traces only.
    #[must_use]
    pub fn with_services_of_kept() -> Self {
        DecisionLog { with_services: Traces::Kept, ..DecisionLog::default() }
    }

    /// Removes and returns all decisions.
    pub fn drain(&mut self) -> impl Iterator<Item = Decision> {
        self.decisions.drain(..)
    }

    /// Asks the policies for the verdict on a trace.
    pub(super) fn ask(&mut self, policies: &Policies, summary: &Summary, id: TraceId, now_ms: Millis) -> Verdict {
        if !self.with_answers {
            return policies.decide(summary, id, now_ms);
        }
        self.answers.clear();
        policies.decide_with_answers(summary, id, now_ms, |policy, answer| self.answers.push((policy, answer)))
    }

    /// Notes a decision on the trace with these fragments, with the answers to the last question.
    pub(super) fn note(&mut self, decision: Decision, fragments: &[Fragment]) {
        let has_services = match self.with_services {
            Traces::None => false,
            Traces::Kept => matches!(decision.verdict, Verdict::Kept(_)),
            Traces::All => true,
        };
        let fragments = if has_services { fragments.iter().cloned().collect() } else { SmallVec::new() };
        self.decisions.push(Decision { answers: std::mem::take(&mut self.answers), fragments, ..decision });
    }

    /// Returns the bytes of memory that the log takes, without what decisions have on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.decisions.capacity() * size_of::<Decision>() + self.answers.capacity() * size_of::<(u16, Answer)>()
    }
}
