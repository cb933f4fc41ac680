//! `spansieve test` and `spansieve explain`: the transcripts in `docs/policy-tests.md`, the tests of the configurations in
//! the repository, exit codes, and bad input.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// Set to write the transcripts instead of comparing them.
pub(crate) const WRITE: &str = "SPANSIEVE_WRITE_TRANSCRIPTS";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn spansieve(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spansieve"));
    command.args(arguments).current_dir(directory).stdin(Stdio::null()).env_remove("SPANSIEVE_CONFIG");
    command.output().unwrap()
}

fn texts(output: &Output) -> (String, String) {
    (String::from_utf8(output.stdout.clone()).unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

/// Runs a command in a directory of its own with these files. Returns the exit code, standard output and standard error.
fn run(files: &[(&str, &str)], arguments: &[&str]) -> (i32, String, String) {
    let directory = TempDir::new().unwrap();
    files.iter().for_each(|(name, text)| fs::write(directory.path().join(name), text).unwrap());
    let output = spansieve(directory.path(), arguments);
    let (out, err) = texts(&output);
    (output.status.code().unwrap(), out, err)
}

/// Returns `document` with the transcripts as the program prints them now, and their number. Files that the document shows
/// are written to `directory`, in which its commands run.
pub(crate) fn with_transcripts(directory: &Path, document: &str) -> (String, usize) {
    let (mut out, mut count) = (String::new(), 0);
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        out += &format!("{line}\n");
        if let Some(name) = line.strip_prefix("<!-- file: ").and_then(|rest| rest.strip_suffix(" -->")) {
            let fence = lines.next().unwrap();
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            fs::write(directory.join(name), text.join("\n") + "\n").unwrap();
            out += &format!("{fence}\n{}\n```\n", text.join("\n"));
        } else if line == "<!-- transcript -->" {
            let fence = lines.next().unwrap();
            let command = lines.next().unwrap();
            let _old = lines.by_ref().take_while(|line| *line != "```").count();
            let arguments: Vec<&str> = command.strip_prefix("$ spansieve ").unwrap().split_whitespace().collect();
            let (stdout, stderr) = texts(&spansieve(directory, &arguments));
            out += &format!("{fence}\n{command}\n{stdout}{stderr}```\n");
            count += 1;
        }
    }
    (out, count)
}

#[test]
fn the_transcripts_are_what_the_program_prints() {
    let path = root().join("docs/policy-tests.md");
    let document = fs::read_to_string(&path).unwrap();
    let directory = TempDir::new().unwrap();
    let (expected, count) = with_transcripts(directory.path(), &document);
    assert!(count >= 5, "only {count} transcripts were found");
    if std::env::var_os(WRITE).is_some() {
        fs::write(path, expected).unwrap();
    } else {
        assert_eq!(document, expected, "run the test with {WRITE}=1");
    }
}

#[test]
fn the_tests_of_the_configurations_in_the_repository_pass_and_cover_their_policies() {
    for directory in [root(), root().join("deploy/cloud-run")] {
        let output = spansieve(&directory, &["test", "--config", "config.yaml", "--coverage"]);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(0), "{}: {out}{err}", directory.display());
        assert!(out.contains("3 of 3 policies"), "{}: {out}", directory.display());
    }
}

