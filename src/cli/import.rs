//! `spansieve import`: prints a Collector's configuration, or Refinery's rules, as a configuration of Spansieve.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::output::{self, print_error};
use super::source::{self, ConfigSource};
use super::validate::{self, EXIT_CONFIG, report_message, report_problems};
use crate::import::{ForeignKind, Imported, import};
use crate::terminal::Paint;

/// Examples for the end of the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  spansieve import otelcol.yaml > config.yaml            the Collector's configuration, as one of Spansieve
  spansieve import rules.yaml --environment production   Refinery's rules for that environment
  spansieve import - < otelcol.yaml                      the same from standard input
  spansieve import otelcol.yaml --format json | jq .not_carried
  spansieve validate config.yaml                         check what you have changed in the result

What could not be carried, and why, is on standard error, and in comments at the end of the result.
Exit codes: 0, 1 (cannot print), 78 (neither a Collector's configuration nor Refinery's rules).";

/// The arguments of `import`.
#[derive(Clone, Debug, clap::Args)]
pub struct Import {
    /// The Collector's configuration, or Refinery's rules; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The environment (or dataset) whose rules are imported, of Refinery's rules; `__default__` if absent
    #[arg(long, value_name = "NAME")]
    pub environment: Option<String>,
    /// The form of the output: the configuration, or JSON with the configuration and what became of each key
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    pub format: Format,
}

/// A form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The configuration on standard output, the report on standard error.
    Text,
    /// Both as one JSON object on standard output.
    Json,
}

impl From<Format> for validate::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => validate::Format::Text,
            Format::Json => validate::Format::Json,
        }
    }
}

/// Imports a file, and prints the result and the report.
#[must_use]
pub fn run(arguments: &Import) -> ExitCode {
    let source = ConfigSource::of(Some(&arguments.file));
    let name = source.to_string();
    let paint = Paint::stderr();
    let text = match source.read() {
        Ok(text) => text,
        Err(error) => {
            report_message(&format!("cannot read {name}: {error}"), Some(HELP), &name, arguments.format.into());
            return EXIT_CONFIG.into();
        }
    };
    let imported = match import(&text, &name, arguments.environment.as_deref(), &source::file) {
        Ok(imported) => imported,
        Err(problems) => {
            report_problems(problems, &name, arguments.format.into());
            return EXIT_CONFIG.into();
        }
    };
    let text = match arguments.format {
        Format::Text => {
            print_error(&imported.report.render(&name, paint));
            print_error(&to_set(&imported, &name));
            imported.text
        }
        Format::Json => output::printable_json(&format!("{:#}", as_json(&imported))) + "\n",
    };
    output::print(&text, ExitCode::SUCCESS)
}

const HELP: &str = "name a Collector's configuration or Refinery's rules, or `-` for standard input";

/// Returns the line about variables without a default, which must be set before the result can be used.
fn to_set(imported: &Imported, name: &str) -> String {
    if imported.variables.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = imported.variables.iter().map(|(name, _)| name.as_str()).collect();
    format!("{name}: set these environment variables for the result: {}\n", names.join(", "))
}

fn as_json(imported: &Imported) -> Value {
    let kind = match imported.kind {
        ForeignKind::Collector => "collector",
        ForeignKind::Refinery => "refinery",
    };
    let variables: Vec<&str> = imported.variables.iter().map(|(name, _)| name.as_str()).collect();
    let mut json = json!({"kind": kind, "configuration": imported.text, "variables": variables});
    if let (Value::Object(json), Value::Object(report)) = (&mut json, imported.report.json()) {
        json.extend(report);
    }
    json
}
