//! Whole files, each with its result, and arbitrary files.

mod any;
mod collector;
mod refinery;

use std::io;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::{Loaded, load};
use crate::terminal::Paint;

/// Imports `text` where no file can be read.
fn imported(text: &str) -> Result<Imported, ConfigError> {
    import(text, "foreign.yaml", None, &|_| Err(io::ErrorKind::NotFound.into()))
}

/// Reads the result with Spansieve's own reader.
fn loaded(imported: &Imported) -> Loaded {
    let value =
        |name: &str| imported.variables.iter().find(|(other, _)| other == name).map(|(_, value)| (*value).to_owned());
    load(&imported.text, &value).unwrap_or_else(|problems| panic!("{problems}\n{}", imported.text))
}

/// Returns `outcome: path: reason` of each finding that was not carried as it is.
fn findings(imported: &Imported) -> Vec<String> {
    let outcomes = [Outcome::NotCarried, Outcome::Different, Outcome::NotNeeded];
    let findings = outcomes.into_iter().flat_map(|outcome| imported.report.of(outcome));
    findings.map(|finding| format!("{}: {}: {}", finding.outcome.words(), finding.from, finding.reason)).collect()
}

fn has_finding(imported: &Imported, words: &[&str]) -> bool {
    findings(imported).iter().any(|finding| words.iter().all(|word| finding.contains(word)))
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import")
}

