//! The fate of one trace, as the API tells it.

use std::time::Duration;

use prost_types::Timestamp;
use thiserror::Error;

use crate::api::answers::{FateAnswer, FateWord, PolicyAnswer};
use crate::clock;
use crate::daemon::pipeline::Pipeline;
use crate::otlp::TraceId;
use crate::sampling::{Answer, Parent, Policies, Summary, Threshold};
use crate::tail::table::Millis;
use crate::tail::{Fate, TraceReport};

/// The reason why a text is not a trace id.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum IdError {
    #[error("a trace id is 32 hexadecimal digits, such as 4bf92f3577b34da6a3ce929d0e0e4736")]
    Form,
    #[error("a trace id of zeros is not valid: no trace has it")]
    Zero,
}

/// Reads a trace id, in lower or upper case.
pub(super) fn trace_id(text: &str) -> Result<TraceId, IdError> {
    let is_hexadecimal = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match u128::from_str_radix(text, 16) {
        Ok(0) if is_hexadecimal => Err(IdError::Zero),
        Ok(id) if is_hexadecimal => Ok(TraceId(id.to_be_bytes())),
        _ => Err(IdError::Form),
    }
}

/// Returns the fate of the trace `id`.
pub(super) fn of(pipeline: &Pipeline, id: TraceId) -> FateAnswer {
    let now_ms = pipeline.clock.now_ms();
    // The shard's lock is held for this call only.
    let report = pipeline.table.report(id, now_ms);
    let dates = Dates { now_ms, now: clock::since_1970() };
    answer(id, &report, &pipeline.table.policies(), dates, pipeline.table.is_dry_run())
}

/// Turns times of the table's clock into dates.
#[derive(Clone, Copy)]
struct Dates {
    now_ms: Millis,
    /// The time since 1970.
    now: Duration,
}

impl Dates {
    /// Returns the time at `at_ms` in RFC 3339, to the second.
    fn at(self, at_ms: Millis) -> String {
        let since_1970_ms = (self.now.as_millis() as u64).saturating_add(at_ms).saturating_sub(self.now_ms);
        Timestamp { seconds: (since_1970_ms / 1_000) as i64, nanos: 0 }.to_string()
    }
}

fn answer(id: TraceId, report: &TraceReport, policies: &Policies, dates: Dates, is_dry_run: bool) -> FateAnswer {
    let TraceReport { fate, keep, decision, held } = report;
    let name = |policy: u16| policies.names().get(usize::from(policy)).cloned();
    let policy = match fate {
        Fate::Kept { policy } => name(*policy),
        Fate::DroppedByPolicy => decision.and_then(|facts| facts.drop_policy).and_then(name),
        Fate::Pending | Fate::SampledOut { .. } | Fate::Unknown => None,
    };
    let summary = held.as_ref().map(|held| &held.summary);
    FateAnswer {
        trace_id: id.to_string(),
        fate: word(*fate),
        explanation: explanation(report, policy.as_deref(), is_dry_run),
        policy,
        adjusted_count: keep.map(|keep| keep.threshold.adjusted_count()),
        trigger: decision
            .map(|facts| facts.trigger)
            .or(held.as_ref().map(|held| held.trigger))
            .map(|t| t.as_str().into()),
        decided_at: decision.map(|facts| dates.at(facts.at_ms)),
        until: held.as_ref().map(|held| dates.at(held.until_ms)),
        spans: summary.map(|summary| summary.span_count).or(decision.map(|facts| facts.spans)),
        late_spans: decision.map(|facts| facts.late_spans),
        duration_ms: summary.map(Summary::duration_ms),
        missing_parent: keep.and_then(|keep| keep.missing_parent).map(|parent| Parent::as_str(parent).to_owned()),
        dry_run: is_dry_run,
        // The conditions of a stale summary are those of earlier policies.
        policies: summary
            .filter(|summary| summary.generation == policies.generation())
            .map(|summary| policy_answers(policies, summary, id)),
    }
}

fn word(fate: Fate) -> FateWord {
    match fate {
        Fate::Pending => FateWord::Pending,
        Fate::Kept { .. } => FateWord::Kept,
        Fate::SampledOut { .. } | Fate::DroppedByPolicy => FateWord::Dropped,
        Fate::Unknown => FateWord::Unknown,
    }
}

/// Returns the fate in sentences.
fn explanation(report: &TraceReport, policy: Option<&str>, is_dry_run: bool) -> String {
    let rescued = report.keep.is_some_and(|keep| keep.rescued);
    let fate = match (report.fate, policy) {
        (Fate::Pending, _) => {
            "The trace is not decided yet. The answers of the policies are those for the spans so far.".into()
        }
        (Fate::Kept { .. }, Some(policy)) if rescued => {
            format!("The trace was dropped at first. Late spans proved the policy {policy}, which keeps it.")
        }
        (Fate::Kept { .. }, Some(policy)) => format!("The policy {policy} kept the trace."),
        (Fate::Kept { .. }, None) => "A policy that the configuration no longer has kept the trace.".into(),
        (Fate::SampledOut { rescuable: true }, _) => {
            "No policy kept the trace. Its spans are still in memory, and late evidence brings it back.".into()
        }
        (Fate::SampledOut { rescuable: false }, _) => {
            "No policy kept the trace. Its spans are no longer in memory.".into()
        }
        (Fate::DroppedByPolicy, Some(policy)) => format!("The policy {policy}, of type drop, dropped the trace."),
        (Fate::DroppedByPolicy, None) => "A policy of type drop dropped the trace.".into(),
        (Fate::Unknown, _) => "No span of the trace has come, or it was so long ago that the verdict is forgotten \
             (tail_sampling.decision_cache)."
            .into(),
    };
    let is_decided = !matches!(report.fate, Fate::Pending | Fate::Unknown);
    if is_decided && report.decision.is_none() {
        return fate + " An earlier process decided it, so only the verdict is known.";
    }
    match report.fate {
        Fate::Pending if is_dry_run => fate + " This is a dry run: the trace is exported whatever its verdict is.",
        Fate::SampledOut { rescuable: true } if is_dry_run => {
            fate + " This is a dry run: the trace is exported all the same, when its spans leave memory."
        }
        Fate::SampledOut { .. } | Fate::DroppedByPolicy if is_dry_run => {
            fate + " This is a dry run: the trace was exported all the same."
        }
        _ => fate,
    }
}

/// Returns the answer of each policy on the trace with this summary, and then those of shadow policies.
fn policy_answers(policies: &Policies, summary: &Summary, id: TraceId) -> Vec<PolicyAnswer> {
    let answers = policies.answers(summary, id).into_iter().map(|(policy, answer)| (policy, answer, false));
    let shadow = policies.shadow_answers(summary, id).into_iter().map(|(policy, answer)| (policy, answer, true));
    let answer = |(policy, answer, shadow): (u16, Answer, bool)| {
        let (words, threshold) = match answer {
            Answer::Keeps(threshold) => ("keeps", Some(threshold)),
            Answer::KeepsNot => ("does not keep", None),
            Answer::Drops => ("drops", None),
            Answer::DropsNot(_) => ("does not drop", None),
            Answer::NotAsked => ("not asked", None),
        };
        let policy = policies.names().get(usize::from(policy))?.clone();
        let adjusted_count = threshold.map(Threshold::adjusted_count);
        Some(PolicyAnswer { policy, answer: words.to_owned(), adjusted_count, shadow })
    };
    answers.chain(shadow).filter_map(answer).collect()
}

#[cfg(test)]
mod tests;
