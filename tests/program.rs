//! The real program: its subcommands, exit codes and signals.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::{self, Client, error, request, trace_id};

/// Maximum wait for output. The demo reports every five seconds, and a machine that runs tests in parallel is slow.
const PRINT_WAIT: Duration = Duration::from_secs(30);

/// Maximum lines that wait to be read.
const PRINTED_LINES_MAX: usize = 64;

fn spansieve(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spansieve"));
    command.args(args).stdin(Stdio::null());
    command
}

fn output(args: &[&str]) -> (Output, String) {
    let output = spansieve(args).output().unwrap();
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output, String::from_utf8(text).unwrap())
}

fn config_file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// Starts the program; returns it with its output up to the point where all texts in `until` have been printed.
#[allow(clippy::zombie_processes, reason = "the caller waits for it")]
fn start(args: &[&str], until: &[&str]) -> (Child, String) {
    started(spansieve(args), until)
}

/// Starts `command`, as [`start`] does.
#[allow(clippy::zombie_processes, reason = "the caller waits for it")]
fn started(mut command: Command, until: &[&str]) -> (Child, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let (sender, lines) = mpsc::sync_channel(PRINTED_LINES_MAX);
    let stdout = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let mut text = String::new();
    while !until.iter().all(|wanted| text.contains(wanted)) {
        let Ok(line) = lines.recv_timeout(PRINT_WAIT) else {
            child.kill().unwrap();
            panic!("{until:?} was never printed: {text}");
        };
        text += &line;
        text.push('\n');
    }
    // Further output is read and ignored, so that the program never waits for its pipe.
    std::thread::spawn(move || lines.into_iter().count());
    (child, text)
}

/// Returns the word after `before` in `text`.
fn word_after<'a>(text: &'a str, before: &str) -> &'a str {
    text.split_once(before).unwrap().1.split_whitespace().next().unwrap()
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

fn terminate(child: &mut Child) -> (Option<i32>, Duration) {
    let asked = Instant::now();
    signal(child, "-TERM");
    (child.wait().unwrap().code(), asked.elapsed())
}

#[test]
fn help_has_examples_and_version_has_the_commit() {
    let (help, text) = output(&["--help"]);
    assert!(help.status.success());
    for word in ["run", "validate", "emulator", "demo", "Examples:", "OTEL_EXPORTER_OTLP_ENDPOINT"] {
        assert!(text.contains(word), "{word} is missing:\n{text}");
    }
    let (_, version) = output(&["--version"]);
    assert!(version.starts_with(&format!("spansieve {} (", env!("CARGO_PKG_VERSION"))), "{version}");
}

#[test]
fn a_bad_configuration_exits_with_78_and_says_all_that_is_wrong() {
    let file = config_file("otlp: {lissten: []}\ntail_sampling:\n  decision_wait: soon\n");
    let path = file.path().to_str().unwrap();
    for args in [["validate", "--config", path], ["run", "--config", path], ["demo", "--config", path]] {
        let (output, text) = output(&args);
        assert_eq!(output.status.code(), Some(78), "{args:?}: {text}");
        assert!(text.contains("lissten") && text.contains("listen") && text.contains("soon"), "{args:?}: {text}");
    }
    let (missing, text) = output(&["validate", "/nonexistent/config.yaml"]);
    assert_eq!(missing.status.code(), Some(78), "{text}");
    assert!(text.contains("spansieve config default > /nonexistent/config.yaml"), "{text}");
}

