//! Samplers other than the one with rules: fixed ratios, and ratios by key.

use std::time::Duration;

use super::report_rest;
use crate::import::draft::Item;
use crate::import::foreign::Foreign;
use crate::import::report::{Outcome, Report};
use crate::settings::units::{display_duration, duration};

/// The traces that a sampler keeps.
pub(super) enum Keep {
    All,
    None,
    /// A ratio in percent.
    Ratio(f64),
    /// The section of a policy of type `adaptive`.
    Adaptive(Item),
}

/// A sampler whose ratios depend on a key.
struct Keyed {
    name: &'static str,
    goal: &'static str,
    /// True if the goal is a number of spans a second; false if it is a ratio: one of so many traces.
    is_throughput: bool,
    /// The key of the time that is remembered, and its default in seconds; `None`: a moving average with a weight.
    lookback: Option<(&'static str, u64)>,
    /// The key of the time between adjustments, and its default in seconds.
    interval: (&'static str, u64),
}

const KEYED: [Keyed; 5] = [
    Keyed {
        name: "DynamicSampler",
        goal: "SampleRate",
        is_throughput: false,
        lookback: Some(("ClearFrequency", 30)),
        interval: ("ClearFrequency", 30),
    },
    Keyed {
        name: "EMADynamicSampler",
        goal: "GoalSampleRate",
        is_throughput: false,
        lookback: None,
        interval: ("AdjustmentInterval", 15),
    },
    Keyed {
        name: "EMAThroughputSampler",
        goal: "GoalThroughputPerSec",
        is_throughput: true,
        lookback: None,
        interval: ("AdjustmentInterval", 15),
    },
    Keyed {
        name: "WindowedThroughputSampler",
        goal: "GoalThroughputPerSec",
        is_throughput: true,
        lookback: Some(("LookbackFrequency", 30)),
        interval: ("UpdateFrequency", 1),
    },
    Keyed {
        name: "TotalThroughputSampler",
        goal: "GoalThroughputPerSec",
        is_throughput: true,
        lookback: Some(("ClearFrequency", 30)),
        interval: ("ClearFrequency", 30),
    },
];

const KNOWN: [(&str, Outcome, &str); 7] = [
    ("AgeOutValue", Outcome::NotNeeded, "keys that are silent make room by themselves"),
    ("BurstMultiple", Outcome::NotNeeded, "ratios are made anew after each `adjustment_interval` only"),
    ("BurstDetectionDelay", Outcome::NotNeeded, "ratios are made anew after each `adjustment_interval` only"),
    ("UseTraceLength", Outcome::Different, "the number of spans is not a part of the key"),
    ("UseClusterSize", Outcome::NotNeeded, "one Spansieve takes all spans, so the goal is not divided"),
    ("InitialSampleRate", Outcome::Different, "the first ratios follow the first traffic"),
    ("SummarizeMode", Outcome::NotNeeded, "dropped traces are counted in the metrics"),
];
/// The defaults and limits of Spansieve's `adaptive` (`sampling::settings::keyed`), and Refinery's number of keys.
const MAX_KEYS: u64 = 500;
const MAX_KEYS_MAX: u64 = 100_000;
const FIELDS_MAX: usize = 8;
const TIMES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// Returns the traces that the sampler in `choice` keeps.
///
/// # Errors
/// There is no sampler, or none that can be carried; the error says why.
pub(super) fn keep(choice: &Foreign<'_>, report: &mut Report) -> Result<Keep, String> {
    if let Some(sampler) = choice.get("DeterministicSampler") {
        report_rest(&sampler, &["SampleRate"], &KNOWN, report);
        return Ok(ratio(sampler.get("SampleRate").and_then(|rate| rate.count()).unwrap_or(1)));
    }
    let keyed = KEYED.iter().find_map(|keyed| Some((keyed, choice.filled(keyed.name)?)));
    let (keyed, sampler) = keyed.ok_or("it has no sampler that Spansieve knows")?;
    adaptive(keyed, &sampler, report).map(Keep::Adaptive)
}

/// Returns the traces that a `SampleRate` keeps: one of `rate`. A rate of 0 keeps nothing.
pub(super) fn ratio(rate: u64) -> Keep {
    match rate {
        0 => Keep::None,
        1 => Keep::All,
        _ => Keep::Ratio(100.0 / rate as f64),
    }
}

fn adaptive(keyed: &Keyed, sampler: &Foreign<'_>, report: &mut Report) -> Result<Item, String> {
    let goal = sampler.filled(keyed.goal).and_then(|goal| goal.number()).filter(|goal| *goal > 0.0);
    let goal = goal.ok_or_else(|| format!("`{}` is not a number above 0", keyed.goal))?;
    let mut entries = vec![if keyed.is_throughput {
        ("goal_spans_per_second", Item::yaml(goal.to_string()))
    } else {
        ("goal_percentage", Item::yaml(format!("{}%", 100.0 / goal)))
    }];
    entries.push(("key", Item::list(fields(sampler, report)?)));
    match keyed.lookback {
        Some(lookback) => entries.push(("lookback", time(sampler, lookback, report))),
        None => entries.extend(weight(sampler).map(|weight| ("weight", weight))),
    }
    entries.push(("adjustment_interval", time(sampler, keyed.interval, report)));
    let max_keys = sampler.get("MaxKeys").and_then(|max| max.count()).filter(|max| *max > 0);
    entries.push(("max_keys", Item::yaml(max_keys.unwrap_or(MAX_KEYS).min(MAX_KEYS_MAX).to_string())));
    let lookback = keyed.lookback.map_or("Weight", |(key, _)| key);
    report_rest(sampler, &[keyed.goal, "FieldList", lookback, keyed.interval.0, "MaxKeys"], &KNOWN, report);
    Ok(Item::map(entries))
}

fn weight(sampler: &Foreign<'_>) -> Option<Item> {
    let weight = sampler.filled("Weight")?.number()?;
    Some(Item::yaml(weight.clamp(0.01, 1.0).to_string()))
}

fn time(sampler: &Foreign<'_>, (key, default_seconds): (&str, u64), report: &mut Report) -> Item {
    let default = Duration::from_secs(default_seconds);
    let written = sampler.filled(key);
    let time = written.as_ref().and_then(|value| duration(value.text()?).ok()).unwrap_or(default);
    let clamped = time.clamp(TIMES.0, TIMES.1);
    if let Some(value) = written.filter(|_| clamped != time) {
        report.different(&value, format!("taken as {}, the nearest that Spansieve has", display_duration(clamped)));
    }
    Item::text(&display_duration(clamped))
}

/// Returns the fields of the key.
fn fields(sampler: &Foreign<'_>, report: &mut Report) -> Result<Vec<Item>, String> {
    let list = sampler.filled("FieldList").ok_or("it has no `FieldList`")?;
    report.different(&list, "the fields are those of the entry span; Refinery joins the values of all spans");
    let mut names: Vec<String> = Vec::new();
    for field in list.items() {
        let name = field.text().unwrap_or_default();
        let name = match name.strip_prefix("root.").unwrap_or(name) {
            "service.name" => "service",
            "status_code" | "error" => "status",
            name => name,
        };
        let is_own = name.is_empty() || ["trace.", "meta.", "?."].iter().any(|own| name.starts_with(own));
        if is_own || name.len() > 512 || name == "duration_ms" {
            report.not_carried(&field, "it is not an attribute of spans", "name an attribute");
        } else if names.len() == FIELDS_MAX {
            report.not_carried(&field, "a key has at most 8 fields", "leave out those that tell least");
        } else if !names.iter().any(|other| other == name) {
            names.push(name.to_owned());
        }
    }
    if names.is_empty() {
        return Err("no field of its `FieldList` can be carried".to_owned());
    }
    Ok(names.iter().map(|name| Item::text(&crate::import::scalar::escaped(name))).collect())
}
