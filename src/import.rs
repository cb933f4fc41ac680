//! `spansieve import`: a Collector's configuration, or Refinery's rules, as a configuration of Spansieve.
//!
//! A file is read into the tree of [`crate::settings::node`] and recognized (`kind`). `collector` and `refinery` each make a
//! `draft::Draft` of it: the keys of Spansieve, each with the place that it comes from. `settle` then reads the draft
//! with Spansieve's own reader, takes out what that refuses, and reports why. So a result can always be used. The
//! `report` names everything that was carried, that means something else here, that is not needed, and that is lost;
//! `unread` adds to it the keys that no other code has read.
//! Does no I/O: files that a setting names are read by the caller's function.
//!
//! Invariant: the time and the memory for a file are linear in its bytes with every alias written out, which are bounded
//! (`foreign`).

mod collector;
mod draft;
mod foreign;
mod kind;
mod refinery;
mod report;
mod scalar;
mod settle;
#[cfg(test)]
mod tests;
mod unread;

use crate::config::{ConfigError, Diagnostic, Files, foreign_tree};
use crate::settings::diagnostic::{Position, SettingError};

pub use kind::ForeignKind;
pub use report::{Finding, Outcome, Report};

/// A configuration that was imported.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The program that the file was written for.
    pub kind: ForeignKind,
    /// The configuration as YAML text, with comments. It can be used as it is, once its `variables` are set.
    pub text: String,
    /// The environment variables without a default that the configuration refers to, each with a value with which the
    /// configuration can be used.
    pub variables: Vec<(String, &'static str)>,
    /// The parts of the file that were carried, and those that were not.
    pub report: Report,
}

/// Imports `text`, which messages and comments call `name`. Of Refinery's rules those of `environment` are imported.
///
/// # Errors
/// The text is not YAML, exceeds a limit, or is neither a Collector's configuration nor Refinery's rules.
pub fn import(text: &str, name: &str, environment: Option<&str>, files: Files<'_>) -> Result<Imported, ConfigError> {
    let refuse = |problem: Diagnostic| ConfigError::of(text, problem);
    let tree = foreign_tree(text)?.ok_or_else(|| refuse(empty()))?;
    foreign::refuse_too_long(&tree).map_err(refuse)?;
    let (kind, root) = kind::recognize(&tree).map_err(refuse)?;
    let mut report = Report::default();
    let draft = match kind {
        ForeignKind::Collector => collector::draft(&root, &mut report).map_err(refuse)?,
        ForeignKind::Refinery => refinery::draft(&root, environment, &mut report).map_err(refuse)?,
    };
    let settled = settle::settle(draft, &mut report, (kind, &root), name, files).map_err(refuse)?;
    Ok(Imported { kind, text: settled.text, variables: settled.variables, report })
}

fn empty() -> Diagnostic {
    let start = Position { line: 1, column: 1, length: 1 };
    SettingError::new("the file is empty").help("name a Collector's configuration, or Refinery's rules").error(start)
}
