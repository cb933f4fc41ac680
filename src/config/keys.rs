//! The one table of known keys, and what to suggest for unknown ones.

use super::problem::{Fault, quote};

/// Every key by its path; `[]` stands for each item of a list. `docs/configuration.md` lists the same.
pub(super) const KEYS: &[&str] = &[
    "otlp",
    "otlp.listen",
    "otlp.max_request_bytes",
    "otlp.auth",
    "otlp.auth.bearer",
    "otlp.auth.bearer.tokens",
    "otlp.auth.bearer.tokens_file",
    "otlp.auth.google",
    "otlp.auth.google.audiences",
    "otlp.auth.google.service_accounts",
    "otlp.auth.google.certs_url",
    "otlp.cors",
    "otlp.cors.allowed_origins",
    "otlp.cors.allowed_headers",
    "otlp.cors.max_age",
    "otlp.reflection",
    "otlp.tls",
    "otlp.tls.cert_file",
    "otlp.tls.key_file",
    "otlp.tls.client_ca_file",
    "journal",
    "journal.directory",
    "journal.max_bytes",
    "tail_sampling",
    "tail_sampling.decision_wait",
    "tail_sampling.decision_wait_after_root_received",
    "tail_sampling.decision_cache",
    "tail_sampling.decision_cache.sampled_cache_size",
    "tail_sampling.decision_cache.non_sampled_cache_size",
    "tail_sampling.rescue",
    "tail_sampling.rescue.window",
    "tail_sampling.rescue.max_bytes",
    "tail_sampling.spans_max",
    "tail_sampling.bytes_max",
    "tail_sampling.annotate",
    "tail_sampling.sample_on_first_match",
    "tail_sampling.policies",
    "tail_sampling.policies[].name",
    "tail_sampling.policies[].type",
    "tail_sampling.policies[].and",
    "tail_sampling.policies[].and.same_span",
    "tail_sampling.policies[].and.and_sub_policy",
    "tail_sampling.policies[].not",
    "tail_sampling.policies[].not.not_sub_policy",
    "tail_sampling.policies[].drop",
    "tail_sampling.policies[].drop.same_span",
    "tail_sampling.policies[].drop.drop_sub_policy",
    "tail_sampling.policies[].composite",
    "tail_sampling.policies[].composite.max_total_spans_per_second",
    "tail_sampling.policies[].composite.policy_order",
    "tail_sampling.policies[].composite.composite_sub_policy",
    "tail_sampling.policies[].composite.rate_allocation",
    "tail_sampling.policies[].composite.rate_allocation[].policy",
    "tail_sampling.policies[].composite.rate_allocation[].percent",
    "tail_sampling.policies[].error",
    "tail_sampling.policies[].error.status",
    "tail_sampling.policies[].error.http",
    "tail_sampling.policies[].error.rpc",
    "tail_sampling.policies[].status_code",
    "tail_sampling.policies[].status_code.status_codes",
    "tail_sampling.policies[].string_attribute",
    "tail_sampling.policies[].string_attribute.key",
    "tail_sampling.policies[].string_attribute.values",
    "tail_sampling.policies[].string_attribute.enabled_regex_matching",
    "tail_sampling.policies[].string_attribute.cache_max_size",
    "tail_sampling.policies[].string_attribute.invert_match",
    "tail_sampling.policies[].numeric_attribute",
    "tail_sampling.policies[].numeric_attribute.key",
    "tail_sampling.policies[].numeric_attribute.min_value",
    "tail_sampling.policies[].numeric_attribute.max_value",
    "tail_sampling.policies[].numeric_attribute.invert_match",
    "tail_sampling.policies[].boolean_attribute",
    "tail_sampling.policies[].boolean_attribute.key",
    "tail_sampling.policies[].boolean_attribute.value",
    "tail_sampling.policies[].boolean_attribute.invert_match",
    "tail_sampling.policies[].ottl_condition",
    "tail_sampling.policies[].ottl_condition.span",
    "tail_sampling.policies[].ottl_condition.spanevent",
    "tail_sampling.policies[].ottl_condition.error_mode",
    "tail_sampling.policies[].trace_state",
    "tail_sampling.policies[].trace_state.key",
    "tail_sampling.policies[].trace_state.values",
    "tail_sampling.policies[].latency",
    "tail_sampling.policies[].latency.threshold_ms",
    "tail_sampling.policies[].latency.upper_threshold_ms",
    "tail_sampling.policies[].latency.of",
    "tail_sampling.policies[].latency.thresholds",
    "tail_sampling.policies[].latency.thresholds[].service",
    "tail_sampling.policies[].latency.thresholds[].route",
    "tail_sampling.policies[].latency.thresholds[].threshold_ms",
    "tail_sampling.policies[].latency.percentile",
    "tail_sampling.policies[].latency.key",
    "tail_sampling.policies[].latency.max_keys",
    "tail_sampling.policies[].span_count",
    "tail_sampling.policies[].span_count.min_spans",
    "tail_sampling.policies[].span_count.max_spans",
    "tail_sampling.policies[].probabilistic",
    "tail_sampling.policies[].probabilistic.sampling_percentage",
    "tail_sampling.policies[].probabilistic.hash_salt",
    "tail_sampling.policies[].rate_limiting",
    "tail_sampling.policies[].rate_limiting.spans_per_second",
    "tail_sampling.policies[].rate_limiting.burst_capacity",
    "tail_sampling.policies[].bytes_limiting",
    "tail_sampling.policies[].bytes_limiting.bytes_per_second",
    "tail_sampling.policies[].bytes_limiting.burst_capacity",
    "tail_sampling.policies[].adaptive",
    "tail_sampling.policies[].adaptive.goal_percentage",
    "tail_sampling.policies[].adaptive.goal_spans_per_second",
    "tail_sampling.policies[].adaptive.key",
    "tail_sampling.policies[].adaptive.weight",
    "tail_sampling.policies[].adaptive.lookback",
    "tail_sampling.policies[].adaptive.adjustment_interval",
    "tail_sampling.policies[].adaptive.max_keys",
    "tail_sampling.policies[].rare",
    "tail_sampling.policies[].rare.traces_per_minute",
    "tail_sampling.policies[].rare.key",
    "tail_sampling.policies[].rare.max_keys",
    "tail_sampling.policies[].budget",
    "tail_sampling.policies[].budget.spans_per_month",
    "tail_sampling.policies[].budget.dollars_per_month",
    "tail_sampling.policies[].budget.dollars_per_million_spans",
    "tail_sampling.policies[].budget.key",
    "tail_sampling.policies[].budget.max_keys",
    "tail_sampling.policies[].identical_errors",
    "tail_sampling.policies[].identical_errors.status",
    "tail_sampling.policies[].identical_errors.http",
    "tail_sampling.policies[].identical_errors.rpc",
    "tail_sampling.policies[].identical_errors.first",
    "tail_sampling.policies[].identical_errors.window",
    "tail_sampling.policies[].identical_errors.sampling_percentage",
    "tail_sampling.policies[].identical_errors.key",
    "tail_sampling.policies[].identical_errors.max_keys",
    "tail_sampling.num_traces",
    "tail_sampling.expected_new_traces_per_sec",
    "tail_sampling.block_on_overflow",
    "tail_sampling.num_shards",
    "tail_sampling.maximum_trace_size_bytes",
    "tail_sampling.sampling_strategy",
    "tail_sampling.drop_pending_traces_on_shutdown",
    "tail_sampling.tail_storage",
    "resource",
    "resource.detect",
    "resource.normalize",
    "resource.attributes",
    "resource.attributes[].key",
    "resource.attributes[].action",
    "resource.attributes[].value",
    "resource.attributes[].from_attribute",
    "resource.attributes[].default_value",
    "resource.attributes[].pattern",
    "resource.attributes[].converted_type",
    "resource.attributes[].where",
    "cloud_trace",
    "cloud_trace.api",
    "cloud_trace.endpoint",
    "cloud_trace.headers",
    "cloud_trace.project",
    "cloud_trace.allowed_projects",
    "cloud_trace.tls",
    "cloud_trace.tls.ca_file",
    "cloud_trace.embedded",
    "cloud_trace.embedded.listen",
    "cloud_trace.embedded.allowed_hosts",
    "cloud_trace.embedded.max_bytes",
    "cloud_trace.attribute_mapping",
    "cloud_trace.attribute_mapping.base",
    "cloud_trace.attribute_mapping.own",
    "cloud_trace.attribute_mapping.own[].key",
    "cloud_trace.attribute_mapping.own[].replacement",
    "cloud_trace.cloud_run_revision",
    "cloud_trace.batch",
    "cloud_trace.batch.max_spans",
    "cloud_trace.batch.max_bytes",
    "cloud_trace.batch.max_delay",
    "cloud_trace.spool",
    "cloud_trace.spool.directory",
    "cloud_trace.spool.max_bytes",
    "cloud_trace.destination_project_quota",
    "cloud_trace.give_up_after",
    "memory",
    "memory.limit",
    "memory.compress",
    "telemetry",
    "telemetry.listen",
    "telemetry.log",
    "telemetry.log.level",
    "telemetry.log.format",
];