#[test]
fn output_that_cannot_be_written_is_a_failure_unless_its_reader_has_left() {
    let file = config_file(support::CONFIG);
    let path = file.path().to_str().unwrap();
    let foreign = config_file("receivers: {otlp: {protocols: {grpc: }}}\n");
    let foreign = foreign.path().to_str().unwrap();
    let trace = config_file(
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","name":"a"}]}]}]}"#,
    );
    let trace = trace.path().to_str().unwrap();
    let commands: [&[&str]; 13] = [
        &["validate", path],
        &["validate", path, "--format", "json"],
        &["config", "show", path],
        &["config", "show", path, "--format", "json"],
        &["config", "default"],
        &["schema"],
        &["completions", "bash"],
        &["man"],
        &["explain", "--config", path, trace],
        &["explain", "--config", path, "--format", "json", trace],
        &["test", "--config", "config.yaml"],
        &["import", foreign],
        &["import", foreign, "--format", "json"],
    ];
    for args in commands {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = spansieve(args).stdout(full).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("error: cannot write to standard output: No space left"), "{args:?}: {said}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = spansieve(args).stdout(writer).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {said}");
        assert!(!said.contains("cannot write"), "{args:?}: {said}");
    }
}

#[test]
fn validate_takes_a_file_or_standard_input() {
    let file = config_file(support::CONFIG);
    let path = file.path().to_str().unwrap();
    assert_eq!(output(&["validate", path]).0.status.code(), Some(0));
    assert_eq!(output(&["validate", "--config", path]).0.status.code(), Some(0));
    let stdin = std::fs::File::open(path).unwrap();
    let piped = spansieve(&["validate", "-"]).stdin(stdin).output().unwrap();
    let text = String::from_utf8(piped.stdout).unwrap();
    assert!(piped.status.success() && text.starts_with("standard input: ok: keeps by"), "{text}");
    let (both, _) = output(&["validate", path, "--config", path]);
    assert!(!both.status.success());
}

#[test]
fn findings_of_validate_exit_with_1() {
    let file = config_file(
        "memory: {limit: 64MiB}\ntail_sampling: {policies: [{name: a, type: error}, {name: b, type: error}]}\n",
    );
    let path = file.path().to_str().unwrap();
    let code = |args: &[&str]| output(&[&["validate", path], args].concat()).0.status.code();
    assert_eq!(code(&[]), Some(0), "there is only a warning");
    assert_eq!(code(&["--strict"]), Some(1));
    assert_eq!(code(&["--rate", "100"]), Some(0));
    assert_eq!(code(&["--rate", "100000"]), Some(1));
    assert_eq!(code(&["--rate", "0"]), Some(2), "not a rate");
    assert_eq!(code(&["--spans-per-trace", "5"]), Some(2), "without a rate");

    let json = spansieve(&["validate", path, "--format", "json", "--rate", "100000", "--explain"]).output().unwrap();
    assert_eq!((json.status.code(), &json.stderr[..]), (Some(1), &[][..]));
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(report["problems"][0]["severity"], "warning");
    assert_eq!(report["explanation"]["policies"][0]["name"], "a");
    assert_eq!(report["memory"]["fits"], false);
}

#[test]
fn without_a_file_the_built_in_configuration_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let validated = spansieve(&["validate"]).current_dir(&folder).env_remove("SPANSIEVE_CONFIG").output().unwrap();
    let text = String::from_utf8(validated.stdout).unwrap();
    assert!(validated.status.success() && text.starts_with("built-in configuration: ok: keeps by errors"), "{text}");
    let (printed, text) = output(&["config", "default"]);
    assert!(printed.status.success());
    // The schema is looked for beside the file.
    assert_eq!(text, include_str!("../config.yaml").replacen("docs/config.schema.json", "config.schema.json", 1));
    std::fs::write(folder.path().join("config.yaml"), text).unwrap();
    let validated = spansieve(&["validate"]).current_dir(&folder).env_remove("SPANSIEVE_CONFIG").output().unwrap();
    assert!(validated.stdout.starts_with(b"config.yaml: ok"));
}

#[test]
fn a_good_configuration_validates() {
    let file = config_file(support::CONFIG);
    let (output, text) = output(&["validate", "--config", file.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{text}");
}

#[test]
fn only_the_program_itself_prints_at_the_start() {
    // For example, the allocator could print warnings about its options.
    let (output, text) = output(&["validate", "--config", concat!(env!("CARGO_MANIFEST_DIR"), "/config.yaml")]);
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &[][..]), "{text}");
}

