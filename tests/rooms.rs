//! The rules on crates and modules that the compiler does not check: the use of clocks, files and threads of the
//! standard library, and the dependencies between the modules of one crate. `ARCHITECTURE.md` shows the order
//! that the code has; `SPANSIEVE_WRITE_REFERENCE=1 cargo test --test integration rooms` writes it there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Crates and modules that do no I/O, read no clock, spawn nothing and draw no random number.
const PURE: [&str; 4] = ["crates/otlp/src", "crates/core/src", "src/trust", "src/offline/replay"];

/// Texts that may occur only in code that is not pure.
const IMPURE: [&str; 8] =
    ["Instant::now", "SystemTime::now", "elapsed()", "std::fs", "std::net", "spawn(", "thread::", "fastrand"];

/// The crates with more than one module, from top to bottom, each with its folder of sources.
const CRATES: [(&str, &str); 4] = [
    ("spansieve", "src"),
    ("spansieve-emulator", "crates/emulator/src"),
    ("spansieve-core", "crates/core/src"),
    ("spansieve-otlp", "crates/otlp/src"),
];

/// Files and folders that only tests, fuzzing and benchmarks use.
const TESTS: [&str; 7] = ["tests", "testing", "reference", "simulation", "cost", "samples", "fake"];

const BEGIN: &str = "<!-- written by tests/rooms.rs -->\n";
const END: &str = "<!-- end -->";

/// Names, each with those that it uses.
type Uses = BTreeMap<String, BTreeSet<String>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns true if the file or folder holds code for tests.
fn is_test(path: &Path) -> bool {
    path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| TESTS.contains(&stem))
}

/// Returns the files of the module or crate at `path`: `path.rs` if there is one, and all files below `path/`, without
/// files of tests.
fn files(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = Some(path.with_extension("rs")).into_iter().filter(|file| file.exists()).collect();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        // A module of one file has no folder.
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() && !is_test(&path) {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test(&path) {
                files.push(path);
            }
        }
    }
    files
}

/// Returns the lines of a file without comment lines, as `(file:line, text)`.
fn lines(file: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(file).expect("a readable file");
    let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.map(|(i, line)| (format!("{}:{}", file.display(), i + 1), line.to_owned())).collect()
}

#[test]
fn pure_code_touches_nothing_outside() {
    for pure in PURE {
        let files = files(&root().join(pure));
        assert!(!files.is_empty(), "there is no {pure}");
        for (at, line) in files.iter().flat_map(|file| lines(file)) {
            let found = IMPURE.iter().find(|word| line.contains(*word));
            assert_eq!(found, None, "{at}: {pure} is pure; time, randomness and bytes are arguments: {line}");
        }
    }
}

/// Returns the names of the modules of a crate.
fn modules(source: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(source).expect("a folder of sources").map(|entry| entry.expect("a file").path());
    let modules = entries.filter(|path| path.is_file() && !is_test(path));
    let names = modules.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
    names.filter(|name| name != "lib" && name != "main").collect()
}

/// Returns the modules of the crate that a line of `file` names. `depth` is the number of `super::` from the file to
/// the root of the crate.
fn named(line: &str, depth: usize, modules: &BTreeSet<String>) -> Vec<String> {
    let from_root = ["crate::".to_owned(), "super::".repeat(depth)];
    let mut found = Vec::new();
    for prefix in &from_root {
        for (at, _) in line.match_indices(prefix.as_str()) {
            let longer = line[..at].ends_with("super::") || line[..at].ends_with('$');
            let rest = &line[at + prefix.len()..];
            if longer || rest.starts_with("super::") {
                continue;
            }
            let group = rest.strip_prefix('{').map_or_else(
                || rest.split(|c: char| !c.is_alphanumeric() && c != '_').take(1).collect::<Vec<_>>(),
                |group| group.split(|c: char| !c.is_alphanumeric() && c != '_').collect(),
            );
            found.extend(group.into_iter().filter(|name| modules.contains(*name)).map(str::to_owned));
        }
    }
    found
}

