//! The `tail_sampling` processor (opentelemetry-collector-contrib `processor/tailsamplingprocessor/README.md`).

use super::pipelines::{Component, Pipeline};
use super::policies::policy;
use super::{Known, Parts, carry, copied, report_rest, scalar_item};
use crate::import::draft::Item;
use crate::import::foreign::Foreign;
use crate::import::report::{Outcome, Report};
use crate::settings::units::display_bytes;

const READ: [&str; 7] = [
    "decision_wait",
    "decision_wait_after_root_received",
    "decision_cache",
    "maximum_trace_size_bytes",
    "sample_on_first_match",
    "sampling_strategy",
    "policies",
];
const KNOWN: [Known; 6] = [
    ("num_traces", Outcome::NotNeeded, "`memory.limit` bounds the traces in memory, in bytes"),
    ("expected_new_traces_per_sec", Outcome::NotNeeded, "tables grow with the traffic"),
    ("num_shards", Outcome::NotNeeded, "the trace table is sharded by itself"),
    (
        "block_on_overflow",
        Outcome::NotNeeded,
        "when memory is full, the oldest traces are decided early, and then senders are asked to retry",
    ),
    (
        "drop_pending_traces_on_shutdown",
        Outcome::Different,
        "pending traces are always decided at a stop, with what is known by then",
    ),
    ("tail_storage", Outcome::NotCarried, "pending spans are held in memory, and with `journal` also on a disk"),
];
/// The default of `decision_wait` in the Collector.
const DECISION_WAIT: &str = "30s";
/// The smallest decision cache of Spansieve.
const CACHE_SIZE_MIN: u64 = 1_000;
/// The smallest `bytes_max`.
const BYTES_MIN: u64 = 1 << 10;
const RESCUE: &str = "a late error or slow span brings a dropped trace back, so more traces are kept; `rescue: {window: 0s}` \
                      turns that off";

/// Reads the sampler. Without one every trace is kept.
pub(super) fn read<'a>(pipeline: &Pipeline<'a>, parts: &mut Parts<'a>, report: &mut Report) {
    let entries = &mut parts.tail_sampling;
    let Some(sampler) = &pipeline.sampler else {
        entries.push(("policies", unsampled(pipeline, report)));
        return;
    };
    let part = &sampler.definition;
    match part.filled("decision_wait") {
        Some(wait) => entries.extend(scalar_item(&wait, report).map(|item| ("decision_wait", item))),
        None => entries.push(("decision_wait", Item::yaml(DECISION_WAIT).remark("the Collector's default"))),
    }
    if part.filled("decision_wait_after_root_received").is_some_and(|wait| !wait.is_text("0s")) {
        carry(part, "decision_wait_after_root_received", "decision_wait_after_root_received", entries, report);
    }
    entries.extend(decision_cache(part, report).map(|item| ("decision_cache", item)));
    entries.extend(bytes_max(part, report).map(|item| ("bytes_max", item)));
    carry(part, "sample_on_first_match", "sample_on_first_match", entries, report);
    strategy(part, report);
    report.different(part, RESCUE);
    own_keys(part, entries, report);
    entries.push(("policies", policies(part, report)));
    warn_of_rewritten(pipeline, part, report);
}

/// Adds the keys that are Spansieve's own, if its reader takes them, and reports the Collector's other keys.
fn own_keys<'a>(part: &Foreign<'a>, entries: &mut Vec<(&'a str, Item)>, report: &mut Report) {
    let is_known = |key: &str| READ.contains(&key) || KNOWN.iter().any(|(known, _, _)| *known == key);
    let others = part.entries().into_iter().filter(|(key, _)| !is_known(key));
    let mut own = Vec::new();
    for (key, value) in others.filter(|(_, value)| !value.is_null()) {
        match copied(&value) {
            Ok(item) => entries.push((key, item.from(&value))),
            Err(reason) => report.not_carried(&value, reason, "write the value itself"),
        }
        own.push(key);
    }
    own.extend(READ);
    report_rest(part, &own, &KNOWN, report);
}

fn decision_cache(part: &Foreign<'_>, report: &mut Report) -> Option<Item> {
    const KEYS: [&str; 2] = ["sampled_cache_size", "non_sampled_cache_size"];
    let cache = part.filled("decision_cache")?;
    let mut entries = Vec::new();
    for key in KEYS {
        match cache.filled(key) {
            Some(size) if size.count().is_some_and(|count| count < CACHE_SIZE_MIN) => {
                report
                    .different(&size, "verdicts of the last million traces are remembered: late spans must find them");
            }
            Some(_) => carry(&cache, key, key, &mut entries, report),
            None => {}
        }
    }
    report_rest(&cache, &KEYS, &[], report);
    (!entries.is_empty()).then(|| Item::map(entries).parts_of(&cache))
}

