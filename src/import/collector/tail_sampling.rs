//! The `tail_sampling` processor (opentelemetry-collector-contrib `processor/tailsamplingprocessor/README.md`).

use super::pipelines::{Component, Pipeline};
use super::policies::{ONE_RANDOMNESS, percentage, policy};
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
const AFTER_ROOT: &str = "decision_wait_after_root_received";
/// The default of `decision_wait` in the Collector.
const DECISION_WAIT: &str = "30s";
/// The smallest decision cache of Spansieve.
const CACHE_SIZE_MIN: u64 = 1_000;
/// The most policies that Spansieve takes.
const POLICY_COUNT_MAX: usize = 256;
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
    match part.filled(AFTER_ROOT) {
        Some(wait) if wait.is_text("0s") => report.not_needed(&wait, "0 means no such wait, here as well"),
        _ => carry(part, AFTER_ROOT, AFTER_ROOT, entries, report),
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
        report.not_needed(&size, "0 is no limit");
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
    let mut items: Vec<Item> = Vec::new();
    for value in list.items() {
        if items.len() == POLICY_COUNT_MAX {
            report.not_carried(&value, "there are more policies than Spansieve takes", "combine some of them");
        } else {
            items.extend(policy(&value, report));
        }
    }
    Item::list(items).parts_of(&list).or(everything("no policy could be carried, so every trace is kept"))
}

fn everything(remark: &'static str) -> Item {
    let policy = Item::map(vec![("name", Item::text("everything")), ("type", Item::text("always_sample"))]);
    Item::list(vec![policy]).remark(remark)
}

/// Returns the policies of a pipeline without `tail_sampling`.
fn unsampled(pipeline: &Pipeline<'_>, report: &mut Report) -> Item {
    let ratio = pipeline.ratio().and_then(|sampler| ratio(&sampler.definition, report));
    ratio.unwrap_or_else(|| everything("the pipeline has no sampler"))
}

/// Keys of `probabilistic_sampler` (opentelemetry-collector-contrib `processor/probabilisticsamplerprocessor/README.md`).
const RATIO_KNOWN: [Known; 7] = [
    ("hash_seed", Outcome::NotNeeded, ONE_RANDOMNESS),
    ("mode", Outcome::Different, "the ratio is of the randomness of the trace id, as in the mode `equalizing`"),
    ("fail_closed", Outcome::NotNeeded, "every trace id has randomness"),
    ("sampling_precision", Outcome::NotNeeded, "thresholds have all 56 bits"),
    ("attribute_source", Outcome::NotNeeded, "it is about logs"),
    ("from_attribute", Outcome::NotNeeded, "it is about logs"),
    ("sampling_priority", Outcome::NotNeeded, "it is about logs"),
];

/// Returns the policy for a `probabilistic_sampler`.
fn ratio(part: &Foreign<'_>, report: &mut Report) -> Option<Item> {
    let lost = "every trace is kept here";
    let Some(value) = part.filled("sampling_percentage") else {
        report.not_carried(part, "it has no `sampling_percentage`, so it keeps nothing in the Collector", lost);
        return None;
    };
    let percentage = percentage(part).map_err(|reason| report.not_carried(part, reason, lost)).ok()?;
    report.different(&value, "as many traces are kept, but others: by the randomness of the trace id");
    report_rest(part, &["sampling_percentage"], &RATIO_KNOWN, report);
    let section = Item::map(vec![("sampling_percentage", percentage)]);
    let name = Item::text("ratio");
    let policy = Item::map(vec![("name", name), ("type", Item::text("probabilistic")), ("probabilistic", section)]);
    Some(Item::list(vec![policy.from(part)]).parts_of(part).or(everything("the ratio could not be carried")))
}

/// Says which policies ask for attributes that a processor before the sampler has rewritten.
fn warn_of_rewritten(pipeline: &Pipeline<'_>, sampler: &Foreign<'_>, report: &mut Report) {
    let rewritten: Vec<_> = pipeline.before.iter().flat_map(rewritten).take(REWRITTEN_MAX).collect();
    let rewritten: Vec<_> = rewritten.iter().map(|(key, processor)| (*key, format!("\"{key}\""), processor)).collect();
    if rewritten.is_empty() {
        return;
    }
    for policy in sampler.get("policies").map(|policies| policies.items()).unwrap_or_default() {
        let mut mentioned = vec![false; rewritten.len()];
        each_text(&policy, &mut |text| {
            for (index, (key, quoted, _)) in rewritten.iter().enumerate() {
                mentioned[index] |= text == *key || text.contains(quoted.as_str());
            }
        });
        for ((key, _, processor), _) in rewritten.iter().zip(mentioned).filter(|(_, is_mentioned)| *is_mentioned) {
            let reason =
                format!("it asks for `{key}`, which `{processor}` sets before: here policies see what was sent");
            report.different(&policy, reason);
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

/// Calls `visit` with all texts in a policy, but for its name and type, and those of the policies in it.
fn each_text(value: &Foreign<'_>, visit: &mut impl FnMut(&str)) {
    if let Some(text) = value.text() {
        visit(text);
    }
    value.items().iter().for_each(|item| each_text(item, visit));
    for (_, part) in value.entries().iter().filter(|(key, _)| !["name", "type"].contains(key)) {
        each_text(part, visit);
    }
}
