//! `until` of policies: says that the end comes near, and takes policies out of force when their time is over.

use std::sync::Arc;
use std::time::Duration;

use super::Reloader;
use crate::clock;
use crate::sampling::settings::{Policy, display_unix_seconds};
use crate::tail::settings::TailSampling;

const HOUR_S: u64 = 3_600;
const DAY_S: u64 = 24 * HOUR_S;

/// The longest sleep. The system's clock may be set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Something to say about a policy with an `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Notice {
    /// It counts for a day or less.
    Day,
    /// It counts for an hour or less.
    Hour,
    /// It does not count any more.
    Over,
}

impl Notice {
    /// Returns the last notice that is due about a policy with this `until`.
    fn due(until: u64, now_s: u64) -> Option<Self> {
        match until.saturating_sub(now_s) {
            0 => Some(Notice::Over),
            left if left <= HOUR_S => Some(Notice::Hour),
            left if left <= DAY_S => Some(Notice::Day),
            _ => None,
        }
    }

    fn log(self, policy: &str, until: u64) {
        let until = display_unix_seconds(until);
        match self {
            Notice::Day => tracing::warn!(policy, until, "A policy stops counting within a day."),
            Notice::Hour => tracing::warn!(policy, until, "A policy stops counting within an hour."),
            Notice::Over => tracing::warn!(policy, until, "A policy does not count any more: remove it."),
        }
    }
}

/// The notices that were given: name and `until` of each policy, with its last notice.
pub(super) type Given = Vec<(String, u64, Notice)>;

/// Returns the notices that are due at `now_s` and were not given. From now on they are given.
pub(super) fn due(settings: &TailSampling, now_s: u64, given: &mut Given) -> Vec<(String, u64, Notice)> {
    let policies = settings.policies.iter().chain(&settings.shadow.policies);
    let due: Given = policies
        .filter_map(|Policy { name, until, .. }| Some((name.clone(), (*until)?, Notice::due((*until)?, now_s)?)))
        .collect();
    let new = due.iter().filter(|notice| !given.contains(notice)).cloned().collect();
    *given = due;
    new
}

/// Returns the time until the next notice, at most [`SLEEP_MAX`].
pub(super) fn sleep(settings: &TailSampling, now: Duration) -> Duration {
    let policies = settings.policies.iter().chain(&settings.shadow.policies);
    let moments = policies
        .filter_map(|policy| policy.until)
        .flat_map(|until| [until, until.saturating_sub(HOUR_S), until.saturating_sub(DAY_S)].map(Duration::from_secs));
    let next = moments.filter(|moment| *moment > now).min();
    next.map_or(SLEEP_MAX, |moment| (moment - now).min(SLEEP_MAX))
}

impl Reloader {
    /// Takes policies out of force when their time is over. Never returns.
    pub(in crate::daemon) async fn follow_expiry(self: Arc<Self>) {
        let mut given = Given::new();
        loop {
            let wait = self.expire(clock::since_1970(), &mut given).await;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Takes the policies out of force whose time is over at `now`, and gives the notices that are due. Returns the time
    /// until the next call.
    pub(super) async fn expire(&self, now: Duration, given: &mut Given) -> Duration {
        let mut in_force = self.in_force.lock().await;
        let counting = in_force.settings.tail_sampling.at(now.as_secs());
        // Fewer policies fit where more did.
        if let Err(error) = self.decide_by(&mut in_force, counting).await {
            tracing::error!("Policies whose time is over are still in force: {error}.");
        }
        for (policy, until, notice) in due(&in_force.settings.tail_sampling, now.as_secs(), given) {
            notice.log(&policy, until);
        }
        sleep(&in_force.settings.tail_sampling, now)
    }
}
