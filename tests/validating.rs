//! The transcripts of `docs/validating.md` are what the program prints.
//!
//! A fence marked `yaml` (or `yaml with warnings`) is the file `config.yaml` of the commands below it. A fence marked
//! `console` has a command after `$ `, and then its output: standard error before standard output. After the command,
//! `| head -n N` leaves only the first lines of standard output.
//!
//! `SPANSIEVE_WRITE_REFERENCE=1 cargo test --test integration validating` writes the output anew.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

const DOCUMENT: &str = "docs/validating.md";

/// Returns what `command` prints, with `config` as `config.yaml` in the directory where it runs.
fn printed(config: &str, command: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.yaml"), config).unwrap();
    let (command, lines) = match command.split_once(" | head -n ") {
        Some((command, lines)) => (command, lines.parse().unwrap()),
        None => (command, usize::MAX),
    };
    let mut words = command.split_whitespace();
    assert_eq!(words.next(), Some("spansieve"), "{command}");
    let output = Command::new(env!("CARGO_BIN_EXE_spansieve"))
        .args(words)
        .current_dir(&directory)
        .env_remove("SPANSIEVE_CONFIG")
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let head: String = stdout.split_inclusive('\n').take(lines).collect();
    String::from_utf8(output.stderr).unwrap() + &head
}

/// Returns the document with the output of each command as it is now, and the number of commands.
fn with_output(document: &str) -> (String, usize) {
    let (mut out, mut config, mut commands) = (String::new(), String::new(), 0);
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        match line {
            line if line.starts_with("```yaml") => {
                config.clear();
                for line in lines.by_ref() {
                    out.extend([line, "\n"]);
                    if line == "```" {
                        break;
                    }
                    config.extend([line, "\n"]);
                }
            }
            "```console" => {
                let command = lines.next().and_then(|line| line.strip_prefix("$ ")).unwrap();
                let old_output = lines.by_ref().take_while(|line| *line != "```");
                old_output.for_each(drop);
                out.push_str(&format!("$ {command}\n{}\n```\n", printed(&config, command).trim_end()));
                commands += 1;
            }
            _ => {}
        }
    }
    (out, commands)
}

#[test]
fn the_transcripts_are_what_is_printed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let document = fs::read_to_string(&path).unwrap();
    let (expected, commands) = with_output(&document);
    assert!(commands >= 4, "only {commands} commands were found");
    if std::env::var_os("SPANSIEVE_WRITE_REFERENCE").is_some() {
        fs::write(&path, &expected).unwrap();
    } else {
        assert!(document == expected, "{DOCUMENT} is not what is printed; see the top of this file\n{expected}");
    }
}
