//! Refinery's rules in version 2 of their format (refinery `rules.md`, `config/sampler_config.go`).
//!
//! Refinery asks its rules in order, and the first that matches decides. Spansieve keeps a trace if any policy does. So
//! the policy of a rule excludes the traces of those earlier rules that would keep fewer of them.

mod condition;
mod rules;
mod samplers;

use super::draft::{Draft, Item};
use super::foreign::{Foreign, shown};
use super::report::{Outcome, Report};
use crate::settings::diagnostic::{Diagnostic, SettingError, quote};
use crate::settings::values::not_a_section;
use rules::Rule;

/// The sampler of all environments without one of their own.
const DEFAULT: &str = "__default__";
const VERSION: u64 = 2;
const TIMES: &str = "Refinery's own configuration has the times: write `TraceTimeout` as `decision_wait`, and `SendDelay` as \
                     `decision_wait_after_root_received`";

/// Returns the draft of the rules of `environment`.
///
/// # Errors
/// The rules are of another version, or there are none for the environment.
pub(super) fn draft(root: &Foreign<'_>, environment: Option<&str>, report: &mut Report) -> Result<Draft, Diagnostic> {
    if let Some(version) = root.get("RulesVersion").filter(|version| version.count() != Some(VERSION)) {
        let fault = SettingError::new("these are not rules in version 2 of their format");
        return Err(fault.help("convert them with Refinery's own `convert rules`").error(version.at));
    }
    root.get("RulesVersion").iter().for_each(|version| report.read(version));
    let samplers = root.get("Samplers").ok_or_else(|| no_samplers(root))?;
    if !samplers.is_section() {
        return Err(not_a_section(samplers.node()).error(samplers.node().at));
    }
    let chosen = choose(&samplers, environment)?;
    for (name, other) in samplers.entries().iter().filter(|(_, other)| other.path != chosen.path) {
        let reason = "Spansieve does not know environments, so one sampler is carried";
        report.not_carried(other, reason, format!("`--environment {}` carries this one", shown(name)));
    }
    for (_, other) in root.entries().iter().filter(|(key, _)| !["RulesVersion", "Samplers"].contains(key)) {
        report.not_carried(other, "rules have no such key", "docs/configuration.md has all settings");
    }
    report.different(&samplers, TIMES);
    let policies = rules::policies(rules_of(&chosen, report), report);
    let fallback = policy("everything", "always_sample", None);
    let policies = Item::list(policies).parts_of(&chosen);
    let policies = policies.or(Item::list(vec![fallback]).remark("no rule could be carried, so every trace is kept"));
    let mut draft = Draft::default();
    draft.section("tail_sampling", vec![("policies", policies)]);
    let sink = Item::text("https://cloudtrace.googleapis.com").remark("rules name no sink: this is the default");
    draft.section("export", vec![("endpoint", sink)]);
    Ok(draft)
}

fn no_samplers(root: &Foreign<'_>) -> Diagnostic {
    SettingError::new("there are no `Samplers`").help("write `Samplers: {__default__: ...}`").error(root.at)
}

/// Returns the sampler of the environment, or the default one.
fn choose<'a>(samplers: &Foreign<'a>, environment: Option<&str>) -> Result<Foreign<'a>, Diagnostic> {
    let entries = samplers.entries();
    let name = environment.unwrap_or(DEFAULT);
    let only = || entries.first().filter(|_| environment.is_none() && entries.len() == 1);
    let found = entries.iter().find(|(key, _)| *key == name).or_else(only);
    found.map(|(_, sampler)| sampler.clone()).ok_or_else(|| {
        let known = entries.iter().take(20).map(|(key, _)| shown(key)).collect::<Vec<_>>().join(", ");
        let fault = SettingError::new(format!("there is no sampler {}", quote(name)));
        fault.help(format!("name one with `--environment`: {known}")).error(samplers.at)
    })
}

/// Returns the rules of a sampler: those that it has, or one for all traces.
fn rules_of<'a>(sampler: &Foreign<'a>, report: &mut Report) -> Vec<Rule<'a>> {
    if let Some(based) = sampler.filled("RulesBasedSampler") {
        if based.get("CheckNestedFields").and_then(|nested| nested.boolean()) == Some(true) {
            let nested = based.get("CheckNestedFields").unwrap_or_else(|| based.clone());
            report.not_carried(&nested, "fields are not looked for inside of JSON texts", "send them as attributes");
        }
        let rules = based.get("Rules").map(|rules| rules.items()).unwrap_or_default();
        return rules.iter().filter_map(|rule| Rule::of(rule, report)).collect();
    }
    match samplers::keep(sampler, report) {
        Ok(keep) => vec![Rule::of_all("rest", keep, Some(sampler.clone()))],
        Err(reason) => {
            report.not_carried(sampler, reason, "write a policy in its place");
            Vec::new()
        }
    }
}

/// Returns a policy with the section of its type.
fn policy(name: &str, kind: &str, section: Option<Item>) -> Item {
    let mut entries = Vec::new();
    if !name.is_empty() {
        entries.push(("name", Item::text(&super::scalar::escaped(name))));
    }
    entries.push(("type", Item::text(kind)));
    entries.extend(section.map(|section| (kind, section)));
    Item::map(entries)
}

/// Reports the keys of `part` that are not in `read`.
fn report_rest(part: &Foreign<'_>, read: &[&str], known: &[(&str, Outcome, &str)], report: &mut Report) {
    for (key, value) in part.entries().into_iter().filter(|(key, _)| !read.contains(key)) {
        match known.iter().find(|(name, _, _)| *name == key) {
            Some((_, Outcome::Different, reason)) => report.different_whole(&value, *reason),
            Some((_, _, reason)) => report.not_needed(&value, *reason),
            None => report.not_carried(&value, "Spansieve has no such setting", "docs/adaptive-policies.md"),
        }
    }
}
