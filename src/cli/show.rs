//! `spansieve config show`: the settings that are in force with a configuration, each with its origin.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use super::source::ConfigSource;
use super::validate::{EXIT_CONFIG, Format, load};
use super::{Config, output};
use crate::api::answers::{ConfigAnswer, SettingAnswer, ValueAnswer};
use crate::settings::diagnostic;
use crate::terminal::Paint;

const EXAMPLES: &str = "\
Examples:
  spansieve config show config.yaml                           each setting, its value and where it comes from
  spansieve config show --config config.yaml --format json    the same for programs
  spansieve config show config.yaml | grep -v '(default)'     only what the file says

Values of the environment are filled in, and secrets are masked. `GET /api/config` has the same of a running daemon.";

/// The arguments of `config show`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ShowArgs {
    /// The same as --config FILE
    #[arg(value_name = "FILE", conflicts_with = "config")]
    pub file: Option<PathBuf>,
    /// The configuration file.
    #[command(flatten)]
    pub config: Config,
    /// The form of the output
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
}

/// Prints the settings, or everything that is wrong with the configuration.
#[must_use]
pub fn run(args: &ShowArgs) -> ExitCode {
    let source = ConfigSource::of(args.file.as_deref().or(args.config.config.as_deref()));
    let Some(loaded) = load(&source, args.format) else { return ExitCode::from(EXIT_CONFIG) };
    let answer = ConfigAnswer::new(source.to_string(), &loaded.shown);
    let text = match args.format {
        Format::Text => text(&answer, Paint::stdout()),
        // A value with strings as keys can always be written.
        Format::Json => output::printable_json(&serde_json::to_string_pretty(&answer).unwrap_or_default()) + "\n",
    };
    output::print(&text, ExitCode::SUCCESS)
}

/// Returns a line for each setting.
fn text(answer: &ConfigAnswer, paint: Paint) -> String {
    let mut text = String::new();
    for setting in &answer.settings {
        let origin = paint.with(Paint::DIM, &format!("({})", origin(setting, &answer.source)));
        // Writing to a string does not fail.
        let _ = writeln!(text, "{} = {}  {origin}", setting.key, value(&setting.value));
    }
    text
}

fn origin(setting: &SettingAnswer, source: &str) -> String {
    match (setting.line, setting.origin.as_str()) {
        (Some(line), "environment") => format!("{source}:{line}, environment"),
        (Some(line), _) => format!("{source}:{line}"),
        (None, origin) => origin.to_owned(),
    }
}

fn value(value: &ValueAnswer) -> String {
    match value {
        ValueAnswer::Nothing(()) => "none".to_owned(),
        ValueAnswer::Bool(value) => value.to_string(),
        ValueAnswer::Number(number) => number.to_string(),
        ValueAnswer::Text(text) => printable(text),
        ValueAnswer::List(items) => {
            format!("[{}]", items.iter().map(|item| printable(item)).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Returns a text on one line, in quotes if it would be read in another way without them.
fn printable(text: &str) -> String {
    let needs_quotes = text.is_empty() || text == "none" || text.contains([',', '[', ']', '"', '\\']);
    if needs_quotes || text.chars().any(|c| diagnostic::printable(c) != c) {
        format!("{text:?}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests;
