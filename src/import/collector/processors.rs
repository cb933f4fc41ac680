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

/// The most actions on resources; each is done for each resource. No file that a person wrote has more.
const ACTION_COUNT_MAX: usize = 1_000;

/// Reads the processors before and after the sampler.
pub(super) fn read(pipeline: &Pipeline<'_>, parts: &mut Parts<'_>, report: &mut Report) {
    let ratio = pipeline.ratio().map(|ratio| ratio.definition.id);
    let mut state = Read { parts, report, actions: Vec::new(), ratio };
    pipeline.before.iter().for_each(|processor| state.processor(processor, true));
    pipeline.after.iter().for_each(|processor| state.processor(processor, false));
    if !state.actions.is_empty() {
        let actions = std::mem::take(&mut state.actions);
        state.parts.resource.push(("attributes", Item::list(actions).unit()));
    }
}

struct Read<'a, 'p> {
    parts: &'a mut Parts<'p>,
    report: &'a mut Report,
    actions: Vec<Item>,
    /// The `probabilistic_sampler` that has become a policy.
    ratio: Option<u64>,
}

impl Read<'_, '_> {
    fn processor(&mut self, processor: &Component<'_>, is_before: bool) {
        let part = &processor.definition;
        match processor.kind {
            "memory_limiter" => self.memory_limiter(part),
            "batch" if is_before => {
                self.report.not_needed(part, "spans are gathered by trace, whatever request they come in");
            }
            "batch" => self.batch(part),
            "resource" => self.resource(processor, is_before),
            "resourcedetection" | "resource_detection" => {
                if self.parts.resource.iter().all(|(key, _)| *key != "detect") {
                    let detect = resource::detect(processor, self.report);
                    self.parts.resource.extend(detect.map(|item| ("detect", item)));
                } else {
                    self.report.not_needed(part, "another processor has set `resource.detect` already");
                }
            }
            "attributes" => self.attributes(part),
            "groupbytrace" => self.report.not_needed(part, "Spansieve gathers the spans of a trace itself"),
            "probabilistic_sampler" if self.ratio == Some(part.id) => {}
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
        report_rest(part, &["actions"], &[], self.report);
    }

    /// Adds the actions of a `resource` processor, as long as they are not too many.
    fn resource(&mut self, processor: &Component<'_>, is_before: bool) {
        let actions = resource::actions(processor, is_before, ACTION_COUNT_MAX - self.actions.len(), self.report);
        self.actions.extend(actions);
    }

    fn memory_limiter(&mut self, part: &Foreign<'_>) {
        report_rest(part, &["limit_mib", "limit_percentage"], &LIMITER, self.report);
        // The Collector prefers the size to the percentage.
        let limits = [("limit_mib", "{}MiB"), ("limit_percentage", "{}%")].into_iter();
        let limits: Vec<_> = limits.filter_map(|(key, format)| Some((part.filled(key)?, format))).collect();
        let (unset, mut limits): (Vec<_>, Vec<_>) = limits.into_iter().partition(|(v, _)| v.count() == Some(0));
        unset.iter().for_each(|(unset, _)| self.report.not_needed(unset, "in the Collector 0 is \"not set\""));
        if limits.len() == 2 {
            let second = limits.remove(1).0;
            self.report.not_needed(&second, "the Collector takes `limit_mib` when both are written");
        }
        let Some((value, format)) = limits.pop() else { return };
        if !self.parts.memory.is_empty() {
            let reason = "Spansieve has one memory budget, and that of another `memory_limiter` is carried";
            return self.report.not_carried(&value, reason, "compare it with `memory.limit` in the result");
        }
        let reason =
            "it is the budget for spans, their index and what is on its way out, not the size of the whole process";
        self.report.different(&value, reason);
        self.parts.memory.extend(formatted(&value, format, self.report).map(|item| ("limit", item)));
    }

    fn batch(&mut self, part: &Foreign<'_>) {
        let mut entries = Vec::new();
        let sizes = ["send_batch_max_size", "send_batch_size"].iter().filter_map(|key| part.filled(key));
        let (unset, sizes): (Vec<_>, Vec<_>) = sizes.partition(|size| size.count() == Some(0));
        unset.iter().for_each(|unset| self.report.not_needed(unset, "in the Collector 0 is \"not set\""));
        if let Some((size, others)) = sizes.split_first() {
            entries.extend(scalar_item(size, self.report).map(|item| ("max_spans", item)));
            let reason = "batches have one size here: `send_batch_max_size`";
            others.iter().for_each(|other| self.report.not_needed(other, reason));
        }
        if let Some(delay) = part.filled("timeout") {
            entries.extend(scalar_item(&delay, self.report).map(|item| ("max_delay", item)));
        }
        report_rest(part, &["send_batch_size", "send_batch_max_size", "timeout"], &BATCH, self.report);
        add_batch(self.parts, part, entries, self.report);
    }
}

/// Adds `export.batch`, unless it is there.
pub(super) fn add_batch(parts: &mut Parts<'_>, part: &Foreign<'_>, entries: Vec<(&str, Item)>, report: &mut Report) {
    if parts.export.iter().any(|(key, _)| *key == "batch") {
        report.not_carried(part, "calls have one size, and that of another part is carried", super::LEAVE_OUT);
    } else if entries.is_empty() {
        report.not_needed(part, "it names no size: batches have Spansieve's own");
    } else {
        parts.export.push(("batch", Item::map(entries).parts_of(part)));
    }
}
