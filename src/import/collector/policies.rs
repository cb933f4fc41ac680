//! Policies of `tail_sampling` (opentelemetry-collector-contrib `processor/tailsamplingprocessor/config.go`). A policy that
//! would mean something else without one of its parts is carried as a whole or not at all.

use super::copied;
use crate::import::draft::Item;
use crate::import::foreign::Foreign;
use crate::import::report::Report;
use crate::import::scalar;

/// Types without a section.
const BARE: [&str; 2] = ["always_sample", "trace_flags"];

/// The reason why a policy cannot be carried.
type Refusal = String;

/// Returns one of the policies at the top; `None`, and a report, if it cannot be carried.
pub(super) fn policy(value: &Foreign<'_>, report: &mut Report) -> Option<Item> {
    let mark = report.mark();
    match any(value, report) {
        Ok(item) => Some(item.from(value)),
        Err(reason) => {
            let is_drop = value.get("type").is_some_and(|kind| kind.is_text("drop"));
            let help = if is_drop {
                "traces that it drops are not dropped"
            } else {
                "traces that only it keeps are not kept: write a policy in its place"
            };
            report.go_back(&mark);
            report.not_carried(value, reason, help);
            None
        }
    }
}

/// Returns a policy at any depth.
fn any(value: &Foreign<'_>, report: &mut Report) -> Result<Item, Refusal> {
    let kind = value.filled("type").ok_or("it has no `type`")?;
    let name = value.filled("name").map(|name| scalar::collector(&name)).transpose()?;
    let mut entries = Vec::new();
    entries.extend(name.map(|name| ("name", Item::yaml(name))));
    entries.push(("type", Item::yaml(scalar::collector(&kind)?)));
    let kind = kind.text().unwrap_or_default();
    for (key, section) in value.entries() {
        if key == kind && !BARE.contains(&key) {
            entries.push((key, rule(kind, &section, report)?));
        } else if !["name", "type"].contains(&key) {
            report.not_needed(&section, format!("a policy of type `{kind}` does not read it"));
        }
    }
    if entries.iter().all(|(key, _)| *key != kind) && kind == "latency" {
        // Without its section the Collector's threshold is 0.
        entries.push(("latency", Item::map(vec![("threshold_ms", Item::yaml("0"))])));
    }
    Ok(Item::map(entries))
}

/// Returns the section of a type.
fn rule(kind: &str, section: &Foreign<'_>, report: &mut Report) -> Result<Item, Refusal> {
    match kind {
        "and" => nested(section, "and_sub_policy", report),
        "drop" => nested(section, "drop_sub_policy", report),
        "not" => not(section, report),
        "composite" => composite(section, report),
        "latency" => latency(section, report),
        "numeric_attribute" => numeric(section, report),
        "string_attribute" => without(section, "cache_max_size", "matching needs no cache", report),
        "probabilistic" => {
            report.different(section, "as many traces are kept, but others: by the randomness of the trace id");
            probabilistic(section, report)
        }
        "ottl_condition" => {
            let reason =
                "a condition that could be read does not fail: where a value has another type, it does not hold";
            without(section, "error_mode", reason, report)
        }
        "rate_limiting" | "bytes_limiting" => {
            report.different(section, "a trace that is larger than the burst passes when the bucket is full");
            copied(section)
        }
        _ => copied(section),
    }
}

/// Returns a section without the key `key`, which is not needed for this `reason`.
fn without(section: &Foreign<'_>, key: &str, reason: &str, report: &mut Report) -> Result<Item, Refusal> {
    if let Some(value) = section.get(key) {
        report.not_needed(&value, reason);
    }
    part(section, |name, _| name != key)
}

/// Returns a section with the entries that `is_carried` picks.
fn part(section: &Foreign<'_>, is_carried: impl Fn(&str, &Foreign<'_>) -> bool) -> Result<Item, Refusal> {
    let entries = section.entries();
    let entries = entries.iter().filter(|(key, value)| is_carried(key, value));
    entries.map(|(key, value)| Ok((*key, copied(value)?))).collect::<Result<_, _>>().map(Item::map)
}

fn latency(section: &Foreign<'_>, report: &mut Report) -> Result<Item, Refusal> {
    if section.filled("upper_threshold_ms").is_some_and(|upper| upper.count() != Some(0)) {
        let reason = "the duration of the whole trace is compared with both bounds, in whatever order its spans come";
        report.different(section, reason);
    }
    let threshold = section.filled("threshold_ms").map(|value| scalar::collector(&value)).transpose()?;
    let mut entries = vec![("threshold_ms", Item::yaml(threshold.unwrap_or_else(|| "0".to_owned())))];
    for (key, value) in section.entries().into_iter().filter(|(key, _)| *key != "threshold_ms") {
        entries.push((key, copied(&value)?));
    }
    Ok(Item::map(entries))
}

