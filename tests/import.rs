//! `spansieve import`: the real program, its output and its exit codes, and what the documents show of it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const EXIT_CONFIG: Option<i32> = Some(78);

fn spansieve(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spansieve"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // The program may end before it has read everything.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import").join(name).to_str().unwrap().to_owned()
}

#[test]
fn the_result_is_on_standard_output_and_can_be_validated() {
    let imported = spansieve(&["import", &fixture("refinery-rules.yaml"), "--environment", "production"], b"");
    assert_eq!(imported.status.code(), Some(0), "{}", text(&imported.stderr));
    assert!(text(&imported.stderr).contains("not carried: Samplers.staging"), "{}", text(&imported.stderr));
    let checked = spansieve(&["validate", "-"], &imported.stdout);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
}

#[test]
fn json_has_the_configuration_and_the_findings() {
    let input = fs::read(fixture("collector-gateway.yaml")).unwrap();
    let imported = spansieve(&["import", "-", "--format", "json"], &input);
    assert_eq!(imported.status.code(), Some(0));
    assert_eq!(text(&imported.stderr), "");
    let json: serde_json::Value = serde_json::from_slice(&imported.stdout).unwrap();
    assert_eq!(json["kind"], "collector");
    assert_eq!(json["variables"], serde_json::json!(["POD_IP"]));
    assert!(json["configuration"].as_str().unwrap().contains("tail_sampling:"));
    let froms: Vec<_> =
        json["not_carried"].as_array().unwrap().iter().map(|one| one["from"].as_str().unwrap()).collect();
    assert!(froms.contains(&"exporters.debug"), "{froms:?}");
}

#[test]
fn other_files_are_refused_with_place_and_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().to_str().unwrap();
    let large = [b"receivers: {}\na: ".as_slice(), &vec![b'x'; 10 << 20]].concat();
    for (input, expected) in [
        (b"".as_slice(), "standard input:1:1"),
        (b"a: 1\n", "neither a Collector's configuration nor Refinery's rules"),
        (b"\x7fELF\x02\x01\xff\xfe", "it is not UTF-8 text"),
        (b"receivers: \"\0\"\n", "not valid YAML"),
        (&large, "longer than"),
    ] {
        let output = spansieve(&["import", "-"], input);
        assert_eq!(output.status.code(), EXIT_CONFIG, "{expected}");
        assert_eq!(text(&output.stdout), "", "{expected}");
        assert!(text(&output.stderr).contains(expected), "{expected}: {}", text(&output.stderr));
    }
    for path in [directory, "/nowhere/otelcol.yaml"] {
        let output = spansieve(&["import", path], b"");
        assert_eq!(output.status.code(), EXIT_CONFIG);
        let message = text(&output.stderr);
        assert!(message.contains("cannot read") && message.contains("help: name a Collector's"), "{message}");
    }
}

#[test]
fn a_pasted_file_of_the_collector_names_this_command_once() {
    let output = spansieve(&["validate", &fixture("collector-gateway.yaml")], b"");
    assert_eq!(output.status.code(), EXIT_CONFIG);
    assert_eq!(text(&output.stderr).matches("spansieve import").count(), 1, "{}", text(&output.stderr));
}

/// A fence of a document: what stands after its backticks, and its lines.
struct Fence {
    info: String,
    lines: Vec<String>,
}

fn fences(document: &str) -> Vec<Fence> {
    let mut fences = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let lines = lines.by_ref().take_while(|line| *line != "```").map(str::to_owned).collect();
            fences.push(Fence { info: info.to_owned(), lines });
        }
    }
    fences
}

/// Runs a command line of the documents in `directory`; returns what it prints on both outputs.
fn run(line: &str, directory: &Path) -> String {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_spansieve"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh").args(["-c", line]).current_dir(directory).env("PATH", path).output().unwrap();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_documented_import_prints_what_the_page_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migrating-from-the-collector.md");
    let fences = fences(&fs::read_to_string(page).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let mut commands = 0;
    for (index, fence) in fences.iter().enumerate() {
        if let Some(name) = fence.info.strip_prefix("yaml ") {
            fs::write(directory.path().join(name), fence.lines.join("\n") + "\n").unwrap();
        }
        if fence.info != "console" {
            continue;
        }
        for block in fence.lines.join("\n").split("$ ").skip(1) {
            let (command, expected) = block.split_once('\n').unwrap_or((block, ""));
            assert_eq!(run(command, directory.path()).trim_end(), expected.trim_end(), "$ {command}");
            commands += 1;
        }
        let result = fs::read_to_string(directory.path().join("config.yaml")).unwrap();
        let shown = fences[index + 1].lines.join("\n");
        assert_eq!(result.trim_end(), shown, "the result of the import, which stands after the commands");
    }
    assert_eq!(commands, 3);
}
