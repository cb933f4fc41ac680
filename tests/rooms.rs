//! The pure rooms stay pure, and know only the rooms that `ARCHITECTURE.md` allows them.
#![allow(clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// A room that does no I/O, reads no clock, spawns nothing and draws no random number, and what of the crate it uses.
const PURE_ROOMS: [(&str, &[&str]); 9] = [
    ("settings", &["settings", "trust"]),
    ("otlp", &["otlp", "proto"]),
    ("condition", &["condition", "otlp"]),
    ("sampling", &["condition", "config", "otlp", "sampling"]),
    ("tail", &["config", "otlp", "sampling", "settings", "tail"]),
    ("resource", &["condition", "config", "otlp", "resource"]),
    ("trust", &["trust"]),
    ("forward/encode", &["config", "forward", "otlp", "resource", "sampling", "tail"]),
    ("cloud_trace/encode", &["cloud_trace", "config", "otlp", "proto", "resource", "sampling", "tail"]),
];

/// What only an impure room may say.
const IMPURE: [&str; 9] = [
    "Instant::now",
    "SystemTime::now",
    "elapsed()",
    "std::fs",
    "std::net",
    "tokio::net",
    "spawn(",
    "thread::",
    "fastrand",
];

/// The files of a room: `src/room.rs` and everything below `src/room/`, without the tests.
fn files(room: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room);
    let mut files = vec![root.with_extension("rs")];
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        // A room of one file has no folder.
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("a readable folder").path();
            match path.file_stem().and_then(|stem| stem.to_str()) {
                Some("tests") => {}
                Some(_) if path.is_dir() => folders.push(path),
                _ => files.push(path),
            }
        }
    }
    files
}

/// The code lines of a room as `(file:line, text)`.
fn lines(room: &str) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for file in files(room) {
        let text = fs::read_to_string(&file).expect("a room has a file of its name");
        let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        lines.extend(code.map(|(i, line)| (format!("{}:{}", file.display(), i + 1), line.to_owned())));
    }
    lines
}

#[test]
fn pure_rooms_touch_nothing_outside() {
    for (room, _) in PURE_ROOMS {
        for (at, line) in lines(room) {
            let found = IMPURE.iter().find(|word| line.contains(*word));
            assert_eq!(found, None, "{at}: {room} is pure; time, randomness and bytes are arguments: {line}");
        }
    }
}

#[test]
fn pure_rooms_use_only_rooms_further_down() {
    for (room, allowed) in PURE_ROOMS {
        for (at, line) in lines(room) {
            for used in line.split("crate::").skip(1) {
                let name = used.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap_or_default();
                assert!(allowed.contains(&name), "{at}: {room} may use {allowed:?}, not {name:?}: {line}");
            }
        }
    }
}
