//! Every YAML configuration in the repository is valid by `docs/config.schema.json`, and mistakes are not.
//!
//! The check here knows only the keywords that the schema uses, and refuses any other. A validator from a registry would
//! bring some thirty crates for this one test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use regex_automata::meta::Regex;
use serde_json::{Value, json};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

struct Schema(Value);

impl Schema {
    fn of_the_repository() -> Self {
        let text = fs::read_to_string(root().join("docs/config.schema.json")).unwrap();
        assert_eq!(text, spansieve::config::schema());
        Schema(serde_json::from_str(&text).unwrap())
    }

    /// Returns the places at which `value` is not valid, each with the keyword that says so.
    fn errors(&self, value: &Value) -> Vec<String> {
        let mut errors = Vec::new();
        self.check(&self.0, value, "", &mut errors);
        errors
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, errors: &mut Vec<String>) {
        for (keyword, operand) in schema.as_object().unwrap() {
            let is_valid = |schema: &Value| {
                let mut errors = Vec::new();
                self.check(schema, value, at, &mut errors);
                errors.is_empty()
            };
            let good = match keyword.as_str() {
                "$schema" | "$defs" | "title" | "description" | "default" | "deprecated" | "then" => true,
                "$ref" => {
                    let target = self.0.pointer(operand.as_str().unwrap().trim_start_matches('#')).unwrap();
                    self.check(target, value, at, errors);
                    true
                }
                "anyOf" => operand.as_array().unwrap().iter().any(is_valid),
                "allOf" => operand.as_array().unwrap().iter().all(is_valid),
                "if" => !is_valid(operand) || is_valid(&schema["then"]),
                "const" => operand == value,
                "enum" => operand.as_array().unwrap().contains(value),
                "type" => is_of_type(operand, value),
                "minimum" => value.as_f64().is_none_or(|number| number >= operand.as_f64().unwrap()),
                "maximum" => value.as_f64().is_none_or(|number| number <= operand.as_f64().unwrap()),
                "pattern" => {
                    value.as_str().is_none_or(|text| Regex::new(operand.as_str().unwrap()).unwrap().is_match(text))
                }
                "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= operand.as_u64().unwrap()),
                "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= operand.as_u64().unwrap()),
                "required" => value.as_object().is_none_or(|object| {
                    operand.as_array().unwrap().iter().all(|key| object.contains_key(key.as_str().unwrap()))
                }),
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(operand, item, &format!("{at}[{index}]"), errors);
                    }
                    true
                }
                "properties" => {
                    for (key, value) in value.as_object().into_iter().flatten() {
                        if let Some(schema) = operand.get(key) {
                            self.check(schema, value, &format!("{at}.{key}"), errors);
                        }
                    }
                    true
                }
                "additionalProperties" => {
                    let known = schema.get("properties");
                    let others = value.as_object().into_iter().flatten();
                    let mut others = others.filter(|(key, _)| known.is_none_or(|known| known.get(*key).is_none()));
                    match operand {
                        Value::Bool(false) => others.next().is_none(),
                        operand => {
                            others.for_each(|(key, value)| self.check(operand, value, &format!("{at}.{key}"), errors));
                            true
                        }
                    }
                }
                _ => panic!("the check does not know {keyword}"),
            };
            if !good {
                errors.push(format!("{at}: {keyword}"));
            }
        }
    }
}

fn is_of_type(types: &Value, value: &Value) -> bool {
    let is = |kind: &Value| match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        kind => panic!("the check does not know the type {kind}"),
    };
    types.as_array().map_or_else(|| is(types), |types| types.iter().any(is))
}

/// Returns the files below `directory` whose names end with `suffix`.
fn files(directory: &Path, suffix: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, suffix, found);
        } else if path.to_string_lossy().ends_with(suffix) {
            found.push(path);
        }
    }
}

/// Returns false for descriptions of services, and for the rules of a monitoring system.
fn is_configuration(path: &Path) -> bool {
    let others = ["deploy/gke", "deploy/monitoring"];
    !path.ends_with("service.yaml") && !others.iter().any(|directory| path.starts_with(root().join(directory)))
}

fn parsed(yaml: &str) -> Value {
    // As editors read it (YAML 1.2): `off` and `yes` are words.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(yaml, options).unwrap()
}