fn numeric(section: &Foreign<'_>, report: &mut Report) -> Result<Item, Refusal> {
    let is_unset =
        |key: &str, value: &Foreign<'_>| ["min_value", "max_value"].contains(&key) && value.number() == Some(0.0);
    for (_, unset) in section.entries().iter().filter(|(key, value)| is_unset(key, value)) {
        report.not_needed(unset, "in the Collector 0 is \"not set\"; here it would be a bound");
    }
    let item = part(section, |key, value| !is_unset(key, value))?;
    let is_bound = |key: &str| section.filled(key).is_some_and(|value| !is_unset(key, &value));
    if !is_bound("min_value") && !is_bound("max_value") {
        return Err("it has no bound, so that it fails at every trace in the Collector".to_owned());
    }
    report.different(section, "doubles are compared as well, and texts are not; the Collector reads integers only");
    Ok(item)
}

/// Returns the section of a policy of type `probabilistic`.
fn probabilistic(section: &Foreign<'_>, report: &mut Report) -> Result<Item, Refusal> {
    if let Some(salt) = section.get("hash_salt") {
        report.not_needed(&salt, ONE_RANDOMNESS);
    }
    let mut entries = vec![("sampling_percentage", percentage(section)?)];
    let others = section.entries().into_iter();
    for (other, value) in others.filter(|(other, _)| !["hash_salt", "sampling_percentage"].contains(other)) {
        entries.push((other, copied(&value)?));
    }
    Ok(Item::map(entries))
}

pub(super) const ONE_RANDOMNESS: &str = "the ratio depends on the trace id alone, the same on every instance";

/// Returns the ratio of a section.
pub(super) fn percentage(section: &Foreign<'_>) -> Result<Item, Refusal> {
    let percentage = match section.filled("sampling_percentage") {
        // The sign says that no fraction is meant.
        Some(value) if value.number().is_some_and(|number| number > 100.0) => "100%".to_owned(),
        Some(value) if value.number().is_some() => format!("{}%", value.number().unwrap_or_default()),
        Some(value) => scalar::collector(&value)?,
        None => "0%".to_owned(),
    };
    Ok(Item::yaml(percentage))
}

/// Returns a section whose list `key` has policies.
fn nested(section: &Foreign<'_>, key: &'static str, report: &mut Report) -> Result<Item, Refusal> {
    let policies = section.filled(key).ok_or_else(|| format!("it has no `{key}`"))?;
    let policies = policies.items().iter().map(|value| inner(value, report)).collect::<Result<_, _>>()?;
    let mut entries = vec![(key, Item::list(policies))];
    for (other, value) in section.entries().into_iter().filter(|(other, _)| *other != key) {
        entries.push((other, copied(&value)?));
    }
    Ok(Item::map(entries))
}

fn inner(value: &Foreign<'_>, report: &mut Report) -> Result<Item, Refusal> {
    any(value, report).map_err(|reason| format!("`{}`: {reason}", value.path))
}

fn not(section: &Foreign<'_>, report: &mut Report) -> Result<Item, Refusal> {
    let value = section.filled("not_sub_policy").ok_or("it has no `not_sub_policy`")?;
    let mut entries = vec![("not_sub_policy", inner(&value, report)?)];
    for (other, value) in section.entries().into_iter().filter(|(other, _)| *other != "not_sub_policy") {
        entries.push((other, copied(&value)?));
    }
    Ok(Item::map(entries))
}

fn composite(section: &Foreign<'_>, report: &mut Report) -> Result<Item, Refusal> {
    report.different(
        section,
        "the total bounds all its policies together, and allowances are buckets of a second's spans",
    );
    let policies = section.filled("composite_sub_policy").ok_or("it has no `composite_sub_policy`")?;
    let policies = policies.items();
    let items = policies.iter().map(|value| inner(value, report)).collect::<Result<_, _>>()?;
    let mut entries = Vec::new();
    for (key, value) in section.entries() {
        match key {
            "composite_sub_policy" | "policy_order" => {}
            _ => entries.push((key, copied(&value)?)),
        }
    }
    entries.push(("composite_sub_policy", Item::list(items)));
    report_order(section, &policies, report);
    Ok(Item::map(entries))
}

/// Leaves out `policy_order`, which the Collector does not obey (`tests/collector_oddities.rs`, number 5).
fn report_order(section: &Foreign<'_>, policies: &[Foreign<'_>], report: &mut Report) {
    let Some(order) = section.filled("policy_order") else { return };
    let listed = policies.iter().filter_map(|policy| policy.get("name")?.text());
    let ordered = order.items();
    if listed.eq(ordered.iter().filter_map(Foreign::text)) {
        report.not_needed(&order, "the policies are listed in this order");
    } else {
        let reason = "the Collector reads it and asks the policies as they are listed; Spansieve would obey it";
        report.not_carried(&order, reason, "add `policy_order` to the result if it says what you want");
    }
}
