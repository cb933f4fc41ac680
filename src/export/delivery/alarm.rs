//! What the log says about a project whose spans cannot be written. Time is an argument.
//!
//! Invariant: at most two lines a minute for a project, however often its calls fail: the log must not feed on the
//! failures of the export, least of all if it is itself read for traces.

use std::sync::Arc;
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

/// The alarm of one project.
#[derive(Debug)]
pub(super) struct Alarm {
    /// The project as the log shows it; `None` if the sink knows no projects.
    project: Option<Arc<str>>,
    is_away: bool,
    /// The last line: the action that the failure asked for, and the time.
    last: Option<(Action, Instant)>,
}

impl Alarm {
    /// Returns the alarm of a project whose calls have not failed. `project` is its name as the log shows it.
    pub(super) fn new(project: Option<Arc<str>>) -> Self {
        Alarm { project, is_away: false, last: None }
    }

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

    /// Logs that the calls of the project fail, the last one with `failure`. `others` alarms were left out before this one.
    pub(super) fn away(&mut self, action: Action, failure: &Failure, now: Instant, advice: Option<&str>, others: u64) {
        (self.is_away, self.last) = (true, Some((action, now)));
        let advice = advice.unwrap_or("the spans are sent again by themselves");
        match self.project.as_deref() {
            Some(project) => {
                tracing::error!(
                    project,
                    others,
                    advice,
                    "The sink accepts no spans of this project; they wait: {failure}"
                );
            }
            None => tracing::error!(others, advice, "The sink accepts no spans; they wait: {failure}"),
        }
    }

    /// Logs that a call of the project succeeded, if the last alarm said that its calls fail.
    pub(super) fn back(&mut self) {
        if std::mem::take(&mut self.is_away) {
            match self.project.as_deref() {
                Some(project) => tracing::info!(project, "The sink accepts the spans of this project again."),
                None => tracing::info!("The sink accepts spans again."),
            }
        }
    }
}
