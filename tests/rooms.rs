//! Pure modules stay pure, and use only the modules that `ARCHITECTURE.md` allows.
#![allow(clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Modules that do no I/O, read no clock, spawn nothing and draw no random number, each with the modules that it may
/// use.
const PURE_MODULES: [(&str, &[&str]); 10] = [
    ("budget", &["budget"]),
    ("settings", &["settings", "trust"]),
    ("otlp", &["otlp", "proto"]),
    ("condition", &["condition", "otlp", "settings"]),
    ("sampling", &["condition", "otlp", "sampling", "settings"]),
    ("tail", &["budget", "otlp", "sampling", "settings", "tail"]),
    ("resource", &["condition", "otlp", "resource", "settings"]),
    ("trust", &["trust"]),
    ("forward/encode", &["forward", "otlp", "resource", "sampling", "tail"]),
    ("cloud_trace/encode", &["cloud_trace", "otlp", "proto", "resource", "sampling", "tail"]),
];

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

/// Returns the files of a module: `src/module.rs` and all files below `src/module/`, without tests.
fn files(module: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(module);
    let mut files = vec![root.with_extension("rs")];
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        // A module of one file has no folder.
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

/// Returns the lines of a module without comment lines, as `(file:line, text)`.
fn lines(module: &str) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for file in files(module) {
        let text = fs::read_to_string(&file).expect("a module has a file of its name");
        let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        lines.extend(code.map(|(i, line)| (format!("{}:{}", file.display(), i + 1), line.to_owned())));
    }
    lines
}

#[test]
fn pure_modules_touch_nothing_outside() {
    for (module, _) in PURE_MODULES {
        for (at, line) in lines(module) {
            let found = IMPURE.iter().find(|word| line.contains(*word));
            assert_eq!(found, None, "{at}: {module} is pure; time, randomness and bytes are arguments: {line}");
        }
    }
}

#[test]
fn pure_modules_use_only_modules_further_down() {
    for (module, allowed) in PURE_MODULES {
        for (at, line) in lines(module) {
            for used in line.split("crate::").skip(1) {
                let name = used.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap_or_default();
                assert!(allowed.contains(&name), "{at}: {module} may use {allowed:?}, not {name:?}: {line}");
            }
        }
    }
}
