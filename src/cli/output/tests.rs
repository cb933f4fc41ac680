use std::process::ExitCode;

use serde_json::{Value, json};

use super::*;

#[test]
fn only_a_closed_pipe_leaves_the_exit_code_alone() {
    let code = |kind: ErrorKind| format!("{:?}", exit_code(Err(kind.into()), ExitCode::from(78)));
    assert_eq!(code(ErrorKind::BrokenPipe), format!("{:?}", ExitCode::from(78)));
    assert_eq!(code(ErrorKind::StorageFull), format!("{:?}", ExitCode::FAILURE));
}

#[test]
fn json_keeps_its_meaning_without_characters_that_control_a_terminal() {
    let value = json!({"a\u{9b}": ["\u{7f}\x1b[2J", "\u{202e}", "\u{e4}", "line\nline"]});
    let text = printable_json(&format!("{value:#}"));
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    assert!(text.chars().all(|c| c == '\n' || printable(c) == c), "{text}");
}