#[test]
fn the_built_in_configuration_has_tests_that_pass() {
    let (code, out, err) = run(&[], &["test"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.ends_with("9 passed, 0 failed\n"), "{out}");
}

const TEST: &str =
    "tests:\n  - {name: a <b> & \"c\", trace: 'api  GET  20ms', expect: {verdict: kept, policy: errors}}\n";
const PASSES: &str = "tests:\n  - {name: passes, trace: 'api  GET  20ms  error', expect: {verdict: kept}}\n";

#[test]
fn exit_codes_tell_a_failure_from_a_mistake() {
    let test = |files: &[(&str, &str)]| run(files, &["test"]).0;
    assert_eq!(test(&[("config.yaml", PASSES)]), 0);
    assert_eq!(test(&[("config.yaml", ""), ("a.test.yaml", PASSES), ("b.test.yaml", PASSES)]), 0);
    assert_eq!(test(&[("config.yaml", PASSES), ("a.test.yaml", TEST)]), 1);
    assert_eq!(test(&[("config.yaml", "")]), 78, "no tests");
    assert_eq!(test(&[("config.yaml", "tests: [{}]")]), 78);
    assert_eq!(test(&[("config.yaml", PASSES), ("a.test.yaml", "tests: 5")]), 78);
    assert_eq!(run(&[("c.yaml", ""), ("t.yaml", PASSES)], &["test", "--config", "c.yaml", "t.yaml"]).0, 0);
    assert_eq!(run(&[], &["test", "none.yaml"]).0, 78);
    assert_eq!(run(&[], &["test", "."]).0, 78);
    assert_eq!(run(&[], &["test", "--no-such-option"]).0, 2);
}

#[test]
fn an_attribute_without_a_value_can_be_written_and_is_shown() {
    let tests = "tests:\n  - {name: x, trace: 'api  GET  20ms  error a=null', expect: {verdict: kept, attributes: {a: \"\"}}}\n  \
                 - {name: y, trace: 'api  GET  20ms  a=null', expect: {verdict: kept}}\n";
    let (code, out, err) = run(&[("config.yaml", ""), ("a.test.yaml", tests)], &["test"]);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    assert!(out.ends_with("1 passed, 1 failed\n") && out.contains("    api  GET  20ms a=null\n"), "{out}");
}

#[test]
fn a_file_without_tests_is_named() {
    let files = [("config.yaml", PASSES), ("good.yaml", PASSES), ("empty.yaml", "tests: []\n")];
    let (code, out, err) = run(&files, &["test", "good.yaml", "empty.yaml"]);
    assert_eq!((code, out.as_str()), (78, ""));
    assert_eq!(err, "error: empty.yaml: there are no tests in it\n  = help: write them under `tests:`\n");
    let (code, _, err) = run(&[("config.yaml", ""), ("a.test.yaml", "tests: []\n")], &["test"]);
    assert!(code == 78 && err.starts_with("error: config.yaml, a.test.yaml: there are no tests\n"), "{err}");
}

#[test]
fn tests_of_another_configuration_beside_it_are_left_out() {
    let other = "tail_sampling: {policies: [{name: shop, type: always_sample}]}";
    let of_shop = "tests:\n  - {name: shop, trace: 'api  GET  20ms', expect: {policy: shop}}\n";
    let files = [
        ("config.yaml", ""),
        ("shop.yaml", other),
        ("shop.test.yaml", of_shop),
        ("shop.late.test.yaml", of_shop),
        ("all.test.yaml", PASSES),
    ];
    let passed = |arguments: &[&str]| {
        let (code, out, err) = run(&files, arguments);
        (code, out + &err)
    };
    assert_eq!(passed(&["test"]), (0, "1 passed, 0 failed\n".to_owned()));
    assert_eq!(passed(&["test", "--config", "shop.yaml"]), (0, "3 passed, 0 failed\n".to_owned()));
    let (code, _, err) = run(&files[..3], &["test"]);
    assert!(code == 78 && err.contains("shop.test.yaml belongs to another configuration"), "{err}");
}

#[test]
fn tests_are_read_from_standard_input() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("config.yaml"), "").unwrap();
    let test = |arguments: &[&str], text: &[u8]| {
        fs::write(path("input"), text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_spansieve"));
        command.args(arguments).current_dir(directory.path()).stdin(fs::File::open(path("input")).unwrap());
        let output = command.env_remove("SPANSIEVE_CONFIG").output().unwrap();
        let (out, err) = texts(&output);
        (output.status.code().unwrap(), out, err)
    };
    assert_eq!(test(&["test", "-"], PASSES.as_bytes()), (0, "1 passed, 0 failed\n".to_owned(), String::new()));
    let (code, out, _) = test(&["test", "-"], TEST.as_bytes());
    assert!(code == 1 && out.contains("(standard input:2)"), "{out}");
    let (code, _, err) = test(&["test", "--config", "-", "-"], PASSES.as_bytes());
    assert!(code == 78 && err.contains("standard input is named twice, and can be read once\n  = help: "), "{err}");
    let (code, _, err) = test(&["test", "-"], b"tests:\n  - {name: \xff}\n");
    let message =
        "cannot read standard input: it is not UTF-8 text: the first other byte is in line 2\n  = help: save it";
    assert!(code == 78 && err.contains(message), "{err}");
    let (code, _, err) = test(&["test", "-"], &[b' '; (1 << 20) + 1]);
    assert!(code == 78 && err.contains("longer than 1048576 bytes") && err.contains("help: split it"), "{err}");
}

