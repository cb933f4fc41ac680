//! The trials in a configuration: shadow policies, a dry run, and policies that count only for a time.

use prost_types::Timestamp;

use super::{names, place_in_line};
use crate::config::{Diagnostic, Loaded, Origin, Settings, Severity, ShownSetting, ShownValue};
use crate::sampling::settings::{Policy, display_unix_seconds};
use crate::settings::diagnostic::quote;
use crate::settings::units::display_seconds;
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

/// Returns a warning for each policy of the configuration `text` that does not count any more at `now_s`.
pub(super) fn ended(loaded: &Loaded, text: &str, now_s: u64) -> Vec<Diagnostic> {
    let is_policies =
        |key: &str| key.starts_with("tail_sampling.policies[") || key.starts_with("tail_sampling.shadow.");
    let ends = loaded.shown.iter().filter(|setting| is_policies(&setting.key));
    ends.filter_map(|setting| {
        let policy = setting.key.strip_suffix(".until")?;
        let (Some(until), Origin::File(line) | Origin::Environment(line)) = (shown_text(setting), setting.origin)
        else {
            return None;
        };
        let end: Timestamp = until.parse().ok()?;
        if u64::try_from(end.seconds).unwrap_or(0) > now_s {
            return None;
        }
        let name =
            loaded.shown.iter().find(|other| other.key.strip_suffix(".name") == Some(policy)).and_then(shown_text);
        let (column, length) = place_in_line(text, line, until);
        Some(Diagnostic {
            severity: Severity::Warning,
            line,
            column,
            length,
            message: format!(
                "the policy {} does not count any more: it ended at {end}",
                quote(name.unwrap_or_default())
            ),
            help: Some("remove it, or write a time to come".to_owned()),
        })
    })
    .collect()
}

fn shown_text(setting: &ShownSetting) -> Option<&str> {
    match &setting.value {
        ShownValue::Text(text) => Some(text),
        ShownValue::Nothing | ShownValue::Bool(_) | ShownValue::Number(_) | ShownValue::List(_) => None,
    }
}
