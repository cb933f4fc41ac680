//! Any tree with the keys of the Collector or of Refinery: it fails clearly, or becomes a configuration that can be used.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Finding, ForeignKind, Imported, Outcome, imported, loaded};

const KEYS: [&str; 104] = [
    "receivers",
    "processors",
    "exporters",
    "connectors",
    "extensions",
    "service",
    "pipelines",
    "traces",
    "traces/b",
    "metrics",
    "otlp",
    "protocols",
    "grpc",
    "http",
    "endpoint",
    "tls",
    "cert_file",
    "key_file",
    "client_ca_file",
    "auth",
    "authenticator",
    "cors",
    "allowed_origins",
    "max_recv_msg_size_mib",
    "max_request_body_size",
    "memory_limiter",
    "limit_mib",
    "limit_percentage",
    "batch",
    "send_batch_size",
    "timeout",
    "resource",
    "attributes",
    "actions",
    "key",
    "value",
    "action",
    "from_attribute",
    "pattern",
    "tail_sampling",
    "tail_sampling/b",
    "decision_wait",
    "decision_cache",
    "sampled_cache_size",
    "maximum_trace_size_bytes",
    "policies",
    "name",
    "type",
    "latency",
    "threshold_ms",
    "upper_threshold_ms",
    "status_code",
    "status_codes",
    "string_attribute",
    "values",
    "enabled_regex_matching",
    "numeric_attribute",
    "min_value",
    "max_value",
    "probabilistic",
    "sampling_percentage",
    "rate_limiting",
    "spans_per_second",
    "and",
    "and_sub_policy",
    "not",
    "not_sub_policy",
    "drop",
    "drop_sub_policy",
    "composite",
    "composite_sub_policy",
    "max_total_spans_per_second",
    "policy_order",
    "rate_allocation",
    "ottl_condition",
    "span",
    "googlecloud",
    "project",
    "trace",
    "attribute_mappings",
    "replacement",
    "otlphttp",
    "headers",
    "sending_queue",
    "retry_on_failure",
    "max_elapsed_time",
    "forward",
    "telemetry",
    "logs",
    "level",
    "address",
    "<<",
    "Samplers",
    "RulesVersion",
    "__default__",
    "RulesBasedSampler",
    "Rules",
    "Conditions",
    "Field",
    "Operator",
    "Value",
    "SampleRate",
    "DynamicSampler",
    "FieldList",
];

const TEXTS: [&str; 40] = [
    "",
    "a",
    "10s",
    "5%",
    "ERROR",
    "insert",
    "delete",
    "latency",
    "and",
    "drop",
    "not",
    "composite",
    "ottl_condition",
    "status_code",
    "string_attribute",
    "probabilistic",
    "always_sample",
    "tail_sampling",
    "tail_sampling/b",
    "resource",
    "memory_limiter",
    "batch",
    "otlp",
    "googlecloud",
    "forward",
    "127.0.0.1:4317",
    "http://x:1",
    "https://x/y",
    "${env:A}",
    "${B:-10s}",
    "${file:/x}",
    "${",
    "$$",
    "(",
    "=",
    "starts-with",
    "exists",
    "service.name",
    "root.name",
    "attributes[\"a\"] == 1",
];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        proptest::sample::select(&TEXTS[..]).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0_i64..200).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ]
}

fn tree() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(6, 60, 6, |inner| {
        let key = proptest::sample::select(&KEYS[..]);
        let entries = proptest::collection::vec((key, inner.clone()), 0..6);
        let map = entries.prop_map(|entries| {
            Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>())
        });
        prop_oneof![map, proptest::collection::vec(inner, 0..4).prop_map(Value::from)]
    })
}