/// Returns the modules of a crate, each with those that it uses.
fn uses(source: &str) -> Uses {
    let source = root().join(source);
    let modules = modules(&source);
    let mut uses = Uses::new();
    for module in &modules {
        let used = uses.entry(module.clone()).or_default();
        for file in files(&source.join(module)) {
            let depth = file.strip_prefix(&source).expect("a file of the crate").components().count();
            for (_, line) in lines(&file) {
                used.extend(named(&line, depth, &modules));
            }
        }
        used.remove(module);
    }
    uses
}

/// Returns the names from top to bottom: each one before all that it uses. Panics if there is a cycle.
fn ordered(uses: &Uses) -> Vec<String> {
    let (mut left, mut order) = (uses.clone(), Vec::new());
    while !left.is_empty() {
        let is_used = |name: &String| left.values().any(|used| used.contains(name));
        let top: Vec<String> = left.keys().filter(|name| !is_used(name)).cloned().collect();
        assert!(!top.is_empty(), "modules use each other in a circle: {left:?}");
        left.retain(|name, _| !top.contains(name));
        order.extend(top);
    }
    order
}

/// Returns the daemon and the crates below it, each with those that its `Cargo.toml` names.
fn crates() -> Uses {
    let mut crates = Uses::new();
    let folders = fs::read_dir(root().join("crates")).expect("crates").map(|entry| entry.expect("a folder").path());
    for folder in folders.chain([root().to_owned()]) {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
        let manifest = format!("\n{manifest}");
        let section = |name: &str| manifest.split(&format!("\n[{name}]\n")).nth(1).map(|rest| rest.split("\n[").next());
        let name = section("package").flatten().expect("a package").lines().next().expect("a name");
        let name = name.trim_start_matches("name = ").trim_matches('"').to_owned();
        let dependencies = section("dependencies").flatten().unwrap_or_default().lines();
        let own = dependencies
            .filter(|line| !line.contains("optional"))
            .filter_map(|line| line.split(['.', ' ']).next())
            .filter(|name| name.starts_with("spansieve"));
        crates.insert(name, own.map(str::to_owned).collect());
    }
    crates
}

/// Writes the tables of the crates and of the modules of each crate. In each table, all that a row uses stands below it.
fn described() -> String {
    let mut out = String::from(BEGIN);
    table(&mut out, "crate", &crates());
    for (name, source) in CRATES {
        table(&mut out, &format!("module of `{name}`"), &uses(source));
    }
    out + "\n" + END
}

fn table(out: &mut String, head: &str, uses: &Uses) {
    write!(out, "\n| {head} | uses |\n| --- | --- |\n").expect("memory");
    for name in ordered(uses) {
        let used: Vec<String> = uses[&name].iter().map(|used| format!("`{used}`")).collect();
        let used = if used.is_empty() { "none of these".to_owned() } else { used.join(", ") };
        writeln!(out, "| `{name}` | {used} |").expect("memory");
    }
}

#[test]
fn the_document_shows_the_order_of_crates_and_modules() {
    let path = root().join("ARCHITECTURE.md");
    let text = fs::read_to_string(&path).expect("ARCHITECTURE.md");
    let (before, rest) = text.split_once(BEGIN).expect("the begin of the tables");
    let (_, after) = rest.split_once(END).expect("the end of the tables");
    let expected = format!("{before}{}{after}", described());
    if std::env::var_os("SPANSIEVE_WRITE_REFERENCE").is_some() {
        fs::write(&path, &expected).expect("ARCHITECTURE.md can be written");
    }
    assert_eq!(text, expected, "SPANSIEVE_WRITE_REFERENCE=1 cargo test --test integration rooms writes the tables");
}

#[test]
#[should_panic(expected = "in a circle")]
fn a_cycle_is_found() {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let uses = [("a", names(&["b"])), ("b", names(&["c"])), ("c", names(&["b"]))];
    ordered(&uses.map(|(name, used)| (name.to_owned(), used)).into());
}

#[test]
fn every_file_of_tests_is_part_of_a_program() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let programs = manifest.split("[[test]]\nname = \"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut parts: BTreeSet<String> = BTreeSet::new();
    for program in programs {
        let text = fs::read_to_string(root().join(format!("tests/{program}.rs"))).expect("a program");
        parts.insert(program.to_owned());
        parts.extend(text.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).map(str::to_owned));
    }
    assert_eq!(modules(&root().join("tests")), parts, "tests/integration.rs names the files of tests as modules");
}