/// Compares the import of `name` with the file beside it, which `SPANSIEVE_WRITE_REFERENCE=1` writes.
fn check_golden(name: &str, environment: Option<&str>) {
    let text = std::fs::read_to_string(fixtures().join(format!("{name}.yaml"))).unwrap();
    let imported =
        import(&text, &format!("{name}.yaml"), environment, &|_| Err(io::ErrorKind::NotFound.into())).unwrap();
    loaded(&imported);
    let report = imported.report.render(&format!("{name}.yaml"), Paint::PLAIN);
    for (extension, found) in [("spansieve.yaml", &imported.text), ("report.txt", &report)] {
        let path = fixtures().join(format!("{name}.{extension}"));
        if std::env::var_os("SPANSIEVE_WRITE_REFERENCE").is_some() {
            std::fs::write(&path, found).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap();
        assert_eq!(found, &expected, "{}: SPANSIEVE_WRITE_REFERENCE=1 writes it anew", path.display());
    }
}

#[test]
fn a_gateway_on_google_cloud() {
    check_golden("collector-gateway", None);
}

#[test]
fn pipelines_that_a_connector_joins() {
    check_golden("collector-forward", None);
}

#[test]
fn rules_of_refinery() {
    check_golden("refinery-rules", Some("production"));
}

#[test]
fn rules_with_every_operator_and_every_sampler() {
    check_golden("refinery-complete", Some("rules"));
    let text = std::fs::read_to_string(fixtures().join("refinery-complete.yaml")).unwrap();
    for environment in ["__default__", "dynamic", "ema", "throughput", "windowed", "total"] {
        let imported =
            import(&text, "rules.yaml", Some(environment), &|_| Err(io::ErrorKind::NotFound.into())).unwrap();
        let policies = loaded(&imported).settings.tail_sampling.policies;
        assert_eq!(policies.len(), 1, "{environment}: {}", imported.text);
    }
}

#[test]
fn policies_of_every_type_of_the_collector() {
    check_golden("collector-policies", None);
    let text = std::fs::read_to_string(fixtures().join("collector-policies.yaml")).unwrap();
    let imported = imported(&text).unwrap();
    assert_eq!(loaded(&imported).settings.tail_sampling.policies.len(), 20, "{}", imported.text);
}

#[test]
fn files_of_neither_program_are_refused_with_a_remedy() {
    for (text, expected) in [
        ("", "1:1: the file is empty"),
        ("# only a comment\n", "1:1: the file is empty"),
        ("5\n", "1:1: expected a section"),
        ("- a\n", "1:1: expected a section"),
        ("a: 1\n", "1:1: neither a Collector's configuration nor Refinery's rules (a Collector's configuration has"),
        ("otlp: {}\n", "1:1: this is a configuration of Spansieve already (check it with"),
        ("General: {ConfigurationVersion: 2}\n", "1:1: this is Refinery's own configuration"),
        ("Sampler: DeterministicSampler\n", "1:1: these are rules of Refinery 1"),
        ("RulesVersion: 3\nSamplers: {}\n", "1:1: these are not rules in version 2"),
        ("RulesVersion: 2\n", "1:1: there are no `Samplers`"),
        ("Samplers: []\n", "1:11: expected a section"),
        ("Samplers: {a: {}, b: {}}\n", "1:1: there is no sampler `__default__` (name one with `--environment`: a, b)"),
        ("receivers: 5\n", "1:12: expected a section"),
        ("service: {pipelines: []}\n", "1:22: expected a section"),
        ("receivers: {a: 1, a: 2}\n", "1:19: the key `a` is given twice"),
        ("receivers: [\n", "not valid YAML"),
        ("receivers: \"\0\"\n", "not valid YAML"),
        ("spec: {config: \"receivers: {}\"}\n", "1:8: the configuration is a text within this file"),
    ] {
        let problem = imported(text).unwrap_err().iter().next().unwrap().to_string();
        assert!(problem.contains(expected), "{text}: {problem}");
    }
}

#[test]
fn a_wrapped_configuration_is_found() {
    let text = "kind: OpenTelemetryCollector\nspec:\n  config:\n    receivers: {jaeger: }\n";
    let imported = imported(text).unwrap();
    assert!(has_finding(&imported, &["not carried: receivers.jaeger: Spansieve takes OTLP only"]));
}

#[test]
fn an_example_of_a_processor_needs_no_section_around_it() {
    let text = "tail_sampling: {policies: [{name: a, type: trace_flags}]}\nresource: {attributes: [{key: k, action: delete}]}\n";
    let imported = imported(text).unwrap();
    assert!(imported.text.contains("- {name: a, type: trace_flags} # tail_sampling.policies[0]"), "{}", imported.text);
    assert!(imported.text.contains("- {key: k, action: delete} # resource.attributes[0]"), "{}", imported.text);
}

#[test]
fn files_that_grow_without_bound_are_refused() {
    let aliases: String = (1..20).map(|n| format!("a{n}: &a{n} [*a{}, *a{}, *a{}]\n", n - 1, n - 1, n - 1)).collect();
    let bomb = format!("a0: &a0 x\n{aliases}receivers: {{otlp: *a19}}\n");
    let text = "x".repeat(60_000);
    let long = format!("a: &a {text}\nreceivers: {{otlp: [{}]}}\n", vec!["*a"; 50].join(", "));
    let large = format!("receivers: {{}}\na: {}\n", "x".repeat(10 << 20));
    for (text, expected) in [
        (bomb, "with every alias written out"),
        (long, "with every alias written out"),
        (large, "longer than 1048576 bytes"),
    ] {
        let problem = imported(&text).unwrap_err().to_string();
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn variables_get_values_that_their_settings_take() {
    let text = "receivers: {otlp: {protocols: {grpc: {endpoint: '${A}'}, http: {endpoint: '${HOST}:4318'}}}}\n\
                processors: {tail_sampling: {decision_wait: '${B}', policies: [{name: a, type: latency, latency: {threshold_ms: '${C}'}}]}}\n\
                exporters: {otlp: {endpoint: '${D}', tls: {insecure: true}}}\n";
    let imported = imported(text).unwrap();
    let names: Vec<&str> = imported.variables.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["A", "B", "C", "D", "HOST"], "{}", imported.text);
    assert_eq!(loaded(&imported).settings.tail_sampling.policies.len(), 1);
    assert!(!has_finding(&imported, &["not carried"]), "{:#?}", findings(&imported));
}

#[test]
fn reports_have_no_values_that_stand_for_variables() {
    let text = "processors: {tail_sampling: {policies: [{name: a, type: '${env:KIND}'}, {name: b, type: latency, \
                latency: {threshold_ms: '${env:MS}', acme: 1}}, {name: c, type: trace_flags}]}}\n";
    let imported = imported(text).unwrap();
    assert!(has_finding(&imported, &["not carried", "policies[0]", "`${env:KIND}`"]));
    assert!(
        has_finding(&imported, &["not carried", "policies[1]", "unknown key `acme`"]),
        "{:#?}",
        findings(&imported)
    );
    for finding in findings(&imported) {
        assert!(!finding.contains("name == "), "{finding}");
    }
    assert!(!imported.text.contains("name == "), "{}", imported.text);
}

#[test]
fn many_components_and_many_references_to_one_are_bounded() {
    let actions = vec!["{key: k, action: delete}"; 2_000].join(", ");
    let resource = format!("resource: {{attributes: [{actions}]}}");
    let names = vec!["resource"; 20_000].join(", ");
    let text = format!("processors: {{{resource}}}\nservice: {{pipelines: {{traces: {{processors: [{names}]}}}}}}\n");
    let imported = imported(&text).unwrap();
    assert_eq!(imported.text.matches("- {key: k, action: delete}").count(), 1_000);
    assert_eq!(imported.report.count(Outcome::NotNeeded), 19_999);
    let definitions: String =
        (0..1_200).map(|n| format!("  otlp/{n}: {{protocols: {{grpc: {{endpoint: 'a:{n}'}}}}}}\n")).collect();
    let imported = super::tests::imported(&format!("receivers:\n{definitions}")).unwrap();
    assert!(has_finding(&imported, &["not carried", "receivers.otlp/1000", "at most 1,000 components"]));
    assert!(loaded(&imported).settings.otlp.listen.len() <= 1_000);
}

#[test]
fn many_values_that_are_refused_are_taken_out_together() {
    let policies = vec!["{name: a, type: acme}"; 5_000].join(", ");
    let text = format!("processors: {{tail_sampling: {{policies: [{policies}]}}}}\n");
    let imported = imported(&text).unwrap();
    assert!(has_finding(&imported, &["not carried", "policies[300]", "more policies than Spansieve takes"]));
    let headers: String = (0..4_000).map(|n| format!("'a b{n}': x, ")).collect();
    let text = format!("exporters: {{otlp: {{endpoint: 'a:1', headers: {{{headers}}}}}}}\n");
    let imported = super::tests::imported(&text).unwrap();
    loaded(&imported);
    assert!(imported.report.count(Outcome::NotCarried) > 0);
}

#[test]
fn variables_with_a_default_have_it() {
    let text = "processors: {tail_sampling: {decision_wait: '${env:WAIT:-7s}', policies: [{name: a, type: trace_flags}]}}\n\
                service: {pipelines: {traces: {processors: [tail_sampling], exporters: ['${env:EXPORTER:-nop}']}}}\n";
    let imported = imported(text).unwrap();
    assert_eq!(loaded(&imported).settings.tail_sampling.decision_wait.as_secs(), 7);
    assert!(imported.variables.is_empty(), "{:?}", imported.variables);
    assert!(has_finding(&imported, &["not carried", "exporters[0]", "comes from a variable"]));
}

#[test]
fn the_report_is_json_as_well() {
    let imported = imported("receivers: {zipkin: , otlp: {protocols: {grpc: }}}\n").unwrap();
    let json = imported.report.json();
    assert_eq!(json["not_carried"][0]["from"], "receivers.zipkin");
    assert_eq!(json["not_carried"][0]["column"], 13);
    assert_eq!(json["carried"][0]["to"], "otlp.listen[0]");
}
