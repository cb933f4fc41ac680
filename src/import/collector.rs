//! A Collector's configuration (<https://opentelemetry.io/docs/collector/configuration/>): the pipeline of traces with its
//! receivers, processors and exporters.

mod connectors;
mod exporters;
mod pipelines;
mod policies;
mod processors;
mod receivers;
mod resource;
mod service;
mod tail_sampling;

use super::draft::{Draft, Item};
use super::foreign::Foreign;
use super::report::{Outcome, Report};
use super::scalar;
use crate::settings::diagnostic::Diagnostic;
use pipelines::Pipeline;

/// Returns the draft of a Collector's configuration.
///
/// # Errors
/// A section of the file is not a section.
pub(super) fn draft(root: &Foreign<'_>, report: &mut Report) -> Result<Draft, Diagnostic> {
    let pipeline = Pipeline::of(root, report)?;
    let mut parts = Parts::default();
    receivers::read(&pipeline, &mut parts, report);
    tail_sampling::read(&pipeline, &mut parts, report);
    processors::read(&pipeline, &mut parts, report);
    exporters::read(&pipeline, &mut parts, report);
    connectors::read(&pipeline, &mut parts, report);
    service::read(root, &pipeline, &mut parts, report);
    let mut draft = Draft::default();
    draft.section("otlp", parts.otlp);
    draft.section("tail_sampling", parts.tail_sampling);
    draft.section("resource", parts.resource);
    draft.section("export", parts.export);
    // Without this section Spansieve would write to Google.
    draft.fall_back("export", vec![("endpoint", Item::text("embedded").remark("the exporter could not be carried"))]);
    draft.section("memory", parts.memory);
    draft.section("telemetry", parts.telemetry);
    draft.section("span_metrics", parts.span_metrics);
    Ok(draft)
}

/// The entries of each section of the draft.
#[derive(Default)]
struct Parts<'a> {
    otlp: Vec<(&'a str, Item)>,
    tail_sampling: Vec<(&'a str, Item)>,
    resource: Vec<(&'a str, Item)>,
    export: Vec<(&'a str, Item)>,
    memory: Vec<(&'a str, Item)>,
    telemetry: Vec<(&'a str, Item)>,
    span_metrics: Vec<(&'a str, Item)>,
}

/// A key of the Collector, its outcome and the reason.
type Known = (&'static str, Outcome, &'static str);

const NO_COUNTERPART: &str = "Spansieve has no such setting";
const LEAVE_OUT: &str = "docs/configuration.md has all settings";

/// Reports the keys of `part` that are not in `read`: those of `known` with their reason. A key that has a finding gets no
/// second one.
fn report_rest(part: &Foreign<'_>, read: &[&str], known: &[Known], report: &mut Report) {
    for (key, value) in part.entries().into_iter().filter(|(key, _)| !read.contains(key)) {
        if report.tells_all_of(&value) {
            continue;
        }
        match known.iter().find(|(name, _, _)| *name == key) {
            Some((_, Outcome::NotCarried, reason)) => report.not_carried(&value, *reason, LEAVE_OUT),
            Some((_, Outcome::Different, reason)) => report.different_whole(&value, *reason),
            Some((_, _, reason)) => report.not_needed(&value, *reason),
            None => report.not_carried(&value, NO_COUNTERPART, LEAVE_OUT),
        }
    }
}

/// Returns a scalar as a unit; `None`, and a report, if it cannot be carried.
fn scalar_item(value: &Foreign<'_>, report: &mut Report) -> Option<Item> {
    formatted(value, "{}", report)
}

/// Returns a scalar within a text, such as `{}MiB`, as a unit; `None`, and a report, if it cannot be carried.
fn formatted(value: &Foreign<'_>, format: &str, report: &mut Report) -> Option<Item> {
    let text = match value.text() {
        Some(text) if format != "{}" => {
            scalar::references(text).map(|text| scalar::quoted(&format.replacen("{}", &text, 1)))
        }
        _ => scalar::collector(value),
    };
    match text {
        Ok(text) => Some(Item::yaml(text).from(value)),
        Err(reason) => {
            report.not_carried(value, reason, "write the value itself");
            None
        }
    }
}

/// Adds the scalar `key` of `part` to `entries` under the name `to`.
fn carry<'e>(part: &Foreign<'_>, key: &str, to: &'e str, entries: &mut Vec<(&'e str, Item)>, report: &mut Report) {
    if let Some(value) = part.filled(key) {
        entries.extend(scalar_item(&value, report).map(|item| (to, item)));
    }
}

/// Returns `value` with everything in it.
///
/// # Errors
/// A scalar in it comes from a source that Spansieve does not read; the error says which.
fn copied(value: &Foreign<'_>) -> Result<Item, String> {
    if value.is_list() {
        return value.items().iter().map(copied).collect::<Result<_, _>>().map(Item::list);
    }
    if value.is_section() {
        let entries = value.entries();
        let entries = entries.iter().map(|(key, value)| Ok((*key, copied(value)?)));
        return entries.collect::<Result<_, String>>().map(Item::map);
    }
    if value.is_null() {
        return Ok(Item::yaml("null"));
    }
    scalar::collector(value).map(Item::yaml).map_err(|reason| format!("`{}`: {reason}", value.path))
}