/// The path of `key` in the section `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The keys of the section `path`.
pub(super) fn of_section(path: &str) -> impl Iterator<Item = &'static str> + Clone {
    KEYS.iter().filter_map(move |key| {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        (section == path).then_some(name)
    })
}

/// The sections of a Collector's configuration (<https://opentelemetry.io/docs/collector/configuration/>).
const COLLECTOR_SECTIONS: [&str; 6] = ["receivers", "processors", "exporters", "connectors", "extensions", "service"];

/// Says what to write instead of `key`, which the section `path` does not have; `is_written` tells which keys it has.
pub(super) fn unknown(path: &str, key: &str, is_written: impl Fn(&str) -> bool) -> Fault {
    let fault = Fault::new(format!("unknown key {}", quote(key)));
    if key == "<<" {
        return fault.help("merge keys are not part of YAML 1.2: write the keys out");
    }
    if path.is_empty() && COLLECTOR_SECTIONS.contains(&key) {
        return fault.help(
            "this is a section of an OpenTelemetry Collector's configuration: move what is in its `tail_sampling` and \
             `resource` processors to the top level; docs/migrating-from-the-collector.md says where the rest goes",
        );
    }
    let known = of_section(path);
    if let Some(name) = closest(key, known.clone().filter(|name| !is_written(name))) {
        return fault.help(format!("did you mean `{name}`?"));
    }
    // A slip of the pen for a key that is written already does not come from another section.
    let is_slip = closest(key, known.clone()).is_some();
    match elsewhere(path, key).filter(|_| !is_slip) {
        Some((section, name)) => fault.help(format!("did you mean `{name}` of `{section}`?")),
        None => fault.help(format!("known here: {}", known.collect::<Vec<_>>().join(", "))),
    }
}

