//! The tests that run: those of the configuration and of the files that belong to it, or those of files that are named.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::cli::output::print_error;
use crate::cli::source::{BUILT_IN_TESTS, ConfigSource};
use crate::cli::validate::{Format, TEST_FILE, report_message, report_problems};
use crate::config::{self, Settings};
use crate::policy_tests::PolicyTest;
use crate::terminal::Paint;

/// The ends of the names of configurations.
const CONFIGURATIONS: [&str; 2] = [".yaml", ".yml"];

/// Tests of one file.
pub(super) struct Suite {
    pub(super) name: String,
    /// The directory from which the tests name files.
    pub(super) directory: PathBuf,
    pub(super) tests: Vec<PolicyTest>,
}

/// Returns the tests to run; `None` if there are none, or if they cannot be read. Problems are reported in the form
/// `format`.
pub(super) fn suites(
    files: &[PathBuf],
    source: &ConfigSource,
    settings: &Settings,
    format: Format,
) -> Option<Vec<Suite>> {
    if files.is_empty() { of_configuration(source, settings, format) } else { named(files, source, format) }
}

/// Returns the tests in these files. Each file has some.
fn named(files: &[PathBuf], source: &ConfigSource, format: Format) -> Option<Vec<Suite>> {
    let sources: Vec<ConfigSource> = files.iter().map(|path| ConfigSource::of(Some(path))).collect();
    if sources.iter().chain([source]).filter(|source| **source == ConfigSource::Stdin).count() > 1 {
        let fault = "standard input is named twice, and can be read once";
        report_message(fault, Some("write the other one to a file"), &source.to_string(), format);
        return None;
    }
    let suites: Option<Vec<Suite>> = sources.iter().map(|source| read(source, format)).collect();
    let suites = suites?;
    let empty: Vec<&Suite> = suites.iter().filter(|suite| suite.tests.is_empty()).collect();
    for suite in &empty {
        let fault = format!("{}: there are no tests in it", suite.name);
        report_message(&fault, Some("write them under `tests:`"), &suite.name, format);
    }
    empty.is_empty().then_some(suites)
}

/// Returns the tests of the configuration, and of the files that belong to it.
fn of_configuration(source: &ConfigSource, settings: &Settings, format: Format) -> Option<Vec<Suite>> {
    let directory = match source {
        ConfigSource::File(path) => directory_of(path),
        ConfigSource::Stdin | ConfigSource::BuiltIn => PathBuf::new(),
    };
    let mut suites = vec![Suite { name: source.to_string(), directory, tests: settings.tests.clone() }];
    let mut foreign = Vec::new();
    match source {
        ConfigSource::File(path) => {
            let own;
            (own, foreign) = beside(path);
            for path in own {
                suites.push(read(&ConfigSource::File(path), format)?);
            }
        }
        ConfigSource::BuiltIn => suites.push(suite("built-in tests", PathBuf::new(), BUILT_IN_TESTS, format)?),
        ConfigSource::Stdin => {}
    }
    if suites.iter().all(|suite| suite.tests.is_empty()) {
        let names: Vec<&str> = suites.iter().map(|suite| suite.name.as_str()).collect();
        let mut help =
            format!("write them under `tests:` in the configuration, or in a file NAME{TEST_FILE} beside it");
        if let Some(first) = foreign.first() {
            let first = first.display();
            help +=
                &format!("; {first} belongs to another configuration: `test --config F {first}` runs it all the same");
        }
        let fault = format!("{}: there are no tests", names.join(", "));
        report_message(&fault, Some(&help), &source.to_string(), format);
        return None;
    }
    Some(suites)
}

/// Returns the files with tests beside a configuration, by name: its own, and those of other configurations.
fn beside(configuration: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let directory = directory_of(configuration);
    let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
    let entries = std::fs::read_dir(listed).into_iter().flatten().flatten();
    let names: BTreeSet<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let own = configuration.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let tests = names.iter().filter(|name| name.ends_with(TEST_FILE));
    let (own, foreign): (Vec<&String>, Vec<&String>) = tests.partition(|test| belongs(test, own, &names));
    let paths = |names: Vec<&String>| names.into_iter().map(|name| directory.join(name)).collect();
    (paths(own), paths(foreign))
}

/// Returns true if the file `test` belongs to the configuration `own`: `a.b.test.yaml` belongs to `a.b.yaml`, or without
/// that to `a.yaml`, or without both to every configuration beside it. `names` are those of all files beside it.
fn belongs(test: &str, own: &str, names: &BTreeSet<String>) -> bool {
    let mut stem = test.strip_suffix(TEST_FILE);
    while let Some(name) = stem {
        let mut owners =
            CONFIGURATIONS.map(|end| format!("{name}{end}")).into_iter().filter(|owner| names.contains(owner));
        if let Some(first) = owners.next() {
            return first == own || owners.any(|owner| owner == own);
        }
        stem = name.rsplit_once('.').map(|(before, _)| before);
    }
    true
}

fn directory_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

/// Reads a file with tests.
fn read(source: &ConfigSource, format: Format) -> Option<Suite> {
    let directory = match source {
        ConfigSource::File(path) => directory_of(path),
        ConfigSource::Stdin | ConfigSource::BuiltIn => PathBuf::new(),
    };
    let text = source.read().map_err(|error| {
        let help = match error.kind() {
            ErrorKind::NotFound => Some("is the path right?".to_owned()),
            ErrorKind::IsADirectory => Some(format!("name the files in it, such as {source}/*{TEST_FILE}")),
            _ => source.help(&error),
        };
        let fault = format!("cannot read {source}: {error}");
        report_message(&fault, help.as_deref(), &source.to_string(), format);
    });
    suite(&source.to_string(), directory, &text.ok()?, format)
}

/// Reads the text of a file with tests.
fn suite(name: &str, directory: PathBuf, text: &str, format: Format) -> Option<Suite> {
    match config::load_tests(text, &|variable| std::env::var(variable).ok()) {
        Ok((file, warnings)) => {
            print_error(&config::render(&warnings, text, name, Paint::stderr()));
            Some(Suite { name: name.to_owned(), directory, tests: file.tests })
        }
        Err(problems) => {
            report_problems(problems, name, format);
            None
        }
    }
}

#[cfg(test)]
mod tests;