#[test]
fn a_taken_address_ends_the_start_and_is_named_in_the_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = config_file(&support::CONFIG.replacen("127.0.0.1:0", &address, 1));
    let (output, text) = output(&["run", "--config", file.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains(&address), "{text}");
}

#[tokio::test]
async fn run_prints_its_address_accepts_spans_and_stops_in_time() {
    let file = config_file(support::CONFIG);
    let (mut child, text) = start(&["run", "--config", file.path().to_str().unwrap()], &["kept:"]);
    let endpoint = word_after(&text, "OTEL_EXPORTER_OTLP_ENDPOINT=");
    let mut client = Client::new(endpoint);
    client.export(request("shop", vec![error(trace_id(false), "failed")])).await.unwrap();
    let (code, took) = terminate(&mut child);
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test]
async fn a_hangup_ends_nothing_and_loses_nothing() {
    let file = config_file(support::CONFIG);
    let (mut child, text) = start(&["run", "--config", file.path().to_str().unwrap()], &["kept:"]);
    let mut client = Client::new(word_after(&text, "OTEL_EXPORTER_OTLP_ENDPOINT="));
    client.export(request("shop", vec![error(trace_id(false), "before")])).await.unwrap();
    signal(&child, "-HUP");
    client.export(request("shop", vec![error(trace_id(false), "after")])).await.unwrap();
    assert_eq!(terminate(&mut child).0, Some(0));
}

#[test]
fn the_emulator_prints_its_url_and_how_to_write_to_it() {
    let (mut child, text) = start(&["emulator", "--listen", "127.0.0.1:0", "--max-bytes", "16MiB"], &["endpoint:"]);
    let url = text.split('"').nth(1).unwrap();
    assert!(url.starts_with("http://127.0.0.1:") && !url.ends_with(":0"), "{text}");
    assert_eq!(terminate(&mut child).0, Some(0));
    let (wrong, text) = output(&["emulator", "--max-bytes", "much"]);
    assert!(!wrong.status.success() && text.contains("much"), "{text}");
}

#[test]
fn the_demo_links_a_kept_error_and_a_kept_slow_trace() {
    let file = config_file(support::CONFIG);
    let wanted = ["received", "by errors", "by slow", "a kept error trace: http://", "a kept slow trace: http://"];
    let (mut child, _) = start(&["demo", "--config", file.path().to_str().unwrap()], &wanted);
    assert_eq!(terminate(&mut child).0, Some(0));
}

#[test]
fn the_allocator_has_one_thread_at_most() {
    let config = config_file(
        "otlp: {listen: [\"127.0.0.1:0\"]}\nexport: {endpoint: embedded, embedded: {listen: \"127.0.0.1:0\"}, project: p}\n\
         tail_sampling: {policies: [{name: all, type: always_sample}]}\n",
    );
    let (mut child, _) = start(&["--config", config.path().to_str().unwrap()], &["takes OTLP"]);
    let threads = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let names = threads.flatten().flat_map(|thread| std::fs::read_to_string(thread.path().join("comm")));
    let count = names.filter(|name| name.starts_with("jemalloc")).count();
    child.kill().unwrap();
    child.wait().unwrap();
    // With a limit on processes, the allocator would try forever to start a second thread, with a log line for each
    // attempt.
    assert!(count <= 1, "{count}");
}

