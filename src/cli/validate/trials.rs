//! The trials in a configuration: shadow policies, a dry run, and policies that count only for a time.

use super::names;
use crate::config::Settings;
use crate::sampling::settings::{Policy, display_unix_seconds};
use crate::tail::settings::TailSampling;

/// Returns a line for each policy that counts only for a time, and for shadow policies and a dry run.
pub(super) fn trials(settings: &Settings, now_s: u64) -> Vec<String> {
    let TailSampling { policies, shadow, dry_run, .. } = &settings.tail_sampling;
    let mut lines: Vec<_> = policies
        .iter()
        .chain(&shadow.policies)
        .filter_map(|policy| Some((policy, policy.until?)))
        .map(|(Policy { name, .. }, until)| {
            let time = display_unix_seconds(until);
            match until.checked_sub(now_s).filter(|left| *left > 0) {
                Some(left) => format!("{name} counts until {time}, for {}", display_seconds(left)),
                None => format!("{name} does not count any more: it ended at {time}"),
            }
        })
        .collect();
    if !shadow.policies.is_empty() {
        lines.push(format!("only evaluated and counted, as shadow policies: {}", names(shadow.policies.iter())));
    }
    if *dry_run {
        lines.push("dry run: everything is exported, whatever the policies say".to_owned());
    }
    lines
}

/// Returns a time in its two largest units.
fn display_seconds(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}