#[test]
fn a_test_without_its_policy_is_a_mistake() {
    let tests = "tests:\n  - name: x\n    trace: 'api  GET  20ms'\n    expect: {policy: erors}\n";
    let (code, out, err) = run(&[("config.yaml", ""), ("a.test.yaml", tests)], &["test"]);
    assert_eq!((code, out.as_str()), (78, ""));
    assert_eq!(
        err,
        "error: a.test.yaml:4:22: the configuration has no policy `erors`\n  = help: did you mean `errors`?\n"
    );
}

#[test]
fn a_mistake_in_a_trace_is_told_with_file_line_and_column() {
    let tests = "tests:\n  - name: x\n    expect: {verdict: kept}\n    trace: |\n\n      api  GET  20ms\n        db  SELECT  1ms  eror\n";
    let (code, _, err) = run(&[("config.yaml", tests)], &["test"]);
    assert_eq!(code, 78);
    assert!(err.contains("--> config.yaml:7:26\n"), "{err}");
    assert!(err.contains("                         ^^^^\n") && err.contains("did you mean `error`?"), "{err}");
}

#[test]
fn shadow_policies_count_for_the_coverage() {
    let config = "tail_sampling:\n  policies:\n    - {name: errors, type: error}\n    - {name: tried, shadow: true, type: and, and: {and_sub_policy: [\
                  {name: flag, type: trace_flags}, {name: slow, type: latency, latency: {threshold_ms: 100}}]}}\n";
    let tests = "tests:\n  - name: x\n    trace: 'api  GET  20ms  error'\n    expect: {policy: errors}\n";
    let files = [("config.yaml", config), ("a.test.yaml", tests)];
    let (_, out, _) = run(&files, &["test", "--format", "json", "--coverage"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["coverage"]["policies"]["all"], 2, "{out}");
    let gaps = json["coverage"]["gaps"].as_array().unwrap();
    let gaps: Vec<&str> = gaps.iter().filter_map(|gap| gap["name"].as_str()).collect();
    assert!(gaps.contains(&"tried (shadow)") && gaps.contains(&"tried / slow (shadow)"), "{gaps:?}");
}

#[test]
fn results_are_written_for_programs_and_for_ci() {
    let files = [("config.yaml", ""), ("a.test.yaml", TEST), ("b.test.yaml", PASSES)];
    let (_, out, _) = run(&files, &["test", "--format", "json", "--coverage"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&json["passed"], &json["failed"]), (&1.into(), &1.into()));
    assert_eq!(json["tests"][0]["trace"]["verdict"], "dropped");
    assert_eq!(json["tests"][0]["file"], "a.test.yaml");
    assert_eq!(json["coverage"]["policies"], serde_json::json!({"covered": 1, "all": 3}));
    let (code, out, _) = run(&files, &["test", "--format", "junit"]);
    assert_eq!(code, 1);
    assert!(out.starts_with(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"spansieve test\" tests=\"2\" failures=\"1\""
    ));
    assert!(out.contains("<testcase name=\"a &lt;b&gt; &amp; &quot;c&quot;\" classname=\"a.test.yaml\""), "{out}");
    assert!(out.contains("<failure message=\"verdict: expected kept, found dropped\">"), "{out}");
    assert_eq!(out.matches("<testcase ").count(), 2);
    assert!(!out.contains('\u{1b}'));
}

#[test]
fn a_file_with_traces_can_be_the_trace_of_a_test() {
    let json = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736",
        "spanId":"00f067aa0ba902b7","status":{"code":2}}]}]}]}"#;
    let tests = "tests:\n  - {name: x, file: t.json, expect: {verdict: kept, policy: errors}}\n";
    assert_eq!(run(&[("config.yaml", tests), ("t.json", json)], &["test"]).0, 0);
    for (traces, message) in [
        (None, "t.json: cannot be read: No such file or directory (os error 2) (is the path right?)"),
        (Some("hello"), "t.json: has no traces in it"),
    ] {
        let files = [("config.yaml", tests), ("t.json", traces.unwrap_or_default())];
        let (code, out, _) = run(&files[..1 + usize::from(traces.is_some())], &["test"]);
        assert!(code == 78 && out.contains(message), "{code}: {out}");
    }
}

