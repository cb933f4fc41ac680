//! What the log says about a project whose spans cannot be written. Time is an argument.
//!
//! Invariant: at most two lines a minute for a project, however often its calls fail: the log must not feed on the
//! failures of the export, least of all if it is itself read for traces.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;

use super::reason;
use crate::export::retry::{self, Action};

/// The log repeats at this interval that a project is still away.
const REMINDER_INTERVAL: Duration = Duration::from_secs(300);
/// And says at most this often that it is away again, or for another reason.
const ALARM_INTERVAL: Duration = Duration::from_secs(60);

/// The log's view of one project.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    is_away: bool,
    /// What was last said, and when.
    last: Option<(Action, Instant)>,
}

impl Alarm {
    /// Calls of `project` failed `attempts` times in a row, the last time with `status`.
    pub(super) fn away(
        &mut self,
        project: &str,
        action: Action,
        attempts: u32,
        status: &Status,
        now: Instant,
        identity: Option<&str>,
    ) {
        let interval = match self.last {
            _ if !self.is_away && attempts < action.alarm_attempts() => return,
            None => Duration::ZERO,
            Some((logged, _)) if self.is_away && logged == action => REMINDER_INTERVAL,
            Some(_) => ALARM_INTERVAL,
        };
        if self.last.is_some_and(|(_, at)| now - at < interval) {
            return;
        }
        (self.is_away, self.last) = (true, Some((action, now)));
        let advice = retry::advice(status.code(), project, identity);
        let advice = advice.as_deref().unwrap_or("they are tried again by themselves");
        tracing::error!(project, advice, "The sink takes no spans of this project, they wait: {}", reason(status));
    }

    /// A call of `project` succeeded.
    pub(super) fn back(&mut self, project: &str) {
        if std::mem::take(&mut self.is_away) {
            tracing::info!(project, "The sink takes the spans of this project again");
        }
    }
}
