//! YAML to validated settings: every problem at once, each with line, column, snippet and what to write instead.
//!
//! Text becomes a tree that keeps positions (`document`), readers walk the tree section by section (`read`) and
//! collect what is wrong. Reads no clock, no file and no environment, and opens no socket.

use std::io;
use std::rc::Rc;

mod error;
mod explain;
mod keys;
mod read;
#[cfg(test)]
mod reference;
mod schema;
mod secrets;
pub mod settings;
#[cfg(test)]
mod tests;

use crate::policy_tests::TestFile;
pub use crate::settings::Files;
pub use crate::settings::diagnostic::{Diagnostic, Severity};
use crate::settings::environment::EnvironmentValues;
use crate::settings::node::{Node, NodeValue};
use crate::settings::shown::ShownSection;
pub use crate::settings::shown::{Origin, ShownSetting, ShownValue};
use crate::settings::{Declared, document, units};
pub use error::{ConfigError, render};
pub use explain::Explanation;
pub(crate) use explain::sink;
pub use settings::Settings;

/// Problems that are shown; further ones are only counted, because the first ones are corrected first.
const PROBLEM_COUNT_MAX: usize = 100;

/// A valid configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Warnings about settings that do not mean what they seem to mean, from top to bottom. [`render`] shows them.
    pub warnings: Vec<Diagnostic>,
    /// All settings in force as text, each with its origin, and with secrets masked.
    pub shown: Vec<ShownSetting>,
}

/// Reads a configuration that names no files. Empty text gives the defaults; `env` looks up environment variables for
/// `${env:NAME}`.
///
/// # Errors
/// All problems of the configuration, including warnings.
pub fn load(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, ConfigError> {
    load_with_files(text, env, &|_| Err(io::ErrorKind::NotFound.into()))
}

/// Does the same as [`load`] for a configuration that names `files`.
///
/// # Errors
/// All problems of the configuration and of the files, including warnings.
pub fn load_with_files(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    files: Files<'_>,
) -> Result<Loaded, ConfigError> {
    let mut shown = Vec::new();
    let (settings, warnings) = read_file(text, env, |mut root, problems| {
        // Nothing else refers to the root: an alias within its target is an error.
        if let Some(root) = root.as_mut().and_then(Rc::get_mut) {
            read::rename_sections(root, problems);
        }
        let settings = read::settings(root.as_deref(), files, problems);
        settings.show(&mut ShownSection::top(&keys::declared(), root.as_deref(), &mut shown));
        settings
    })?;
    Ok(Loaded { settings, warnings, shown })
}

/// Reads a file with policy tests, and the warnings about it. `env` looks up environment variables for `${env:NAME}`.
///
/// # Errors
/// All problems of the file, including warnings.
pub fn load_tests(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(TestFile, Vec<Diagnostic>), ConfigError> {
    read_file(text, env, |root, problems| read::test_file(root.as_deref(), problems))
}

/// Reads a file whose tree `read` turns into a value. Returns the value and the warnings.
fn read_file<T: Default>(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    read: impl FnOnce(Option<Rc<Node>>, &mut Vec<Diagnostic>) -> T,
) -> Result<(T, Vec<Diagnostic>), ConfigError> {
    let mut problems = Vec::new();
    let mut of_environment = EnvironmentValues::default();
    let value = match document::parse(text, Some(env), &mut problems) {
        Ok(root) => {
            of_environment = root.as_deref().map(EnvironmentValues::of).unwrap_or_default();
            read(root, &mut problems)
        }
        Err(problem) => {
            problems.push(problem);
            T::default()
        }
    };
    problems.sort_by_key(|problem| (problem.line, problem.column));
    let usable = problems.iter().all(|problem| problem.severity == Severity::Warning);
    cap(&mut problems);
    problems.iter_mut().for_each(|problem| of_environment.hide_in(problem));
    if usable { Ok((value, problems)) } else { Err(ConfigError { text: text.to_owned(), problems }) }
}

/// Returns the configuration `text`, from which `settings` were read without an error, in plain sentences that are true at
/// `now_s`, in seconds since 1970.
#[must_use]
pub fn explain(text: &str, env: &dyn Fn(&str) -> Option<String>, settings: &Settings, now_s: u64) -> Explanation {
    explain::explanation(text, env, settings, now_s)
}

/// Returns the tree of a file of another program, in which references to the environment stay as they are written; `None`
/// if the text is empty.
///
/// # Errors
/// The text is not valid YAML, or exceeds a limit.
pub(crate) fn foreign_tree(text: &str) -> Result<Option<Rc<Node>>, ConfigError> {
    let mut problems = Vec::new();
    let root = document::parse(text, None, &mut problems).unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    cap(&mut problems);
    if problems.is_empty() { Ok(root) } else { Err(ConfigError { text: text.to_owned(), problems }) }
}

/// Returns true if `text` has tests and nothing else, as files with policy tests do.
#[must_use]
pub fn has_only_tests(text: &str) -> bool {
    let root = document::parse(text, None, &mut Vec::new()).ok().flatten();
    match root.as_deref().map(|root| &root.value) {
        Some(NodeValue::Map(entries)) => !entries.is_empty() && entries.iter().all(|(key, _)| key.name == "tests"),
        _ => false,
    }
}

/// Returns the JSON Schema of configurations, as `docs/config.schema.json` has it.
#[must_use]
pub fn schema() -> String {
    format!("{:#}\n", schema::schema("Configuration of Spansieve", &keys::declared()))
}

/// Returns the JSON Schema of files with policy tests, as `docs/tests.schema.json` has it.
#[must_use]
pub fn test_schema() -> String {
    format!("{:#}\n", schema::schema("Policy tests of Spansieve", &keys::declared_by::<TestFile>()))
}

/// Reads a duration such as `60s` from a command line, in the form that the configuration uses.
///
/// # Errors
/// The problem in words.
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    match units::duration(text) {
        Ok(duration) if duration.is_zero() => Err("it is not longer than 0s".to_owned()),
        Ok(duration) => Ok(duration),
        Err(fault) => Err(format!("{}: write it like `60s`, `5m` or `1h30m`", fault.message)),
    }
}

/// Reads a size such as `256MiB` from a command line, in the form that the configuration uses.
///
/// # Errors
/// The problem in words.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let bytes = units::bytes(text).map_err(|fault| fault.message)?;
    usize::try_from(bytes).map_err(|_| "more than this machine can address".to_owned())
}

/// Replaces the problems that are too many by one that tells their number.
fn cap(problems: &mut Vec<Diagnostic>) {
    let left_off = problems.len().saturating_sub(PROBLEM_COUNT_MAX);
    problems.truncate(PROBLEM_COUNT_MAX);
    if let Some(last) = problems.last().filter(|_| left_off > 0) {
        let message = format!("{left_off} more problems are not shown");
        problems.push(Diagnostic { message, help: None, ..last.clone() });
    }
}