#[test]
fn of_several_traces_one_that_fails_is_shown() {
    let spans = [(1, "ok", 2), (0xf2, "pay", 0), (3, "list", 0)].map(|(id, name, code)| error_of(id, name, code));
    let policies = "tail_sampling:\n  policies:\n    - {name: errors, type: error}\n    \
                    - {name: half, type: probabilistic, probabilistic: {sampling_percentage: 50}}\n";
    let shown = |expect: &str| {
        let tests = format!("{policies}tests:\n  - {{name: x, file: t.json, expect: {expect}}}\n");
        let files = [("config.yaml", tests.as_str()), ("t.json", &spans.join("\n"))];
        let (code, out, _) = run(&files, &["test"]);
        assert_eq!(code, 1, "{out}");
        let (_, json, _) = run(&files, &["test", "--format", "json", "--coverage"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        (out, json["tests"][0]["trace"]["trace_id"].as_str().unwrap()[..2].to_owned())
    };
    // The trace 01 is kept by `errors`, f2 by `half`, and 03 is dropped.
    let (out, id) = shown("{verdict: kept}");
    assert!(out.contains("  verdict: expected kept, found dropped for 1 of 3 traces\n"), "{out}");
    assert!(id == "03" && out.contains("  one of the 3 traces:\n  trace 0303"), "{out}");
    let (out, id) = shown("{policy: errors}");
    assert!(id == "f2" && out.contains("found half for 2 of 3 traces\n") && out.contains("\n  trace f2f2"), "{out}");
    // Of two expectations, the second one fails for another trace.
    let (out, id) = shown("{verdict: kept, trigger: decision_wait}");
    let other = format!("found evidence for 1 of 3 traces, {} among them\n", "01".repeat(16));
    assert!(id == "03" && out.contains(&other), "{out}");
    let (out, id) = shown("{kept: 0%}");
    assert!(id == "01" && out.contains("\n  trace 0101"), "{out}");
    assert_eq!(shown("{kept: 100%}").1, "03");
    assert_eq!(shown("{kept: 0% - 100%, adjusted_count: 1}").1, "f2");
    let (out, id) = shown("{kept: 0% - 100%, attributes: {spansieve.policy: errors}}");
    assert!(id == "f2" && out.contains("found `half`"), "{out}");
}

#[test]
fn explain_says_what_it_cannot_read() {
    let explain = |files: &[(&str, &str)], name: &str| run(files, &["explain", name]);
    for (name, contents, message) in [
        ("empty", "", "error: empty: is empty"),
        ("text", "hello, these are no spans", "error: text: has no traces in it"),
        ("cut.json", "{\"resourceSpans\": [", "error: cut.json:1:19: is not OTLP in JSON"),
    ] {
        let (code, out, err) = explain(&[(name, contents)], name);
        assert_eq!((code, out.as_str()), (1, ""), "{name}");
        assert!(err.starts_with(message) && err.contains("= help: "), "{err}");
    }
    let (code, _, err) = explain(&[], ".");
    assert!(code == 1 && err.contains("a directory without a recording"), "{err}");
    assert_eq!(run(&[("c.yaml", "otlp: 5")], &["explain", "--config", "c.yaml", "x.json"]).0, 78);
}

#[test]
fn explain_shows_the_traces_that_are_asked_for() {
    let span = |id: u8, code: u8| {
        let trace = format!("{id:02x}").repeat(16);
        format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{trace}","spanId":"00f067aa0ba902b7","status":{{"code":{code}}}}}]}}]}}]}}"#
        )
    };
    let lines = format!("{}\n{}\n", span(1, 2), span(2, 0));
    let wanted = "02".repeat(16);
    let (code, out, _) = run(&[("t.json", &lines)], &["explain", "--format", "json", "--trace", &wanted, "t.json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["trace_id"], &json["verdict"]), (0, &wanted.into(), &"dropped".into()));
    assert_eq!(json["policies"][0]["answer"], "does_not_keep");
    let (code, _, err) = run(&[("t.json", &lines)], &["explain", "--trace", &"03".repeat(16), "t.json"]);
    assert!(code == 1 && err.contains("no span of the trace 0303"), "{err}");
}

/// A configuration with a policy that ends on 2026-06-01, a shadow policy, and nothing else.
const TRIALS: &str = "tail_sampling:\n  policies:\n    - {name: all, type: always_sample, until: 2026-06-01T00:00:00Z}\n    \
                      - {name: errors, type: error}\n    - {name: tried, type: error, shadow: true}\n";

#[test]
fn a_test_has_the_policies_that_count_at_its_time() {
    let test = |at: &str, expect: &str| format!("  - {{name: x, {at} trace: 'api  GET  20ms', expect: {expect}}}\n");
    let passing = [
        test("", "{verdict: kept, policy: all}"),
        test("at: 2026-05-31T23:59:49Z,", "{verdict: kept, policy: all}"),
        // The trace waits ten seconds for its decision, and the policy ends within them.
        test("at: 2026-05-31T23:59:50Z,", "{verdict: dropped}"),
        test("at: 2026-06-01T00:00:00Z,", "{verdict: dropped}"),
    ];
    // A policy with evidence keeps a trace at once. This one waits for the decision.
    let waiting = TRIALS.replace("always_sample", "span_count, span_count: {min_spans: 1, max_spans: 9}");
    let config = format!("{waiting}tests:\n{}", passing.concat());
    let (code, out, err) = run(&[("config.yaml", &config)], &["test"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "4 passed, 0 failed\n", ""));
    let failing = format!("{TRIALS}tests:\n{}", test("at: 2026-07-01T00:00:00Z,", "{policy: all}"));
    let (code, out, _) = run(&[("config.yaml", &failing)], &["test"]);
    assert_eq!(code, 1);
    assert!(out.contains("    all     did not count any more: it ended at 2026-06-01T00:00:00Z\n"), "{out}");
    assert!(out.contains("    tried   (shadow) would not keep it"), "{out}");
    let shadow = format!("{TRIALS}tests:\n{}", test("", "{policy: tried}"));
    let (code, _, err) = run(&[("config.yaml", &shadow)], &["test"]);
    assert!(code == 78 && err.contains("the configuration has no policy `tried`"), "{err}");
}

/// Returns a request in JSON with an error span that ends at this second since 1970.
fn error_at(second: u64, name: &str) -> String {
    let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":{name}}}}}]}},"scopeSpans":[{{"spans":[{{"traceId":"{trace}","spanId":"{span}","name":{name},"startTimeUnixNano":"{second}000000000","endTimeUnixNano":"{second}000000000","status":{{"code":2}}}}]}}]}}]}}"#
    )
}

/// Returns a request in JSON with one span of a trace whose id consists of this byte.
fn error_of(id: u8, name: &str, code: u8) -> String {
    let trace = format!("{id:02x}").repeat(16);
    let json = error_at(BEFORE_END_S, &format!("\"{name}\"")).replace("\"code\":2", &format!("\"code\":{code}"));
    json.replace("4bf92f3577b34da6a3ce929d0e0e4736", &trace)
}

/// 2026-05-31T23:59:59Z.
const BEFORE_END_S: u64 = 1_780_271_999;

#[test]
fn explain_asks_the_policies_that_count_at_the_time_of_the_trace() {
    let explain = |second: u64, format: &str| {
        let json = error_at(second, "\"GET\"");
        run(&[("config.yaml", TRIALS), ("t.json", &json)], &["explain", "--format", format, "t.json"]).1
    };
    assert!(explain(BEFORE_END_S, "text").contains(": kept by all ("));
    let after = explain(BEFORE_END_S + 1, "text");
    assert!(after.contains(": kept by errors ("), "{after}");
    for line in [
        "    errors  keeps it because of `GET GET`\n",
        "    tried   (shadow) would keep it because of `GET GET`\n",
        "    all     did not count any more: it ended at 2026-06-01T00:00:00Z\n",
    ] {
        assert!(after.contains(line), "{after}");
    }
    let json: serde_json::Value = serde_json::from_str(&explain(BEFORE_END_S + 1, "json")).unwrap();
    let answers = [("errors", false), ("tried", true)];
    for (finding, (name, is_shadow)) in json["policies"].as_array().unwrap().iter().zip(answers) {
        assert_eq!((&finding["name"], &finding["shadow"]), (&name.into(), &is_shadow.into()));
        assert_eq!(finding["span_ids"], serde_json::json!(["00f067aa0ba902b7"]));
    }
    assert_eq!(json["ended_policies"], serde_json::json!([{"name": "all", "until": "2026-06-01T00:00:00Z"}]));
}

#[test]
fn a_dry_run_is_stated_and_does_not_count_as_kept() {
    let config = "tail_sampling: {dry_run: true, policies: [{name: errors, type: error}]}\ntests:\n  \
                  - {name: x, trace: 'api  GET  20ms', expect: {verdict: dropped}}\n  \
                  - {name: y, trace: 'api  GET  20ms  error', expect: {verdict: kept, spans: 1}}\n";
    let (code, out, _) = run(&[("config.yaml", config)], &["test"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.starts_with("dry run: every span is written, whatever the verdict"), "{out}");
    let json = error_at(BEFORE_END_S, "\"GET\"").replace("\"code\":2", "\"code\":0");
    let (_, out, _) = run(&[("config.yaml", config), ("t.json", &json)], &["explain", "t.json"]);
    assert!(out.contains("; written all the same: dry run\n"), "{out}");
    assert!(out.contains("  written:\n    GET "), "{out}");
    assert!(out.ends_with("\ndry run: every span is written, whatever the verdict\n"), "{out}");
    let (_, out, _) = run(&[("config.yaml", config), ("t.json", &json)], &["explain", "--format", "json", "t.json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&json["dry_run"], &json["kept_spans"], &json["verdict"]), (&true.into(), &0.into(), &"dropped".into()));
}

#[test]
fn the_clock_of_a_test_with_a_file_is_that_of_its_spans() {
    let tests = "tests:\n  - {name: x, file: t.json, expect: {verdict: kept, written: [{name: GET}]}}\n";
    for second in [1_500_000_000, BEFORE_END_S, 2_000_000_000] {
        let json = error_at(second, "\"GET\"");
        let (code, out, _) = run(&[("config.yaml", tests), ("t.json", &json)], &["test"]);
        assert_eq!((code, out.as_str()), (0, "1 passed, 0 failed\n"), "{second}");
    }
}

#[test]
fn what_a_trace_contains_cannot_control_the_terminal() {
    let name = "\"\\u001b]0;title\\u0007\\u009b31m\\u202egnp\\r\\nx\"";
    let json = error_at(BEFORE_END_S, name);
    let tests = "tests:\n  - name: \"t\\e[31m\"\n    file: t.json\n    \
                 expect: {policy: slow, written: [{name: other}, {name: \"\\e]0;title\\a\\x9b31m\\u202egnp\\r\\nx\", attributes: {a: b}}]}\n";
    let files = [("config.yaml", ""), ("a.test.yaml", tests), ("t.json", json.as_str())];
    let test = run(&files, &["test"]);
    let explain = run(&files, &["explain", "t.json"]);
    let bad_key = r#"{"resource\u001b[31mSpans": []}"#;
    let bad = run(&[("t.json", bad_key)], &["explain", "t.json"]);
    for (code, out, err) in [test, explain, bad] {
        let is_plain = |c: char| (!c.is_control() || c == '\n') && c != '\u{202e}';
        assert!(out.chars().chain(err.chars()).all(is_plain), "{code}: {out:?} {err:?}");
        assert!(out.contains("gnp") || !err.is_empty(), "{out}{err}");
    }
}

#[test]
fn an_expectation_of_kept_traces_fails_if_none_is_kept() {
    let tests = "tests:\n  - {name: x, trace: 'api  GET  20ms', expect: {kept: 0% - 5%, policy: errors, trigger: rescue, spans: 7}}\n";
    let (code, out, _) = run(
        &[("config.yaml", "tail_sampling: {policies: [{name: errors, type: error}]}"), ("a.test.yaml", tests)],
        &["test"],
    );
    assert_eq!(code, 1);
    for key in ["policy: expected errors", "trigger: expected rescue", "spans: expected 7"] {
        assert!(out.contains(&format!("  {key}, but no trace is kept\n")), "{out}");
    }
}

#[test]
fn a_resource_that_many_spans_share_is_printed_once() {
    let (trace, value) = ("4bf92f3577b34da6a3ce929d0e0e4736", "v".repeat(200_000));
    let span =
        |n: u32| format!(r#"{{"traceId":"{trace}","spanId":"{:016x}","name":"a","status":{{"code":2}}}}"#, n + 1);
    let spans: Vec<String> = (0..2_000).map(span).collect();
    let json = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"k","value":{{"stringValue":"{value}"}}}}]}},"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
        spans.join(",")
    );
    let files = [("config.yaml", ""), ("t.json", json.as_str())];
    let (code, out, err) = run(&files, &["explain", "--format", "json", "t.json"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.len() < 5_000_000, "{} bytes", out.len());
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((json["written"].as_array().unwrap().len(), json["resources"].as_array().unwrap().len()), (2_000, 1));
    assert_eq!((&json["written"][1_999]["resource"], &json["resources"][0]["k"]), (&0.into(), &value.into()));
    let (_, out, _) = run(&files, &["explain", "t.json"]);
    assert!(out.len() < 200_000 && out.contains("    ... and 1800 more spans\n"), "{} bytes", out.len());
}