/// Returns the section, other than `path`, that has `key`, or a key of one letter less, more or other. Keys in the items of
/// a list are meant only in that list: `service` of a latency threshold is not what a stray `service` stands for.
fn elsewhere(path: &str, key: &str) -> Option<(&'static str, &'static str)> {
    let is_near = |section: &str| section.rsplit_once("[]").is_none_or(|(list, _)| path.starts_with(list));
    let distance_max = usize::from(key.chars().count() > ONE_LETTER_CHARS_MIN);
    let candidates = KEYS.iter().filter_map(|path| path.rsplit_once('.'));
    let candidates = candidates.filter(|(section, _)| *section != path && is_near(section));
    let distances = candidates.map(|entry| (strsim::damerau_levenshtein(key, entry.1), entry));
    distances
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, entry)| entry)
}

/// In a word of this length or shorter, another letter makes another word.
const ONE_LETTER_CHARS_MIN: usize = 4;

/// The one of `known` that was probably meant by `word`: a third of the letters wrong still reads as the same word,
/// and so does one that was cut or continued.
pub(super) fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let distance_max = word.chars().count() / 3;
    let distances = known.filter_map(|name| {
        let lower = name.to_lowercase();
        let (short, long) = if lower.len() < word.len() { (&lower, &word) } else { (&word, &lower) };
        let is_cut = short.len() >= 3 && long.starts_with(short.as_str());
        let distance = strsim::damerau_levenshtein(&word, &lower);
        (is_cut || distance <= distance_max).then_some((distance, name))
    });
    distances.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}