/// A tree whose parts stand where the Collector or Refinery looks for them.
fn placed() -> impl Strategy<Value = Value> {
    let lists = proptest::collection::vec(proptest::sample::select(&TEXTS[..]), 0..5);
    (proptest::collection::vec(tree(), 8), lists, 0..3).prop_map(|(parts, names, form)| match form {
        0 => json!({
            "receivers": {"otlp": {"protocols": {"grpc": &parts[0], "http": &parts[1]}}},
            "processors": {"tail_sampling": {"policies": [&parts[2], {"name": "a", "type": "and", "and": &parts[3]}]},
                "batch": &parts[4], "resource": {"attributes": [&parts[5]]}, "memory_limiter": &parts[6]},
            "exporters": {"googlecloud": &parts[7]},
            "service": {"pipelines": {"traces": {"receivers": ["otlp"], "processors": ["tail_sampling", "batch", "resource"],
                "exporters": ["googlecloud"]}, "traces/b": {"receivers": &names, "processors": &names, "exporters": &names}}},
        }),
        1 => json!({
            "processors": {"tail_sampling": &parts[0]}, "exporters": {"otlp": &parts[1], "otlphttp": &parts[2]},
            "receivers": {"otlp": &parts[3]}, "extensions": &parts[4], "connectors": &parts[5],
        }),
        _ => json!({"RulesVersion": 2, "Samplers": {"__default__": {"RulesBasedSampler": {"Rules": [
            {"Conditions": [&parts[0], {"Field": "a", "Operator": &names, "Value": &parts[1]}], "SampleRate": 3},
            {"Conditions": [{"Field": &names, "Operator": names.last(), "Value": &parts[2]}], "Drop": &parts[3]},
            {"Conditions": &parts[4], "Sampler": &parts[5]}, &parts[6]]}}}}),
    })
}

/// Keys whose value shows in the result under another name: names of components, and switches of TLS.
const SHOWN_OTHERWISE: [&str; 6] = ["receivers", "processors", "exporters", "extensions", "authenticator", "insecure"];
/// Sections that a finding is about as a whole, although they mean something else here.
const DIFFERENT_WHOLE: [&str; 1] = ["extensions."];

/// Returns the paths of all values in `tree` that nothing is in, each with its last key.
fn leaves(tree: &Value, path: &str, key: &str, out: &mut Vec<(String, String)>) {
    match tree {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(value, &path, key, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, value) in items.iter().enumerate() {
                leaves(value, &format!("{path}[{index}]"), key, out);
            }
        }
        _ => out.push((path.to_owned(), key.to_owned())),
    }
}

/// Returns true if `finding`, or the result that it names, tells about the value at `path`.
fn tells(finding: &Finding, imported: &Imported, path: &str, key: &str) -> bool {
    let inside = path.strip_prefix(&finding.from).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    let is_root = finding.from == "the file";
    match finding.outcome {
        Outcome::NotCarried | Outcome::NotNeeded => is_root || inside.is_some(),
        Outcome::Different if DIFFERENT_WHOLE.iter().any(|start| finding.from.starts_with(start)) => inside.is_some(),
        _ if finding.to.is_some() => inside.is_some_and(|rest| rest.is_empty() || imported.text.contains(key)),
        _ => inside == Some(""),
    }
}

fn check_nothing_vanishes(tree: &Value, imported: &Imported) {
    let mut values = Vec::new();
    leaves(tree, "", "", &mut values);
    let findings: Vec<&Finding> = Outcome::ALL.iter().flat_map(|outcome| imported.report.of(*outcome)).collect();
    for (path, key) in values {
        let is_told = findings.iter().any(|finding| tells(finding, imported, &path, &key));
        let is_excused = SHOWN_OTHERWISE.contains(&key.as_str());
        assert!(is_told || is_excused, "{path} of {tree} vanishes:\n{}\n{findings:#?}", imported.text);
    }
}

/// JSON is YAML.
fn check(tree: &Value) {
    let text = tree.to_string();
    match imported(&text) {
        Ok(imported) => {
            loaded(&imported);
            // Merged entries have the paths of entries of the section that merges them.
            if imported.kind == ForeignKind::Collector && !text.contains("<<") {
                check_nothing_vanishes(tree, &imported);
            }
        }
        Err(problems) => assert!(problems.iter().next().is_some_and(|problem| problem.line > 0), "{tree}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_becomes_a_configuration_or_is_refused(tree in tree()) {
        check(&tree);
    }

    #[test]
    fn any_parts_of_a_file_become_a_configuration(tree in placed()) {
        check(&tree);
    }

    #[test]
    fn any_text_is_refused_or_imported(text in "\\PC{0,200}") {
        let _ = imported(&text);
    }
}
