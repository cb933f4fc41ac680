//! The phrases for policies that tell traces apart by a key.

use super::super::keyed as settings;
use super::{number, series, span, text_or};
use crate::settings::node::Node;
use crate::settings::units::display_duration;

/// Returns the fields of the key, `default` if none are written.
fn key(section: Option<&Node>, default: &[&str]) -> String {
    let fields = section.and_then(|section| section.find(&["key"])).into_iter().flat_map(Node::items);
    let mut fields: Vec<String> = fields.map(|field| super::text(field).to_owned()).collect();
    if fields.is_empty() {
        fields = default.iter().map(|field| (*field).to_owned()).collect();
    }
    series(&fields.iter().map(|field| word(field)).collect::<Vec<_>>(), "and")
}

/// Returns a field of a key; an attribute is quoted.
fn word(field: &str) -> String {
    let is_own = ["service", "route", "status", "name", "exception"].contains(&field);
    if is_own { field.to_owned() } else { format!("`{field}`") }
}

pub(super) fn percentile(section: Option<&Node>) -> String {
    let percentile = text_or(section, "percentile", "").trim_end_matches(['%', ' ']).to_owned();
    let threshold = text_or(section, "threshold_ms", "0");
    let least = if threshold == "0" { String::new() } else { format!(", and longer than {} ms", number(&threshold)) };
    let key = key(section, &["service", "route"]);
    format!("whose entry span took longer than {percentile} % of those with the same {key}{least}")
}

pub(super) fn adaptive(section: Option<&Node>) -> String {
    let key = key(section, &["service", "route"]);
    let goal = match text_or(section, "goal_percentage", "").trim_end_matches(['%', ' ']) {
        "" => {
            format!("as many traces as have {} spans a second", number(&text_or(section, "goal_spans_per_second", "")))
        }
        percentage => format!("{percentage} % of all traces"),
    };
    format!("that is among {goal}, in a ratio that is lower for frequent values of {key} than for rare ones")
}

pub(super) fn rare(section: Option<&Node>) -> String {
    let traces = text_or(section, "traces_per_minute", &settings::DEFAULT_TRACES_PER_MINUTE.to_string());
    let key = key(section, &["service", "route", "status"]);
    let traces =
        if traces == "1" { "the first one".to_owned() } else { format!("among the first {}", number(&traces)) };
    format!("that is {traces} of its {key} in a minute")
}

pub(super) fn budget(section: Option<&Node>) -> String {
    let key = key(section, &["service", "route"]);
    let budget = match text_or(section, "spans_per_month", "").as_str() {
        "" => {
            let price = text_or(section, "dollars_per_million_spans", "0.20");
            let dollars = text_or(section, "dollars_per_month", "");
            format!("${dollars} a month, at ${price} for a million spans after the first 2.5 million")
        }
        spans => format!("{} spans a month", number(spans)),
    };
    format!(
        "that fits into the rest of {budget}, after all that other policies keep, in a ratio that is lower for frequent \
         values of {key} than for rare ones"
    )
}

pub(super) fn identical_errors(section: Option<&Node>) -> String {
    let first = text_or(section, "first", &settings::DEFAULT_ERRORS_FIRST.to_string());
    let window = text_or(section, "window", &display_duration(settings::DEFAULT_ERRORS_WINDOW));
    let percentage = text_or(section, "sampling_percentage", &settings::DEFAULT_ERRORS_PERCENTAGE.to_string());
    let percentage = percentage.trim_end_matches(['%', ' ']);
    let key = key(section, &["service", "name", "exception"]);
    let error = span::error(section);
    format!(
        "{error}; of those with the same {key}, the first {} in {window} and {percentage} % of the others",
        number(&first)
    )
}
