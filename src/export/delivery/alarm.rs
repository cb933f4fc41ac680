//! The log lines about a project whose spans cannot be written. Time is an argument.
//!
//! Invariant: a project logs at most two lines a minute, no matter how often its calls fail. If the log itself becomes
//! traces, failures of the export must not produce more of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::export::failure::Failure;
use crate::export::retry::Action;
use crate::telemetry::log::Throttle;

/// The interval at which the log repeats that the calls of a project still fail.
pub(super) const REMINDER_INTERVAL: Duration = Duration::from_secs(300);
/// The shortest interval between two alarms of a project that differ or that have a success in between.
const ALARM_INTERVAL: Duration = Duration::from_secs(60);

/// The largest number of alarms of all projects in one [`ALARM_INTERVAL`]. If every project is allowed, senders
/// determine the number of projects.
const LINES_MAX: u32 = 20;

/// Returns the throttle for the alarms of all projects.
pub(super) fn throttle() -> Throttle {
    Throttle::new(LINES_MAX, ALARM_INTERVAL)
}

/// The alarm of one project.
#[derive(Debug)]
pub(super) struct Alarm {
    /// The name of the project for the log; `None` if the sink has no projects.
    project: Option<Arc<str>>,
    is_away: bool,
    /// The action and the time of the last alarm.
    last: Option<(Action, Instant)>,
}

impl Alarm {
    /// Creates the alarm of a project whose calls have not failed. `project` is its name for the log.
    pub(super) fn new(project: Option<Arc<str>>) -> Self {
        Alarm { project, is_away: false, last: None }
    }

    /// Returns true if an alarm is due after `attempts` failures in a row.
    pub(super) fn is_due(&self, action: Action, attempts: u32, now: Instant) -> bool {
        let interval = match self.last {
            _ if !self.is_away && attempts < action.alarm_attempts() => return false,
            None => Duration::ZERO,
            Some((logged, _)) if self.is_away && logged == action => REMINDER_INTERVAL,
            Some(_) => ALARM_INTERVAL,
        };
        self.last.is_none_or(|(_, at)| now - at >= interval)
    }

    /// Logs that the calls of the project fail, the last one with `failure`. `others` is the number of alarms that were
    /// suppressed before.
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