fn bytes_max(part: &Foreign<'_>, report: &mut Report) -> Option<Item> {
    let size = part.filled("maximum_trace_size_bytes")?;
    if size.count() == Some(0) {
        return None;
    }
    report.different(&size, "a larger trace is decided by its policies at once, where the Collector drops it unseen");
    match size.count() {
        Some(bytes) => Some(Item::yaml(display_bytes(bytes.max(BYTES_MIN))).from(&size)),
        None => scalar_item(&size, report),
    }
}

fn strategy(part: &Foreign<'_>, report: &mut Report) {
    let Some(strategy) = part.filled("sampling_strategy") else { return };
    if strategy.is_text("trace-complete") {
        report.not_needed(&strategy, "traces are always decided as a whole");
    } else {
        let reason = "traces are decided as a whole, not request by request";
        report.not_carried(&strategy, reason, "nothing: verdicts take all spans into account");
    }
}

fn policies(part: &Foreign<'_>, report: &mut Report) -> Item {
    let list = part.get("policies").unwrap_or_else(|| part.clone());
    let items: Vec<Item> = list.items().iter().filter_map(|value| policy(value, report)).collect();
    Item::list(items).parts_of(&list).or(everything("no policy could be carried, so every trace is kept"))
}

fn everything(remark: &'static str) -> Item {
    let policy = Item::map(vec![("name", Item::text("everything")), ("type", Item::text("always_sample"))]);
    Item::list(vec![policy]).remark(remark)
}

/// Returns the policies of a pipeline without `tail_sampling`.
fn unsampled(pipeline: &Pipeline<'_>, report: &mut Report) -> Item {
    let sampler = pipeline.after.iter().find(|processor| processor.kind == "probabilistic_sampler");
    let ratio = sampler.and_then(|sampler| ratio(&sampler.definition, report));
    ratio.unwrap_or_else(|| everything("the pipeline has no sampler"))
}

/// Returns the policy for a `probabilistic_sampler`.
fn ratio(part: &Foreign<'_>, report: &mut Report) -> Option<Item> {
    let percentage = part.filled("sampling_percentage")?;
    let rule = super::policies::probabilistic(part, report).ok()?;
    report.different(&percentage, "as many traces are kept, but others: by the randomness of the trace id");
    let name = Item::text("ratio");
    let policy = Item::map(vec![("name", name), ("type", Item::text("probabilistic")), ("probabilistic", rule)]);
    Some(Item::list(vec![policy.from(part)]).parts_of(part).or(everything("the ratio could not be carried")))
}

/// Says which policies ask for attributes that a processor before the sampler has rewritten.
fn warn_of_rewritten(pipeline: &Pipeline<'_>, sampler: &Foreign<'_>, report: &mut Report) {
    let policies = sampler.get("policies").map(|policies| policies.items()).unwrap_or_default();
    for (key, processor) in pipeline.before.iter().flat_map(rewritten).take(REWRITTEN_MAX) {
        for policy in policies.iter().filter(|policy| mentions(policy, key)) {
            let reason =
                format!("it asks for `{key}`, which `{processor}` sets before: here policies see what was sent");
            report.different(policy, reason);
        }
    }
}

/// Attributes that are looked for in policies.
const REWRITTEN_MAX: usize = 64;

/// Returns the attributes that a processor rewrites, each with the path of the processor.
fn rewritten<'a>(processor: &Component<'a>) -> Vec<(&'a str, String)> {
    let list = match processor.kind {
        "resource" => "attributes",
        "attributes" => "actions",
        _ => return Vec::new(),
    };
    let actions = processor.definition.get(list).map(|list| list.items()).unwrap_or_default();
    let keys = actions.iter().filter_map(|action| action.get("key")?.text());
    keys.filter(|key| !key.is_empty() && key.len() <= 100).map(|key| (key, processor.definition.path.clone())).collect()
}

fn mentions(value: &Foreign<'_>, key: &str) -> bool {
    match value.text() {
        Some(text) => text == key || text.contains(&format!("\"{key}\"")),
        None => {
            let is_part = |name: &str| !["name", "type"].contains(&name);
            value.items().iter().any(|item| mentions(item, key))
                || value.entries().iter().any(|(name, item)| is_part(name) && mentions(item, key))
        }
    }
}
