//! Tables: configurations with everything that must be said about them, and values with what they become.

mod bad;
mod bad_policies;
mod policies;

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::settings::{Action, AttributeAction, AttributeValue, Endpoint, Rule, Size, ValueSource};
use super::*;

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
    ];
    variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

fn load(text: &str) -> Result<Loaded, Problems> {
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
    let line = |p: &Problem| {
        let kind = if p.severity == Severity::Warning { "warning: " } else { "" };
        format!("{}:{}+{} {kind}{}", p.line, p.column, p.length, p.message)
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn nothing_written_is_all_defaults() {
    let sections = "otlp:\ntail_sampling:\nresource:\n  attributes:\ncloud_trace:\nmemory:\ntelemetry:\n  log:\n";
    for text in ["", "\n", "# comment\n", "---\n", "~", "{}", "\u{feff}", sections] {
        assert_eq!(settings(text), Settings::default(), "{text:?}");
    }
}

#[test]
fn the_example_is_the_defaults_and_more() {
    let example = settings(include_str!("../../tests/fixtures/example.yaml"));
    let mut expected = Settings::default();
    expected.cloud_trace.endpoint = Endpoint::Embedded;
    expected.cloud_trace.project = Some("local-project".into());
    let action = |key: &str, action| AttributeAction { key: key.into(), action };
    let production = ValueSource::Value(AttributeValue::String("production".into()));
    expected.resource.attributes = vec![
        action("deployment.environment.name", Action::Upsert(production)),
        action("service.team", Action::Insert(ValueSource::FromAttribute("team".into()))),
        action("process.command_args", Action::Delete),
    ];
    assert_eq!(example, expected);
}

#[test]
fn attribute_values_have_their_yaml_type() {
    let string = |text: &str| AttributeValue::String(text.into());
    let cases = [
        ("text", string("text")),
        ("'5'", string("5")),
        ("\"true\"", string("true")),
        ("''", string("")),
        ("yes", string("yes")),
        ("inf", string("inf")),
        ("1.2.3", string("1.2.3")),
        ("a$b", string("a$b")),
        ("5", AttributeValue::Int(5)),
        ("+5", AttributeValue::Int(5)),
        ("-007", AttributeValue::Int(-7)),
        ("0x1F", AttributeValue::Int(31)),
        ("0o17", AttributeValue::Int(15)),
        ("0x-5", string("0x-5")),
        ("100_000", AttributeValue::Int(100_000)),
        ("_1", string("_1")),
        ("1_", string("1_")),
        ("1_000.5", string("1_000.5")),
        ("9223372036854775807", AttributeValue::Int(i64::MAX)),
        ("5.0", AttributeValue::Double(5.0)),
        ("-.5e1", AttributeValue::Double(-5.0)),
        ("True", AttributeValue::Bool(true)),
        ("false", AttributeValue::Bool(false)),
        ("${env:PORT}", AttributeValue::Int(9000)),
        ("'${env:PORT}'", string("9000")),
        ("${env:YES}", AttributeValue::Bool(true)),
        ("v${env:PORT}", string("v9000")),
        ("${env:UNSET:-1.5}", AttributeValue::Double(1.5)),
        ("$${env:PORT}", string("${env:PORT}")),
        ("|-\n        two\n        lines", string("two\nlines")),
    ];
    for (written, expected) in cases {
        let text = format!("resource:\n  attributes:\n    - key: k\n      action: upsert\n      value: {written}\n");
        let expected = Action::Upsert(ValueSource::Value(expected));
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
cloud_trace:
  project: ${env:PROJECT_NUMBER}
";
    let settings = settings(text);
    assert_eq!(settings.otlp.listen, ["0.0.0.0:9000", "[::1]:4318"]);
    assert_eq!(settings.tail_sampling.policies[0].rule, Rule::Probabilistic { sampling_percentage: 12.5 });
    assert_eq!(settings.cloud_trace.project.as_deref(), Some("123456789"));
}

#[test]
fn an_empty_project_is_the_ambient_one() {
    for empty in ["${env:EMPTY}", "${env:UNSET:-}", ""] {
        assert_eq!(settings(&format!("cloud_trace:\n  project: {empty}\n")).cloud_trace.project, None, "{empty}");
    }
    let embedded = settings("cloud_trace: {endpoint: embedded}").cloud_trace;
    assert_eq!(embedded.project.as_deref(), Some("local-project"));
}

#[test]
fn the_benchmark_rig_is_understood() {
    let settings = settings(include_str!("../../tests/fixtures/rig.yaml"));
    assert_eq!(settings.otlp.listen, ["127.0.0.1:4317", "127.0.0.1:4318"]);
    assert_eq!(settings.cloud_trace.endpoint, Endpoint::Plaintext("http://127.0.0.1:9443".into()));
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
    let Loaded { settings, warnings } = load(text).unwrap();
    assert_eq!(settings.tail_sampling.policies[2].rule, Rule::Probabilistic { sampling_percentage: 0.1 });
    assert!(settings.tail_sampling.sample_on_first_match);
    assert_eq!(settings.tail_sampling.decision_cache.sampled_cache_size, 100_000);
    assert_eq!(warnings.iter().map(|warning| warning.line).collect::<Vec<_>>(), [4, 17]);
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
    // A list in a list is right nowhere: whoever reads the key objects to it.
    for path in keys::KEYS {
        let mut text = "[[]]".to_owned();
        for part in path.rsplit('.') {
            let (name, open, close) = part.strip_suffix("[]").map_or((part, "", ""), |name| (name, "[", "]"));
            text = format!("{{{name}: {open}{text}{close}}}");
        }
        // Sections and values are read for the type and the action that have them.
        let sibling = match path.split('.').collect::<Vec<_>>()[..] {
            [_, "policies[]", section, ..] if section != "type" => format!("[{{type: {section}, "),
            [_, "attributes[]", "value" | "from_attribute"] => "[{action: upsert, ".to_owned(),
            _ => "[{".to_owned(),
        };
        let text = text.replacen("[{", &sibling, 1);
        let key_column = text.find("[[]]").unwrap() - path.rsplit('.').next().unwrap().len() - 1;
        let problems = load(&text).map_or_else(|problems| problems.problems, |loaded| loaded.warnings);
        let is_about_it = |p: &Problem| p.column >= key_column && !p.message.contains("unknown key");
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
    assert_eq!(problems.render("my.yaml", false), expected);
    assert_eq!(problems.render("my.yaml", true).replace("\x1b[0m", "").split("\x1b[").count(), 21);
    assert_eq!(
        problems.to_string(),
        "2:3: unknown key `listn` (did you mean `listen`?)\n\
         4:3: `num_traces` has no effect (`memory.limit` bounds the traces in memory, in bytes: remove it)"
    );
}

#[test]
fn terminal_escapes_are_not_passed_on() {
    let problems = load("otlp:\n  \"\\e[31m\": 1\nmemory: \x1b[2J\n").unwrap_err();
    assert!(!problems.render("f", false).contains('\x1b'));
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
            prop_assert!(!problems.render("f", true).is_empty());
        }
    }
}

/// What configurations are made of.
fn piece() -> impl Strategy<Value = String> {
    let key = proptest::sample::select(keys::KEYS).prop_map(|path| {
        let (_, name) = path.rsplit_once('.').unwrap_or(("", path));
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
    let documented: BTreeSet<_> = documented().map(|(key, _)| key).collect();
    assert_eq!(documented, keys::KEYS.iter().copied().collect());
}

#[test]
fn documented_defaults_change_nothing() {
    let mut count = 0;
    for (key, default) in documented().filter(|(key, default)| !key.contains("[]") && default.starts_with('`')) {
        let default = default.trim_matches('`').to_owned();
        let text = key.rsplit('.').fold(default, |text, name| format!("{{{name}: {text}}}"));
        assert_eq!(settings(&text), Settings::default(), "{text}");
        count += 1;
    }
    assert_ne!(count, 0);
}