#[test]
fn every_configuration_is_valid() {
    let mut paths = vec![root().join("config.yaml")];
    for directory in ["deploy", "examples", "tests/fixtures"] {
        files(&root().join(directory), ".yaml", &mut paths);
    }
    paths.retain(|path| is_configuration(path));
    assert!(paths.len() >= 6, "{paths:?}");
    let schema = Schema::of_the_repository();
    for path in paths {
        let errors = schema.errors(&parsed(&fs::read_to_string(&path).unwrap()));
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
}

#[test]
fn every_example_of_the_reference_is_valid() {
    let schema = Schema::of_the_repository();
    let document = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let examples: Vec<&str> =
        document.split("```yaml\n").skip(1).map(|rest| rest.split_once("\n```").unwrap().0).collect();
    assert!(examples.len() >= 6);
    for example in examples {
        assert_eq!(schema.errors(&parsed(example)), Vec::<String>::new(), "{example}");
    }
}

/// Returns the sample files: those that operators copy, and the one that is built in.
fn samples() -> Vec<PathBuf> {
    let mut paths = vec![root().join("config.yaml")];
    for directory in ["deploy", "examples"] {
        files(&root().join(directory), ".yaml", &mut paths);
    }
    paths.retain(|path| is_configuration(path));
    paths
}

/// Returns the schema that the first line of a YAML file names.
fn named_schema(text: &str) -> Option<&str> {
    text.lines().next()?.strip_prefix("# yaml-language-server: $schema=")
}

#[test]
fn every_sample_names_a_schema_that_exists() {
    assert!(samples().len() >= 3);
    for path in samples() {
        let text = fs::read_to_string(&path).unwrap();
        let target =
            named_schema(&text).unwrap_or_else(|| panic!("{} names no schema on its first line", path.display()));
        let schema = fs::read_to_string(path.parent().unwrap().join(target));
        let schema: Value = serde_json::from_str(&schema.unwrap_or_else(|error| panic!("{target}: {error}"))).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{target}");
    }
    // The built-in one is printed for a file that has the schema beside it.
    assert_eq!(named_schema(spansieve::cli::source::BUILT_IN), Some("docs/config.schema.json"));
    let reference = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    assert!(reference.contains("# yaml-language-server: $schema=config.schema.json"));
}

#[test]
fn what_the_reader_accepts_is_valid() {
    let schema = Schema::of_the_repository();
    for yaml in [
        "",
        "otlp:",
        "otlp: {max_request_bytes: '${env:BYTES}', listen: ['${env:HOST:-0.0.0.0}:4317']}",
        "memory: {limit: 512MiB, compress: off}",
        "memory: {limit: 70 %}",
        "tail_sampling: {decision_wait: 1m30s, rescue: {window: 0}, annotate: '${env:ANNOTATE:-true}'}",
        "tail_sampling: {decision_cache: {sampled_cache_size: 100_000}, num_traces: 5, spans_max: 5_000}",
        "tail_sampling: {policies: [{name: a, type: probabilistic, probabilistic: {sampling_percentage: 5%}}]}",
        "tail_sampling: {policies: [{name: a, type: not, not: {not_sub_policy: {type: error}}}]}",
        "resource: {attributes: [{key: a, action: UPSERT, value: {b: [1, true]}}]}",
        "export: {attribute_mapping: console, project: 123456789, headers: {x: 5}}",
        "export: {attribute_mapping: {own: [{key: a, replacement: b}]}, spool: {directory: }}",
        "cloud_trace: {api: v2, endpoint: embedded}",
        "otlp: {auth: {bearer: {tokens: ['${env:TOKEN}', '']}}}",
    ] {
        assert_eq!(schema.errors(&parsed(yaml)), Vec::<String>::new(), "{yaml}");
        let env = |_: &str| None;
        if !yaml.contains("${env:") {
            spansieve::config::load(yaml, &env).unwrap_or_else(|problems| panic!("{yaml}: {problems}"));
        }
    }
}

#[test]
fn mistakes_are_found() {
    let schema = Schema::of_the_repository();
    for (yaml, error) in [
        ("otlp: {listn: []}", ".otlp: additionalProperties"),
        ("otpl: {}", ": additionalProperties"),
        ("otlp: []", ".otlp: type"),
        ("otlp: {listen: []}", ".otlp.listen: minItems"),
        ("otlp: {reflection: yes}", ".otlp.reflection: anyOf"),
        ("telemetry: {log: {level: loud}}", ".telemetry.log.level: anyOf"),
        ("tail_sampling: {decision_wait: 10}", ".tail_sampling.decision_wait: anyOf"),
        ("tail_sampling: {policies: [{name: a}]}", ".tail_sampling.policies[0]: required"),
        ("tail_sampling: {policies: [{name: a, type: latency}]}", ".tail_sampling.policies[0]: allOf"),
        (
            "tail_sampling: {policies: [{name: a, type: and, and: {and_sub_policy: [{type: eror}]}}]}",
            ".tail_sampling.policies[0].and.and_sub_policy[0].type: anyOf",
        ),
        ("export: {batch: {max_spans: 0}}", ".export.batch.max_spans: anyOf"),
        ("export: {batch: {max_spans: 25001}}", ".export.batch.max_spans: anyOf"),
        ("journal: {max_bytes: 1GiB}", ".journal: required"),
        ("memory: {limit: 5 apples}", ".memory.limit: anyOf"),
    ] {
        assert_eq!(schema.errors(&parsed(yaml)), [error], "{yaml}");
        assert!(spansieve::config::load(yaml, &|_| None).is_err(), "{yaml}");
    }
    assert_eq!(schema.errors(&json!([])), [": type"]);
}
