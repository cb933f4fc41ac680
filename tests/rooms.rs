//! Pure modules stay pure, and use only the modules that `ARCHITECTURE.md` allows.
#![allow(clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Modules of the daemon that do no I/O, read no clock, spawn nothing and draw no random number, each with the modules
/// that it may use.
const PURE_MODULES: [(&str, &[&str]); 2] =
    [("trust", &["settings", "trust"]), ("offline/replay", &["budget", "otlp", "sampling", "tail"])];

/// Crates that are pure as a whole: their folders of sources. The compiler checks what they use.
const PURE_CRATES: [&str; 2] = ["crates/otlp/src", "crates/core/src"];

/// Texts that may occur only in modules that are not pure.
const IMPURE: [&str; 10] = [
    "Instant::now",
    "SystemTime::now",
    "crate::clock",
    "elapsed()",
    "std::fs",
    "std::net",
    "tokio::net",
    "spawn(",
    "thread::",
    "fastrand",
];

/// Returns the files of the module or crate at `path`: `path.rs` if there is one, and all files below `path/`, without
/// tests.
fn files(path: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let mut files: Vec<_> = Some(root.with_extension("rs")).into_iter().filter(|file| file.exists()).collect();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        // A module of one file has no folder.
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("a readable folder").path();
            match path.file_stem().and_then(|stem| stem.to_str()) {
                Some("tests" | "testing" | "reference") => {}
                Some(_) if path.is_dir() => folders.push(path),
                _ => files.push(path),
            }
        }
    }
    files
}

/// Returns the lines of a module or crate without comment lines, as `(file:line, text)`.
fn lines(path: &str) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for file in files(path) {
        let text = fs::read_to_string(&file).expect("a readable file");
        let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        lines.extend(code.map(|(i, line)| (format!("{}:{}", file.display(), i + 1), line.to_owned())));
    }
    lines
}

#[test]
fn pure_modules_touch_nothing_outside() {
    let modules = PURE_MODULES.iter().map(|(module, _)| format!("src/{module}"));
    for pure in modules.chain(PURE_CRATES.map(str::to_owned)) {
        let lines = lines(&pure);
        assert!(!lines.is_empty(), "there is no {pure}");
        for (at, line) in lines {
            let found = IMPURE.iter().find(|word| line.contains(*word));
            assert_eq!(found, None, "{at}: {pure} is pure; time, randomness and bytes are arguments: {line}");
        }
    }
}

#[test]
fn pure_modules_use_only_modules_further_down() {
    for (module, allowed) in PURE_MODULES {
        for (at, line) in lines(&format!("src/{module}")) {
            for used in line.split("crate::").skip(1) {
                let name = used.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap_or_default();
                assert!(allowed.contains(&name), "{at}: {module} may use {allowed:?}, not {name:?}: {line}");
            }
        }
    }
}
