//! Tables: configurations with everything that must be said about them, and values with what they become.

mod bad;
mod bad_policies;
mod explain;
mod lints;
mod policies;
mod reference;
mod senders;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::cloud_trace::settings::{AttributeMapping, BaseMapping};
use crate::export::settings::{Endpoint, ExportApi, SpoolSettings};
use crate::journal::settings::JournalSettings;
use crate::resource::settings::{ActionType, AllowedProjects, AttributeAction, Keys, LiteralValue, ValueSource};
use crate::sampling::settings::Rule;
use crate::settings::Size;
use crate::tail::settings::Compress;
use crate::terminal::Paint;

/// The environment of all tests.
fn env(name: &str) -> Option<String> {
    let variables = [
        ("WAIT", "3s"),
        ("PORT", "9000"),
        ("PERCENT", "12.5"),
        ("EMPTY", ""),
        ("YES", "true"),
        ("TRICK", "1s\nmemory: {limit: 1MiB} # [\"]"),
        ("PROJECT_NUMBER", "123456789"),
        ("SECRET", "s3cret"),
    ];
    variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

fn load(text: &str) -> Result<Loaded, ConfigError> {
    super::load(text, &env)
}

/// The settings of a configuration that nothing is wrong with.
fn settings(text: &str) -> Settings {
    let loaded = load(text).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
    assert_eq!(loaded.warnings, [], "{text}");
    loaded.settings
}

/// Everything that is said about `text`, one problem a line, without help.
fn said(text: &str) -> String {
    let problems = load(text).map_or_else(|problems| problems.problems, |loaded| loaded.warnings);
    let line = |p: &Diagnostic| {
        let kind = if p.severity == Severity::Warning { "warning: " } else { "" };
        format!("{}:{}+{} {kind}{}", p.line, p.column, p.length, p.message)
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn nothing_written_is_all_defaults() {
    let sections = "otlp:\ntail_sampling:\nresource:\n  attributes:\nexport:\nmemory:\ntelemetry:\n  log:\n";
    for text in ["", "\n", "# comment\n", "---\n", "~", "{}", "\u{feff}", sections] {
        assert_eq!(settings(text), Settings::default(), "{text:?}");
    }
}

#[test]
fn the_example_is_the_defaults_and_more() {
    let example = settings(include_str!("../../tests/fixtures/example.yaml"));
    let mut expected = Settings::default();
    expected.export.endpoint = Endpoint::Embedded;
    expected.export.project = Some("local-project".into());
    let production = ValueSource::Value(LiteralValue::String("production".into()));
    let team = ValueSource::FromAttribute { key: "team".into(), default: None };
    let actions = [
        ActionType::Upsert { key: "deployment.environment.name".into(), source: production },
        ActionType::Insert { key: "service.team".into(), source: team },
        ActionType::Delete(Keys { key: Some("process.command_args".into()), pattern: None }),
    ];
    expected.resource.attributes = actions.map(|action| AttributeAction { condition: None, action }).into();
    assert_eq!(example, expected);
}

#[test]
fn attribute_mappings() {
    let own = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, name)| ((*key).into(), (*name).into())).collect();
    let tenant = [("tenant.id", "/tenant"), ("http.route", "route")];
    let cases = [
        ("console", AttributeMapping { base: BaseMapping::Console, own: vec![] }),
        ("none", AttributeMapping { base: BaseMapping::None, own: vec![] }),
        ("{}", AttributeMapping::default()),
        ("{base: google}", AttributeMapping::default()),
        (
            "{own: [{key: tenant.id, replacement: /tenant}, {key: http.route, replacement: route}]}",
            AttributeMapping { base: BaseMapping::Google, own: own(&tenant) },
        ),
    ];
    for (text, expected) in cases {
        let text = format!("export: {{attribute_mapping: {text}, cloud_run_revision: true}}\n");
        let export = settings(&text).export;
        assert_eq!(export.attribute_mapping, expected, "{text}");
        assert!(export.cloud_run_revision);
    }
}

#[test]
fn attribute_values_have_their_yaml_type() {
    let string = |text: &str| LiteralValue::String(text.into());
    let cases = [
        ("text", string("text")),
        ("'5'", string("5")),
        ("\"true\"", string("true")),
        ("''", string("")),
        ("yes", string("yes")),
        ("inf", string("inf")),
        ("1.2.3", string("1.2.3")),
        ("a$b", string("a$b")),
        ("5", LiteralValue::Int(5)),
        ("+5", LiteralValue::Int(5)),
        ("-007", LiteralValue::Int(-7)),
        ("0x1F", LiteralValue::Int(31)),
        ("0o17", LiteralValue::Int(15)),
        ("0x-5", string("0x-5")),
        ("100_000", LiteralValue::Int(100_000)),
        ("_1", string("_1")),
        ("1_", string("1_")),
        ("1_000.5", string("1_000.5")),
        ("9223372036854775807", LiteralValue::Int(i64::MAX)),
        ("5.0", LiteralValue::Double(5.0)),
        ("-.5e1", LiteralValue::Double(-5.0)),
        ("True", LiteralValue::Bool(true)),
        ("false", LiteralValue::Bool(false)),
        ("${env:PORT}", LiteralValue::Int(9000)),
        ("'${env:PORT}'", string("9000")),
        ("${env:YES}", LiteralValue::Bool(true)),
        ("v${env:PORT}", string("v9000")),
        ("${env:UNSET:-1.5}", LiteralValue::Double(1.5)),
        ("$${env:PORT}", string("${env:PORT}")),
        (
            "[a, 5, [], ~]",
            LiteralValue::List(vec![
                string("a"),
                LiteralValue::Int(5),
                LiteralValue::List(vec![]),
                LiteralValue::Nothing,
            ]),
        ),
        (
            "{a: true, b: {c: 1.5}}",
            LiteralValue::Map(vec![
                ("a".into(), LiteralValue::Bool(true)),
                ("b".into(), LiteralValue::Map(vec![("c".into(), LiteralValue::Double(1.5))])),
            ]),
        ),
        ("|-\n        two\n        lines", string("two\nlines")),
    ];
    for (written, expected) in cases {
        let text = format!("resource:\n  attributes:\n    - key: k\n      action: upsert\n      value: {written}\n");
        let expected = ActionType::Upsert { key: "k".into(), source: ValueSource::Value(expected) };
        assert_eq!(settings(&text).resource.attributes[0].action, expected, "{written}");
    }
}

#[test]
fn durations() {
    let cases = [
        ("500ms", 500_000_000),
        ("10s", 10_000_000_000),
        ("1m30s", 90_000_000_000),
        ("1.5s", 1_500_000_000),
        ("5 s", 5_000_000_000),
        ("1m 30s", 90_000_000_000),
        ("'2m'", 120_000_000_000),
        ("2500us", 2_500_000),
        ("2500µs", 2_500_000),
        ("3000000ns", 3_000_000),
        ("${env:WAIT}", 3_000_000_000),
        ("\"${env:UNSET:-7s}\"", 7_000_000_000),
    ];
    for (written, nanoseconds) in cases {
        let text = format!("tail_sampling:\n  decision_wait: {written}\n");
        assert_eq!(settings(&text).tail_sampling.decision_wait, Duration::from_nanos(nanoseconds), "{written}");
    }
    for zero in ["0", "0s", "0ms"] {
        let text = format!("tail_sampling: {{rescue: {{window: {zero}}}, decision_wait_after_root_received: {zero}}}");
        assert_eq!(settings(&text).tail_sampling.rescue.window, Duration::ZERO, "{zero}");
    }
}

#[test]
fn requests_are_held_compressed_if_that_is_asked_for() {
    for (written, compress) in [("", Compress::Off), ("compress: off", Compress::Off), ("compress: lz4", Compress::Lz4)]
    {
        assert_eq!(settings(&format!("memory: {{{written}}}\n")).memory.compress, compress, "{written}");
    }
}

#[test]
fn the_size_of_a_trace() {
    let cases = [
        ("", 100_000, Size::Percent(10.0)),
        ("spans_max: 5_000, bytes_max: 32MiB", 5_000, Size::Bytes(32 << 20)),
        ("bytes_max: 2.5%", 100_000, Size::Percent(2.5)),
        ("maximum_trace_size_bytes: 1000000", 100_000, Size::Bytes(1_000_000)),
        ("maximum_trace_size_bytes: 10", 100_000, Size::Bytes(1_024)),
        ("maximum_trace_size_bytes: 0", 100_000, Size::Percent(10.0)),
        ("bytes_max: 5%, maximum_trace_size_bytes: 1000000", 100_000, Size::Percent(5.0)),
    ];
    for (written, spans_max, bytes_max) in cases {
        // The Collector's name is accepted with a warning.
        let sampling = load(&format!("tail_sampling: {{{written}}}\n")).unwrap().settings.tail_sampling;
        assert_eq!((sampling.spans_max, sampling.bytes_max), (spans_max, bytes_max), "{written}");
    }
}

#[test]
fn sizes() {
    let cases = [
        ("1073741824", Size::Bytes(1 << 30)),
        ("1073741824B", Size::Bytes(1 << 30)),
        ("64MB", Size::Bytes(64_000_000)),
        ("99999KB", Size::Bytes(99_999_000)),
        ("20480KiB", Size::Bytes(20 << 20)),
        ("512MiB", Size::Bytes(512 << 20)),
        ("1.5GiB", Size::Bytes(3 << 29)),
        ("2 GB", Size::Bytes(2_000_000_000)),
        ("70%", Size::Percent(70.0)),
        ("12.5 %", Size::Percent(12.5)),
        ("${env:PORT}MiB", Size::Bytes(9000 << 20)),
    ];
    for (written, expected) in cases {
        assert_eq!(settings(&format!("memory:\n  limit: {written}\n")).memory.limit, expected, "{written}");
    }
}

#[test]
fn environment() {
    let text = "
otlp:
  listen: [\"0.0.0.0:${env:PORT:-8080}\", '${env:HOST:-[::1]}:${env:UNSET:-4318}']
tail_sampling:
  annotate: ${env:YES}
  policies: [{name: n, type: probabilistic, probabilistic: {sampling_percentage: \"${env:PERCENT}\"}}]
export:
  project: ${env:PROJECT_NUMBER}
";
    let settings = settings(text);
    assert_eq!(settings.otlp.listen, ["0.0.0.0:9000", "[::1]:4318"]);
    assert_eq!(settings.tail_sampling.policies[0].rule, Rule::Probabilistic { sampling_percentage: 12.5 });
    assert_eq!(settings.export.project.as_deref(), Some("123456789"));
}

#[test]
fn cors_is_off_without_origins() {
    let text = "otlp: {cors: {allowed_origins: ['https://a', 'http://*.b:8080', '*'], allowed_headers: [X-Tenant], max_age: 600}}";
    let cors = settings(text).otlp.cors.unwrap();
    assert_eq!(cors.allowed_origins, ["https://a", "http://*.b:8080", "*"]);
    assert_eq!((cors.allowed_headers, cors.max_age_s), (vec!["X-Tenant".to_owned()], Some(600)));
    for off in ["", "cors:", "cors: {}", "cors: {allowed_origins: []}"] {
        assert_eq!(settings(&format!("otlp: {{{off}}}")).otlp.cors, None, "{off}");
    }
}

#[test]
fn an_empty_project_is_the_ambient_one() {
    for empty in ["${env:EMPTY}", "${env:UNSET:-}", ""] {
        assert_eq!(settings(&format!("export:\n  project: {empty}\n")).export.project, None, "{empty}");
    }
    let embedded = settings("export: {endpoint: embedded}").export;
    assert_eq!(embedded.project.as_deref(), Some("local-project"));
    let embedded = settings("export: {embedded: {allowed_hosts: [traces.internal, dev]}}").export.embedded;
    assert_eq!(embedded.allowed_hosts, ["traces.internal", "dev"]);
}

#[test]
fn a_spool_is_off_without_a_directory() {
    for off in ["", "spool:", "spool: {directory: }", "spool:\n    directory: ${env:EMPTY}\n    max_bytes: 1GiB"] {
        let text = format!("export:\n  project: p\n  {off}\n");
        let spool = settings(&text).export.spool;
        assert_eq!(spool, None, "{off}");
    }
    let spool = |text: &str| settings(&format!("export:\n  spool: {text}\n")).export.spool.unwrap();
    let expected = |max_bytes| SpoolSettings { directory: "/var/lib/spansieve".into(), max_bytes };
    assert_eq!(spool("{directory: /var/lib/spansieve}"), expected(4 << 30));
    assert_eq!(spool("{directory: /var/lib/spansieve, max_bytes: 64MiB}"), expected(64 << 20));
}

#[test]
fn a_journal_is_off_without_a_directory() {
    for off in ["", "journal:", "journal: {directory: }", "journal:\n  directory: ${env:EMPTY}\n  max_bytes: 1GiB"] {
        assert_eq!(settings(off).journal, None, "{off}");
    }
    let journal = |text: &str| settings(&format!("journal: {text}\n")).journal.unwrap();
    let expected = |max_bytes| JournalSettings { directory: "/var/lib/spansieve".into(), max_bytes };
    assert_eq!(journal("{directory: /var/lib/spansieve}"), expected(4 << 30));
    assert_eq!(journal("{directory: /var/lib/spansieve, max_bytes: 64MiB}"), expected(64 << 20));
}

#[test]
fn giving_up_is_off_unless_a_time_is_set() {
    for (text, expected) in [("{}", false), ("{destination_project_quota: true}", true)] {
        let settings = load(&format!("export: {text}\n")).unwrap().settings;
        assert_eq!(settings.export.destination_project_quota, expected, "{text}");
    }
    for (text, expected) in [("{}", 0), ("{give_up_after: 0s}", 0), ("{give_up_after: 1h30m}", 5400)] {
        let settings = settings(&format!("export: {text}\n"));
        assert_eq!(settings.export.give_up_after, Duration::from_secs(expected), "{text}");
    }
}

#[test]
fn the_api_says_where_spans_go_and_who_signs() {
    let cases = [
        ("api: cloud_trace", ExportApi::CloudTrace, "https://cloudtrace.googleapis.com", true),
        ("api: telemetry", ExportApi::Telemetry, "https://telemetry.googleapis.com", true),
        ("endpoint: 'https://private.example', api: telemetry", ExportApi::Telemetry, "https://private.example", true),
        ("api: otlp, endpoint: 'https://otlp.example:4317'", ExportApi::Otlp, "https://otlp.example:4317", false),
        (
            "api: otlp, endpoint: 'https://telemetry.googleapis.com'",
            ExportApi::Otlp,
            "https://telemetry.googleapis.com",
            true,
        ),
        (
            "api: otlp, endpoint: 'https://Eu.GoogleAPIs.com:443'",
            ExportApi::Otlp,
            "https://Eu.GoogleAPIs.com:443",
            true,
        ),
        (
            "api: otlp, endpoint: 'https://googleapis.com.example'",
            ExportApi::Otlp,
            "https://googleapis.com.example",
            false,
        ),
        ("api: otlp, endpoint: 'https://notgoogleapis.com'", ExportApi::Otlp, "https://notgoogleapis.com", false),
    ];
    for (written, api, uri, signs_calls) in cases {
        let export = settings(&format!("export: {{{written}}}\n")).export;
        assert_eq!((export.api, &export.endpoint), (api, &Endpoint::Tls(uri.into())), "{written}");
        assert_eq!(export.signs_calls(), signs_calls, "{written}");
    }
    for api in ["cloud_trace", "telemetry", "otlp"] {
        let plaintext = settings(&format!("export: {{api: {api}, endpoint: 'http://jaeger:4317'}}\n")).export;
        assert_eq!(plaintext.endpoint, Endpoint::Plaintext("http://jaeger:4317".into()));
        assert!(!plaintext.signs_calls(), "{api}");
    }
}

#[test]
fn headers_are_read_and_never_shown() {
    let text = "export:\n  headers:\n    X-Scope-OrgID: staging\n    authorization: Basic ${env:PORT}\n    x-n: 5\n";
    let settings = settings(text);
    let headers = &settings.export.headers;
    let found = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect::<BTreeSet<_>>();
    assert_eq!(found, BTreeSet::from([("x-scope-orgid", "staging"), ("authorization", "Basic 9000"), ("x-n", "5")]));
    let shown = format!("{settings:?}");
    assert!(!shown.contains("staging") && !shown.contains("Basic") && shown.contains("x-scope-orgid"), "{shown}");
    assert_eq!(super::tests::settings("export: {headers: }").export.headers.len(), 0);
    let said = load("export: {headers: {a: \"se\\ncret\"}}\n").unwrap_err().problems[0].to_string();
    assert!(!said.contains("cret"), "{said}");
}

#[test]
fn projects_are_allowed_one_by_one_or_all() {
    let listed = |names: &[&str]| AllowedProjects::Listed(names.iter().map(|&name| name.into()).collect());
    for (written, expected) in [
        ("[]", listed(&[])),
        ("[a-1, 'example.com:b', 123]", listed(&["a-1", "example.com:b", "123"])),
        ("['*']", AllowedProjects::Any),
        ("[a-1, '*']", AllowedProjects::Any),
    ] {
        let text = format!("export: {{allowed_projects: {written}}}\n");
        assert_eq!(settings(&text).export.allowed_projects, expected, "{written}");
    }
}

#[test]
fn a_file_of_certificates_is_read_with_the_configuration() {
    let pem = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    let no_certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let files = |path: &Path| match path.to_str() {
        Some("/good.pem") => Ok(pem.clone().into_bytes()),
        Some("/two.pem") => Ok(format!("# two\n{pem}{pem}").into_bytes()),
        Some("/key.pem") => Ok(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_vec()),
        Some("/bad.pem") => Ok([pem.as_bytes(), no_certificate].concat()),
        Some("/bytes.pem") => Ok(vec![0xff]),
        Some("/large.pem") => Ok(vec![b'#'; (1 << 20) + 1]),
        Some("/empty.pem") => Ok(Vec::new()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let load = |path: &str| {
        let text = format!("export:\n  tls:\n    ca_file: {path}\n");
        super::load_with_files(&text, &env, &files)
    };
    for (path, expected) in [("/good.pem", 1), ("/two.pem", 2), ("", 0), ("${env:UNSET:-}", 0)] {
        let ca_pem = load(path).unwrap().settings.export.tls.ca_pem;
        assert_eq!(ca_pem.map_or(0, |pem| pem.matches("BEGIN CERTIFICATE").count()), expected, "{path:?}");
    }
    for (path, expected) in [
        ("/missing.pem", "3:14: cannot read `/missing.pem`: entity not found"),
        ("/key.pem", "3:14: `/key.pem`: there is no certificate in it: in PEM, each begins with `-----BEGIN CERT"),
        ("/empty.pem", "3:14: `/empty.pem`: there is no certificate in it"),
        ("/bytes.pem", "3:14: `/bytes.pem`: there is no certificate in it"),
        ("/bad.pem", "3:14: `/bad.pem`: certificate 2 cannot be used: invalid peer certificate: BadEncoding"),
        ("/large.pem", "3:14: `/large.pem` has more than 1048576 bytes"),
        ("[a]", "3:14: expected the path of a PEM file, found a list"),
    ] {
        let problems = load(path).unwrap_err().to_string();
        assert!(problems.starts_with(expected), "{path}: {problems}");
    }
    let text = "export:\n  endpoint: http://localhost:1\n  tls: {ca_file: /good.pem}\n";
    let warnings = super::load_with_files(text, &env, &files).unwrap().warnings;
    assert_eq!(
        warnings[0].to_string().split(" (").next(),
        Some("3:9: `ca_file` has no effect: the endpoint has no TLS")
    );
}

#[test]
fn old_names_of_the_export_section_give_the_same_settings_with_warnings() {
    let section = |name: &str, api: &str| {
        format!("&root {{{name}: {{api: {api}, project: p, spool: {{directory: /s}}, batch: {{max_spans: 7}}}}}}\n")
    };
    let now = settings(&section("export", "cloud_trace"));
    assert_eq!((now.export.api, now.export.batch.max_spans), (ExportApi::CloudTrace, 7));
    for (name, api, expected) in [
        ("cloud_trace", "cloud_trace", &[(8, "write `export:`")][..]),
        ("export", "v2", &[(22, "write `api: cloud_trace`")]),
        ("cloud_trace", "'v2'", &[(8, "write `export:`"), (27, "write `api: cloud_trace`")]),
    ] {
        let Loaded { settings, warnings, .. } = load(&section(name, api)).unwrap();
        assert_eq!(settings, now, "{name} {api}");
        assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
        for (warning, (column, help)) in warnings.iter().zip(expected) {
            assert_eq!(warning.column, *column, "{warning}");
            assert!(warning.to_string().contains(help), "{warning}");
        }
    }
}

#[test]
fn the_benchmark_rig_is_understood() {
    let Loaded { settings, warnings, .. } = load(include_str!("../../tests/fixtures/rig.yaml")).unwrap();
    assert_eq!(warnings.iter().map(|warning| warning.line).collect::<Vec<_>>(), [16], "the old name of `export`");
    assert_eq!(settings.otlp.listen, ["127.0.0.1:4317", "127.0.0.1:4318"]);
    assert_eq!(settings.export.endpoint, Endpoint::Plaintext("http://127.0.0.1:9443".into()));
    assert_eq!(settings.memory.limit, Size::Bytes(16_000 << 20));
}

#[test]
fn a_block_of_the_collector_can_be_pasted() {
    let text = "
tail_sampling:
  decision_wait: 30s
  num_traces: ${env:NUM_TRACES:-50000}
  decision_cache:
    sampled_cache_size: 100_000
  sample_on_first_match: true
  policies:
    - name: errors
      type: status_code
      status_code: {status_codes: [ERROR]}
    - name: slow
      type: latency
      latency: { threshold_ms: 5000, upper_threshold_ms: 10000 }
    - name: rest
      type: probabilistic
      probabilistic: { hash_salt: salt, sampling_percentage: 0.1 }
";
    let Loaded { settings, warnings, .. } = load(text).unwrap();
    assert_eq!(settings.tail_sampling.policies[2].rule, Rule::Probabilistic { sampling_percentage: 0.1 });
    assert!(settings.tail_sampling.sample_on_first_match);
    assert_eq!(settings.tail_sampling.decision_cache.sampled_cache_size, 100_000);
    assert_eq!(warnings.iter().map(|warning| warning.line).collect::<Vec<_>>(), [4, 17, 17]);
}

#[test]
fn no_text_exhausts_memory_or_stack() {
    // Ten times the line before, on each line; and a list around the line before, on each line.
    let tenfold = |i: usize| format!("a{i}: &a{i} [{}]\n", [format!("*a{}", i - 1).as_str(); 10].join(", "));
    let around = |i: usize| format!("a{i}: &a{i} [*a{}]\n", i - 1);
    let first = "a0: &a0 [x]\n";
    let cases = [
        (
            first.to_owned() + &(1..9).map(tenfold).collect::<String>(),
            "6:25+3 more than 100000 values, with every alias written out",
        ),
        (
            first.to_owned() + &(1..10_000).map(around).collect::<String>(),
            "446:14+5 more than 100000 values, with every alias written out",
        ),
        ("[".repeat(100_000), "1:33+1 not valid YAML: recursion limit exceeded"),
        ("- ".repeat(100_000), "1:65+1 not valid YAML: recursion limit exceeded"),
        ("#".repeat(2 << 20), "1:1+1 longer than 1048576 bytes"),
    ];
    for (text, expected) in cases {
        assert_eq!(said(&text).lines().last(), Some(expected));
    }
    let env = |_: &str| Some("x".repeat(300_000));
    let problems = super::load("a: ${env:X}\nb: ${env:X}\nc: ${env:X}\nd: ${env:X}\n", &env).unwrap_err();
    assert!(problems.to_string().contains("4:4: the environment makes this longer than 148576 bytes"), "{problems}");
    let tail = "x".repeat(1 << 19);
    let problems = super::load(&format!("a: ${{env:X}}${{env:X}}{tail}\nb: ${{env:X}}\n"), &env).unwrap_err();
    assert!(problems.to_string().contains("1:4: the environment makes this longer than 1048576 bytes"), "{problems}");
}

#[test]
fn only_the_first_problems_are_shown() {
    let text: String = (0..150).map(|i| format!("key{i}: 1\n")).collect();
    let problems = load(&text).unwrap_err();
    assert_eq!(problems.iter().count(), 101);
    assert_eq!(problems.iter().last().unwrap().message, "50 more problems are not shown");
}

#[test]
fn aliases_stand_for_their_values() {
    let text = "
tail_sampling:
  decision_cache: {sampled_cache_size: &size 5000, non_sampled_cache_size: *size}
";
    assert_eq!(settings(text).tail_sampling.decision_cache.non_sampled_cache_size, 5000);
}

#[test]
fn every_known_key_is_read() {
    // A list in a list is wrong in every place: the reader of each key refuses it.
    for path in &keys::paths(&keys::declared()) {
        // An attribute's value may be any but none.
        let wrong = if path.ends_with("[].value") || path.ends_with("default_value") { "~" } else { "[[]]" };
        let mut text = wrong.to_owned();
        for part in path.rsplit('.') {
            let (name, open, close) = part.strip_suffix("[]").map_or((part, "", ""), |name| (name, "[", "]"));
            text = format!("{{{name}: {open}{text}{close}}}");
        }
        // Sections and values are read for the type and the action that have them.
        let sibling = match path.split('.').collect::<Vec<_>>()[..] {
            [_, "policies[]", section, ..] if section != "type" => format!("[{{type: {section}, "),
            [_, "attributes[]", "pattern"] => "[{action: delete, ".to_owned(),
            [_, "attributes[]", "converted_type"] => "[{action: convert, ".to_owned(),
            [_, "attributes[]", _] => "[{action: upsert, ".to_owned(),
            _ => "[{".to_owned(),
        };
        let text = text.replacen("[{", &sibling, 1);
        let key_column = text.find(wrong).unwrap() - path.rsplit('.').next().unwrap().len() - 1;
        let problems = load(&text).map_or_else(|problems| problems.problems, |loaded| loaded.warnings);
        let is_about_it = |p: &Diagnostic| p.column >= key_column && !p.message.contains("unknown key");
        assert!(problems.iter().any(is_about_it), "{path} is not read: {text}\n{problems:#?}");
    }
}

#[test]
fn rendered_as_rustc_does() {
    let text = "otlp:\n  listn: [\"0.0.0.0:4317\"]\ntail_sampling:\n  num_traces: 5\n";
    let expected = "\
error: unknown key `listn`
 --> my.yaml:2:3
  |
2 |   listn: [\"0.0.0.0:4317\"]
  |   ^^^^^
  = help: did you mean `listen`?

warning: `num_traces` has no effect
 --> my.yaml:4:3
  |
4 |   num_traces: 5
  |   ^^^^^^^^^^
  = help: `memory.limit` bounds the traces in memory, in bytes: remove it

";
    let problems = load(text).unwrap_err();
    assert_eq!(problems.render("my.yaml", Paint::PLAIN), expected);
    assert_eq!(problems.render("my.yaml", Paint::new(true)).replace("\x1b[0m", "").split("\x1b[").count(), 21);
    assert_eq!(
        problems.to_string(),
        "2:3: unknown key `listn` (did you mean `listen`?)\n\
         4:3: `num_traces` has no effect (`memory.limit` bounds the traces in memory, in bytes: remove it)"
    );
}

#[test]
fn terminal_escapes_are_not_passed_on() {
    let problems = load("otlp:\n  \"\\e[31m\": 1\nmemory: \x1b[2J\n").unwrap_err();
    assert!(!problems.render("f", Paint::PLAIN).contains('\x1b'));
    assert!(!problems.to_string().contains('\x1b'));
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC*") {
        let _ = load(&text);
    }

    #[test]
    fn shuffled_pieces_never_panic(pieces in proptest::collection::vec(piece(), 0..60)) {
        if let Err(problems) = load(&pieces.concat()) {
            prop_assert!(problems.iter().count() > 0);
            prop_assert!(problems.iter().all(|p| p.line >= 1 && p.column >= 1 && p.length >= 1));
            prop_assert!(!problems.render("f", Paint::new(true)).is_empty());
        }
    }
}

/// Returns pieces of configurations.
fn piece() -> impl Strategy<Value = String> {
    let key = proptest::sample::select(keys::paths(&keys::declared())).prop_map(|path| {
        let (_, name) = path.rsplit_once('.').unwrap_or(("", &path));
        format!("{name}: ")
    });
    let glue = [
        "\n", "\n  ", "\n    - ", "{", "}", "[", "]", ", ", "&a ", "*a", "\"", "'", "$", "${env:", "}", "|", "!", "\t",
        "#", "%", "---\n",
    ];
    let value = ["latency", "5", "5%", "10s", "4MiB", "-1", "1e99", "true", "~", "error", "upsert", "embedded", "é"];
    let constant = proptest::sample::select([glue.as_slice(), value.as_slice()].concat()).prop_map(str::to_owned);
    prop_oneof![key, constant]
}

/// The rows of `docs/configuration.md`: key and default, as they are written.
fn documented() -> impl Iterator<Item = (&'static str, &'static str)> {
    let rows = include_str!("../../docs/configuration.md").lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        (cells[1].trim_matches('`'), cells[3])
    })
}

#[test]
fn every_key_is_documented_and_no_other() {
    let documented: BTreeSet<_> = documented().map(|(key, _)| key.to_owned()).collect();
    assert_eq!(documented, keys::paths(&keys::declared()).into_iter().collect());
}

#[test]
fn documented_defaults_change_nothing() {
    let mut count = 0;
    let section = |key: &'static str| key.rsplit_once('.').map_or("", |(section, _)| section);
    // A key alone is wrong in a section that requires another one.
    let incomplete: BTreeSet<_> =
        documented().filter(|(_, default)| *default == "required").map(|(key, _)| section(key)).collect();
    let of_top = documented().filter(|(key, _)| !key.contains("[]") && !incomplete.contains(section(key)));
    for (key, default) in of_top.filter(|(_, default)| default.starts_with('`')) {
        let default = default.trim_matches('`').to_owned();
        let within = |value: &str, path: &str| {
            path.rsplit('.').fold(value.to_owned(), |text, name| format!("{{{name}: {text}}}"))
        };
        // A section that is off without its keys is on with any of them.
        let (text, empty) = (within(&default, key), within("{}", section(key)));
        let without = if section(key).is_empty() { Settings::default() } else { settings(&empty) };
        assert_eq!(settings(&text), without, "{text}");
        let is_off_without = key.starts_with("span_metrics.");
        assert_eq!(without == Settings::default(), !is_off_without, "{empty}");
        count += 1;
    }
    assert_ne!(count, 0);
}
