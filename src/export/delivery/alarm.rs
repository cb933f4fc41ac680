//! What the log says about a project whose spans cannot be written. Time is an argument.
//!
//! Invariant: at most two lines a minute for a project, however often its calls fail: the log must not feed on the
//! failures of the export, least of all if it is itself read for traces.

use std::time::Duration;

use tokio::time::Instant;

use crate::export::failure::Failure;
use crate::export::retry::Action;
use crate::telemetry::log::Throttle;

/// The log repeats at this interval that a project is still away.
pub(super) const REMINDER_INTERVAL: Duration = Duration::from_secs(300);
/// And says at most this often that it is away again, or for another reason.
const ALARM_INTERVAL: Duration = Duration::from_secs(60);

/// Of all projects together: where any project is allowed, senders choose how many there are.
const LINES_MAX: u32 = 20;

/// What bounds the alarms of all projects.
pub(super) fn throttle() -> Throttle {
    Throttle::new(LINES_MAX, ALARM_INTERVAL)
}

/// The log's view of one project.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    is_away: bool,
    /// What was last said, and when.
    last: Option<(Action, Instant)>,
}

impl Alarm {
    /// Whether there is something to say of a project whose calls failed `attempts` times in a row.
    pub(super) fn is_due(&self, action: Action, attempts: u32, now: Instant) -> bool {
        let interval = match self.last {
            _ if !self.is_away && attempts < action.alarm_attempts() => return false,
            None => Duration::ZERO,
            Some((logged, _)) if self.is_away && logged == action => REMINDER_INTERVAL,
            Some(_) => ALARM_INTERVAL,
        };
        self.last.is_none_or(|(_, at)| now - at >= interval)
    }

    /// Calls of `project` fail, the last time with `failure`; `others` alarms were left out before this one.
    pub(super) fn away(
        &mut self,
        project: &str,
        action: Action,
        failure: &Failure,
        now: Instant,
        advice: Option<&str>,
        others: u64,
    ) {
        (self.is_away, self.last) = (true, Some((action, now)));
        let advice = advice.unwrap_or("they are tried again by themselves");
        tracing::error!(project, others, advice, "The sink takes no spans of this project, they wait: {failure}");
    }

    /// A call of `project` succeeded.
    pub(super) fn back(&mut self, project: &str) {
        if std::mem::take(&mut self.is_away) {
            tracing::info!(project, "The sink takes the spans of this project again");
        }
    }
}
