//! `tail_sampling`: the Collector's keys with its meanings, and ours.
//!
//! A block of the Collector can be pasted: what has no place here is accepted with a warning that says what takes its
//! place, or refused where accepting it would break a promise.

mod condition;
mod keyed;
mod latency;
mod limiter;
mod nested;
mod policy;

use crate::config::limits::{
    CACHE_SIZE, CACHE_SIZE_MIN, DECISION_WAIT, DECISION_WAIT_AFTER_ROOT, Limit, POLICY_COUNT, RESCUE_BYTES,
    RESCUE_WINDOW, TRACE_BYTES, TRACE_PERCENTS, TRACE_SPANS,
};
use crate::config::settings::{DecisionCache, Rescue, TailSampling};
use crate::config::values;
use crate::settings::Size;
use crate::settings::fault::Fault;
use crate::settings::reader::Section;

/// Keys of the Collector without effect here, and what takes their place.
const REPLACED: [(&str, &str); 4] = [
    ("num_traces", "`memory.limit` bounds the traces in memory, in bytes"),
    ("expected_new_traces_per_sec", "tables grow with the traffic"),
    (
        "block_on_overflow",
        "when memory is full, the oldest traces are decided early and then requests are refused, retryably",
    ),
    ("num_shards", "the trace table is sharded by itself"),
];

pub(super) fn tail_sampling(mut section: Section<'_>, settings: &mut TailSampling) {
    section.set("decision_wait", &mut settings.decision_wait, |node| values::duration(node, &DECISION_WAIT));
    section.set("decision_wait_after_root_received", &mut settings.decision_wait_after_root_received, |node| {
        values::duration(node, &DECISION_WAIT_AFTER_ROOT)
    });
    warn_of_late_root_wait(&mut section, settings);
    if let Some(section) = section.section("decision_cache") {
        decision_cache(section, &mut settings.decision_cache);
    }
    if let Some(section) = section.section("rescue") {
        rescue(section, &mut settings.rescue);
    }
    section.set("spans_max", &mut settings.spans_max, |node| values::count(node, &TRACE_SPANS));
    maximum_trace_size_bytes(&mut section, &mut settings.bytes_max);
    section.set("bytes_max", &mut settings.bytes_max, |node| values::size(node, &TRACE_BYTES, &TRACE_PERCENTS));
    section.set("annotate", &mut settings.annotate, values::boolean);
    section.set("sample_on_first_match", &mut settings.sample_on_first_match, values::boolean);
    if let Some(nodes) = section.items("policies", &POLICY_COUNT) {
        settings.policies = policy::policies(&mut section, &nodes, settings.decision_wait);
    }
    collector_keys(&mut section);
}

fn warn_of_late_root_wait(section: &mut Section<'_>, settings: &TailSampling) {
    if let Some((_, node)) = section.entry("decision_wait_after_root_received")
        && settings.decision_wait_after_root_received >= settings.decision_wait
    {
        let fault = Fault::new("`decision_wait_after_root_received` has no effect: `decision_wait` is over first");
        section.warn(node.at, fault.help("make it shorter than `decision_wait`, or leave it out"));
    }
}

fn decision_cache(mut section: Section<'_>, cache: &mut DecisionCache) {
    for (key, size) in [
        ("sampled_cache_size", &mut cache.sampled_cache_size),
        ("non_sampled_cache_size", &mut cache.non_sampled_cache_size),
    ] {
        section.set(key, size, |node| values::count(node, &CACHE_SIZE));
        if let Some((_, node)) = section.entry(key)
            && *size < CACHE_SIZE_MIN
        {
            *size = CACHE_SIZE_MIN;
            let fault = Fault::new(format!("`{key}` is taken as {CACHE_SIZE_MIN}, the smallest"));
            section.warn(node.at, fault.help("late spans follow the verdict of their trace only if it is remembered"));
        }
    }
}

fn rescue(mut section: Section<'_>, rescue: &mut Rescue) {
    section.set("window", &mut rescue.window, |node| values::duration(node, &RESCUE_WINDOW));
    section.set("max_bytes", &mut rescue.max_bytes, |node| values::size(node, &RESCUE_BYTES, &(0.0..=100.0)));
}

/// The Collector's `bytes_max`, which drops the trace; 0 is its "off".
fn maximum_trace_size_bytes(section: &mut Section<'_>, bytes_max: &mut Size) {
    let key = "maximum_trace_size_bytes";
    let read = section.read(key, |node| values::bytes(node, &Limit { min: 0, ..TRACE_BYTES }));
    let (Some(bytes), Some((at, _))) = (read, section.entry(key)) else { return };
    if bytes > 0 {
        *bytes_max = Size::Bytes(bytes.max(TRACE_BYTES.min));
    }
    let fault = Fault::new(format!("`{key}` does not drop larger traces here: they are decided at once"));
    section.warn(at, fault.help("write `bytes_max` in its place"));
}

/// Keys that only the Collector has.
fn collector_keys(section: &mut Section<'_>) {
    for (key, replacement) in REPLACED {
        warn_without_effect(section, key, replacement);
    }
    let strategies = [("trace-complete", ())];
    let strategy = section.read("sampling_strategy", |node| {
        values::supported_choice(node, "sampling strategy", &strategies, &["span-ingest"])
    });
    if strategy.is_some() {
        warn_without_effect(section, "sampling_strategy", "traces are always decided as a whole");
    }
    let drop_pending = section.read("drop_pending_traces_on_shutdown", |node| match values::boolean(node)? {
        true => Err(Fault::new("pending traces are never dropped on shutdown: all are decided").help("write `false`")),
        false => Ok(()),
    });
    if drop_pending.is_some() {
        let replacement = "pending traces are always decided on shutdown";
        warn_without_effect(section, "drop_pending_traces_on_shutdown", replacement);
    }
    if let Some((at, _)) = section.entry("tail_storage") {
        let fault = Fault::new("`tail_storage` is not supported: pending spans are held in memory");
        section.error(at, fault.help("remove it; `memory.limit` bounds what is held"));
    }
}

fn warn_without_effect(section: &mut Section<'_>, key: &str, replacement: &str) {
    if let Some((at, _)) = section.entry(key) {
        section.warn(at, Fault::new(format!("`{key}` has no effect")).help(format!("{replacement}: remove it")));
    }
}
