//! The processors other than the sampler.

use super::pipelines::{Component, Pipeline};
use super::{Known, Parts, formatted, report_rest, resource, scalar_item};
use crate::import::draft::Item;
use crate::import::foreign::Foreign;
use crate::import::report::{Outcome, Report};

/// Processors that are not carried, each with the reason and the advice.
const LOST: [(&str, &str, &str); 8] = [
    (
        "filter",
        "Spansieve drops whole traces, not single spans",
        "write a policy of type `drop` with an `ottl_condition`",
    ),
    ("transform", "Spansieve does not change spans", SENDERS),
    ("span", "Spansieve does not change spans", SENDERS),
    ("redaction", "Spansieve does not change spans: what it would hide is written to the sink", SENDERS),
    ("groupbyattrs", "Spansieve does not move attributes between spans and resources", SENDERS),
    ("k8s_attributes", K8S, SENDERS),
    ("k8sattributes", K8S, SENDERS),
    (
        "probabilistic_sampler",
        "a ratio beside `tail_sampling` would be applied twice",
        "add `probabilistic` to an `and` of the policies",
    ),
];
const SENDERS: &str = "do it in the senders' SDK, or in a Collector before Spansieve";
const K8S: &str = "Spansieve does not ask Kubernetes about senders";
const ATTRIBUTES: &str =
    "Spansieve does not change the attributes of spans, only those of resources: they are written as they were sent";

const LIMITER: [Known; 4] = [
    ("check_interval", Outcome::NotNeeded, "memory is accounted for when it is taken, not now and then"),
    ("spike_limit_mib", Outcome::NotNeeded, "memory is accounted for when it is taken: no reserve is needed"),
    ("spike_limit_percentage", Outcome::NotNeeded, "memory is accounted for when it is taken: no reserve is needed"),
    ("min_gc_interval_when_soft_limited", Outcome::NotNeeded, "there is no garbage collector"),
];
const BATCH: [Known; 2] = [
    ("metadata_keys", Outcome::NotCarried, "requests are not kept with their metadata"),
    ("metadata_cardinality_limit", Outcome::NotNeeded, "requests are not kept with their metadata"),
];

/// Reads the processors before and after the sampler.
pub(super) fn read(pipeline: &Pipeline<'_>, parts: &mut Parts<'_>, report: &mut Report) {
    let mut state = Read { parts, report, actions: Vec::new() };
    let is_sampled = pipeline.sampler.is_some();
    pipeline.before.iter().for_each(|processor| state.processor(processor, true, is_sampled));
    pipeline.after.iter().for_each(|processor| state.processor(processor, false, is_sampled));
    if !state.actions.is_empty() {
        let actions = std::mem::take(&mut state.actions);
        state.parts.resource.push(("attributes", Item::list(actions).unit()));
    }
}

struct Read<'a, 'p> {
    parts: &'a mut Parts<'p>,
    report: &'a mut Report,
    actions: Vec<Item>,
}

impl Read<'_, '_> {
    fn processor(&mut self, processor: &Component<'_>, is_before: bool, is_sampled: bool) {
        let part = &processor.definition;
        match processor.kind {
            "memory_limiter" => self.memory_limiter(part),
            "batch" if is_before => {
                self.report.not_needed(part, "spans are gathered by trace, whatever request they come in");
            }
            "batch" => self.batch(part),
            "resource" => self.actions.extend(resource::actions(processor, is_before, self.report)),
            "resourcedetection" | "resource_detection" => {
                let detect = resource::detect(processor, self.report);
                if self.parts.resource.iter().all(|(key, _)| *key != "detect") {
                    self.parts.resource.extend(detect.map(|item| ("detect", item)));
                }
            }
            "attributes" => self.attributes(part),
            "groupbytrace" => self.report.not_needed(part, "Spansieve gathers the spans of a trace itself"),
            "probabilistic_sampler" if !is_sampled => {}
            kind => self.lost(part, kind),
        }
    }

    fn lost(&mut self, part: &Foreign<'_>, kind: &str) {
        let known = LOST.iter().find(|(name, _, _)| *name == kind);
        let (reason, help) =
            known.map_or(("Spansieve has no such processor", SENDERS), |(_, reason, help)| (reason, help));
        self.report.not_carried(part, reason, help);
    }

    fn attributes(&mut self, part: &Foreign<'_>) {
        let actions = part.get("actions").map(|list| list.items()).unwrap_or_default();
        for action in &actions {
            self.report.not_carried(action, ATTRIBUTES, SENDERS);
        }
        if actions.is_empty() {
            self.report.not_carried(part, ATTRIBUTES, SENDERS);
        }
    }

    fn memory_limiter(&mut self, part: &Foreign<'_>) {
        report_rest(part, &["limit_mib", "limit_percentage"], &LIMITER, self.report);
        let is_zero = |value: &Foreign<'_>| value.count() == Some(0);
        // The Collector prefers the size to the percentage.
        let limit = [("limit_mib", "{}MiB"), ("limit_percentage", "{}%")].into_iter();
        let mut limit = limit.filter_map(|(key, format)| Some((part.filled(key).filter(|v| !is_zero(v))?, format)));
        let Some((value, format)) = limit.next().filter(|_| self.parts.memory.is_empty()) else { return };
        if let Some((second, _)) = limit.next() {
            self.report.not_needed(&second, "the Collector takes `limit_mib` when both are written");
        }
        let reason =
            "it is the budget for spans, their index and what is on its way out, not the size of the whole process";
        self.report.different(&value, reason);
        self.parts.memory.extend(formatted(&value, format, self.report).map(|item| ("limit", item)));
    }

    fn batch(&mut self, part: &Foreign<'_>) {
        let mut entries = Vec::new();
        let max = part.filled("send_batch_max_size").filter(|value| value.count() != Some(0));
        if let Some(size) = max.or_else(|| part.filled("send_batch_size")) {
            entries.extend(scalar_item(&size, self.report).map(|item| ("max_spans", item)));
        }
        if let Some(delay) = part.filled("timeout") {
            entries.extend(scalar_item(&delay, self.report).map(|item| ("max_delay", item)));
        }
        report_rest(part, &["send_batch_size", "send_batch_max_size", "timeout"], &BATCH, self.report);
        add_batch(self.parts, part, entries);
    }
}

/// Adds `export.batch`, unless it is there.
pub(super) fn add_batch(parts: &mut Parts<'_>, part: &Foreign<'_>, entries: Vec<(&str, Item)>) {
    if !entries.is_empty() && parts.export.iter().all(|(key, _)| *key != "batch") {
        parts.export.push(("batch", Item::map(entries).parts_of(part)));
    }
}