#[test]
fn the_limit_of_open_files_is_raised_and_bounds_the_connections() {
    let config = config_file(
        "otlp: {listen: [\"127.0.0.1:0\"]}\nexport: {endpoint: embedded, embedded: {listen: \"127.0.0.1:0\"}, project: p}\n\
         tail_sampling: {policies: [{name: all, type: always_sample}]}\nmemory: {limit: 512MiB}\n",
    );
    let limited = format!(
        "ulimit -Sn 100; ulimit -Hn 700; exec {} --config {} 2>&1",
        env!("CARGO_BIN_EXE_spansieve"),
        config.path().display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &limited]).stdin(Stdio::null());
    let (mut child, text) = started(command, &["takes OTLP", "The limit of open files"]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().collect::<Vec<_>>()[3..5], ["700", "700"], "{files}");
    assert!(text.contains("188"), "700 files, of which 512 are for other things: {text}");
}

#[test]
fn a_configuration_with_a_mistake_is_json_for_programs() {
    let file = config_file("tail_sampling: {decision_wait: soon}\n");
    let path = file.path().to_str().unwrap();
    let commands: [&[&str]; 6] = [
        &["validate", path],
        &["config", "show", path],
        &["explain", "--config", path, "none.json"],
        &["test", "--config", path],
        &["simulate", "--config", path, "none.rec"],
        &["simulate", "--config", "config.yaml", "--against", path, "none.rec"],
    ];
    for args in commands {
        let output = spansieve(args).args(["--format", "json"]).output().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{args:?}: {error}: {}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!(output.status.code(), Some(78), "{args:?}");
        assert_eq!((&json["configuration"], &json["valid"]), (&path.into(), &false.into()), "{args:?}");
        let problem = &json["problems"][0];
        assert_eq!((&problem["line"], &problem["column"]), (&1.into(), &32.into()), "{args:?}: {json:#}");
    }
}

#[test]
fn other_files_that_cannot_be_used_are_json_for_programs() {
    let foreign = config_file("memory: {limit: 1GiB}\n");
    let empty = config_file("tests: []\n");
    let unknown = config_file("tests: [{name: a, trace: 'a  b  1ms', expect: {policy: erors}}]\n");
    let path = |file: &tempfile::NamedTempFile| file.path().to_str().unwrap().to_owned();
    let missing = "/nonexistent/x.yaml".to_owned();
    for (command, file, word) in [
        ("import", path(&foreign), "a configuration of Spansieve already"),
        ("import", missing.clone(), "cannot read"),
        ("test", path(&empty), "there are no tests in it"),
        ("test", path(&unknown), "has no policy `erors`"),
        ("test", missing, "cannot read"),
    ] {
        let args = [command, file.as_str(), "--format", "json"];
        let output = spansieve(&args).output().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{args:?}: {error}: {}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!((output.status.code(), &json["valid"]), (Some(78), &false.into()), "{args:?}");
        assert!(json["problems"][0]["message"].as_str().is_some_and(|text| text.contains(word)), "{args:?}: {json}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    }
}

#[test]
fn a_file_of_tests_is_not_a_configuration() {
    let tests = "tests:\n  - name: x\n    trace: 'api  GET  20ms  error'\n    expect: {policy: errors}\n";
    let directory = tempfile::tempdir().unwrap();
    let run = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        let output = spansieve(&["validate"]).arg(&path).output().unwrap();
        (output.status.code(), String::from_utf8([output.stderr, output.stdout].concat()).unwrap())
    };
    let (code, said) = run("shop.test.yaml", tests);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("is a file of tests, not a configuration"), "{said}");
    assert!(said.contains("spansieve test --config config.yaml") && said.contains("shop.test.yaml\n"), "{said}");
    let (code, said) = run("shop.yaml", tests);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("warning: there are only tests in it"), "{said}");
    let with_settings = format!("tail_sampling: {{decision_wait: 5s}}\n{tests}");
    let (code, said) = run("all.test.yaml", &with_settings);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("tests"), "{said}");
}

#[test]
fn man_pages_that_cannot_be_written_name_their_directory() {
    let output = spansieve(&["man", "/nonexistent/man1"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: cannot write man pages to /nonexistent/man1: No such file"), "{said}");
    assert!(said.contains("help: name a directory") && !said.contains("standard output"), "{said}");
}
