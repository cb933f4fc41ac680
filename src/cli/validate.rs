//! `spansieve validate`: reports if a configuration can be used, everything that is wrong with it, and on request the
//! meaning of its policies, the memory that the traffic needs, and the dollars that it costs.

pub(super) mod dollars;
mod estimate;
mod fleet;
mod report;
mod series;
mod trials;
mod watched;

use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::Value;

use super::output::{self, print_error};
use super::source::{self, ConfigSource};
use crate::clock;
use crate::config::{self, ConfigError, Loaded, Settings, ShownSetting};
use crate::sampling::settings::{Policy, Rule, TRACE_SPANS};
use crate::sampling::{Policies, PolicySet};
use crate::settings::diagnostic::printable_text;
use crate::settings::diagnostic::{Position, SettingError};
use crate::terminal::Paint;
use estimate::{Estimate, Rate};
use report::Report;
use series::SeriesCost;
use trials::{ended, trials};
pub use watched::watched;

/// The exit code for a configuration that cannot be used (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// The exit code for a configuration that can be used, but does not pass what was asked of it.
const EXIT_FINDINGS: u8 = 1;

/// The examples of `spansieve validate --help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  spansieve validate config.yaml                      check it; exit code 78 if it is not valid
  spansieve validate config.yaml --strict             exit code 1 if there are warnings, for CI
  spansieve validate config.yaml --explain            say in plain sentences what is kept
  spansieve validate config.yaml --rate 20000         say what memory and money 20,000 spans a second need;
                                                      exit code 1 if the memory is not enough
  spansieve validate config.yaml --rate 20000 --container 2GiB
                                                      the same for a container of another size than this machine
  spansieve validate config.yaml --format json        everything as JSON on standard output";

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// JSON on standard output.
    Json,
}

/// The checks of `validate` beyond the validity of the configuration.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Checks {
    /// Say in plain sentences what each policy and all of them together keep
    #[arg(long)]
    pub explain: bool,
    /// Say what memory and money this many spans a second need; exit code 1 if the memory is not enough
    #[arg(long, value_name = "SPANS_PER_SECOND", value_parser = positive)]
    pub rate: Option<f64>,
    /// With --rate: the bytes of a span in a request [default: 570]
    #[arg(long, value_name = "BYTES", requires = "rate", value_parser = positive)]
    pub bytes_per_span: Option<f64>,
    /// With --rate: the spans of a trace [default: 10]
    #[arg(long, value_name = "SPANS", requires = "rate", value_parser = positive)]
    pub spans_per_trace: Option<f64>,
    /// With --rate: the memory of the container, such as 2GiB [default: that of this machine or container]
    #[arg(long, value_name = "SIZE", requires = "rate", value_parser = config::parse_size)]
    pub container: Option<usize>,
    /// Exit with code 1 if there are warnings
    #[arg(long)]
    pub strict: bool,
    /// The form of the output
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

impl Checks {
    fn traffic(&self) -> Option<Rate> {
        Some(Rate {
            spans_per_second: self.rate?,
            bytes_per_span: self.bytes_per_span.unwrap_or(crate::otlp::SPAN_BYTES as f64),
            spans_per_trace: self.spans_per_trace.unwrap_or(TRACE_SPANS as f64),
            container_bytes: self.container.map(|bytes| bytes as u64),
        })
    }
}

/// Reads a number above 0.
fn positive(text: &str) -> Result<f64, String> {
    let number = text.replace('_', "").parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "write a number above 0, such as 20000".to_owned())
}

/// Checks the configuration in `source` and prints the result.
#[must_use]
pub fn run(source: &ConfigSource, checks: &Checks) -> ExitCode {
    let name = source.to_string();
    let (mut loaded, text) = match read(source) {
        Ok(read) => read,
        Err(unusable) => {
            return unusable.print(&name, checks.format);
        }
    };
    loaded.warnings.extend(ended(&loaded, &text, clock::since_1970().as_secs()));
    loaded.warnings.extend(fleet::warnings(&loaded, &text));
    if config::has_only_tests(&text) {
        let at = Position { line: 1, column: 1, length: 1 };
        loaded.warnings.push(SettingError::new(ONLY_TESTS).help(of_tests(&name)).warning(at));
    }
    loaded.warnings.sort_by_key(|warning| (warning.line, warning.column));
    let report = match report(&loaded, &text, checks) {
        Ok(report) => report,
        Err(error) => {
            return Unusable::Message(format!("{name}: {error}"), None).print(&name, checks.format);
        }
    };
    let fails = report.has_findings() || (checks.strict && !loaded.warnings.is_empty());
    let code = if fails { ExitCode::from(EXIT_FINDINGS) } else { ExitCode::SUCCESS };
    match checks.format {
        Format::Text => {
            warn(&loaded, &text, &name);
            output::print(&report.text(&name), code)
        }
        Format::Json => print_json(&report.json(&name), code),
    }
}

fn report(loaded: &Loaded, text: &str, checks: &Checks) -> Result<Report, String> {
    let settings = &loaded.settings;
    let now_s = clock::since_1970().as_secs();
    let policies = compiled(settings)?;
    let memory = checks.traffic().map(|rate| Estimate::of(settings, &policies, rate, now_s)).transpose();
    Ok(Report {
        summary: summary(settings, now_s),
        trials: [trials(settings, now_s), fleet::changes(settings)].concat(),
        warnings: loaded.warnings.clone(),
        explanation: checks.explain.then(|| config::explain(text, &environment, settings, now_s)),
        memory: memory.map_err(|error| error.to_string())?,
        costs: dollars::costs(&settings.tail_sampling, checks.rate, now_s),
        series: settings.span_metrics.as_ref().map(SeriesCost::of),
    })
}

/// Reads the configuration in `source` with the environment of this process. Writes warnings to standard error, and
/// problems in the form `format`: text to standard error, or JSON to standard output. Returns `None` if the configuration
/// cannot be used.
#[must_use]
pub fn load(source: &ConfigSource, format: Format) -> Option<LoadedText> {
    let name = source.to_string();
    match read(source) {
        Ok((loaded, text)) => {
            warn(&loaded, &text, &name);
            Some(LoadedText { settings: loaded.settings, shown: loaded.shown, text })
        }
        Err(unusable) => {
            // Its exit code is that of the caller.
            let _ = unusable.print(&name, format);
            None
        }
    }
}

/// Reports the problems of the file `name` in the form `format`, as [`load`] does.
pub(super) fn report_problems(problems: ConfigError, name: &str, format: Format) {
    let _ = Unusable::Problems(problems).print(name, format);
}

/// Reports a problem with the file `name` that is not at one place in it, with a remedy if there is one, in the form `format`.
pub(super) fn report_message(message: &str, help: Option<&str>, name: &str, format: Format) {
    let _ = Unusable::Message(message.to_owned(), help.map(str::to_owned)).print(name, format);
}

/// The end of the names of files with tests.
pub(super) const TEST_FILE: &str = ".test.yaml";

const ONLY_TESTS: &str = "there are only tests in it, and no setting";

/// Returns the command that runs the tests in the file `name`.
fn of_tests(name: &str) -> String {
    format!("run the tests: spansieve test --config config.yaml {name}")
}

/// A configuration that can be used, with its text.
#[derive(Debug)]
pub struct LoadedText {
    /// The settings.
    pub settings: Settings,
    /// All settings in force as text.
    pub shown: Vec<ShownSetting>,
    /// The text that they were read from.
    pub text: String,
}

/// The reason why a configuration cannot be used.
enum Unusable {
    /// A message that is not about one place in the file, with a remedy if there is one.
    Message(String, Option<String>),
    Problems(ConfigError),
}

impl Unusable {
    /// Reports it, and returns the exit code.
    fn print(&self, name: &str, format: Format) -> ExitCode {
        let code = ExitCode::from(EXIT_CONFIG);
        match (self, format) {
            (Unusable::Message(message, help), Format::Text) => {
                print_error(&format!("error: {}\n", printable_text(message)));
                help.iter().for_each(|help| print_error(&format!("  = help: {help}\n")));
                code
            }
            (Unusable::Problems(problems), Format::Text) => {
                print_error(&problems.render(name, Paint::stderr()));
                code
            }
            (Unusable::Message(message, help), Format::Json) => {
                print_json(&report::unreadable(name, message, help.as_deref()), code)
            }
            (Unusable::Problems(problems), Format::Json) => {
                let problems: Vec<_> = problems.iter().cloned().collect();
                print_json(&report::invalid(name, &problems), code)
            }
        }
    }
}

/// Reads the configuration in `source`. Returns it with its text.
fn read(source: &ConfigSource) -> Result<(Loaded, String), Unusable> {
    let text = source
        .read()
        .map_err(|error| Unusable::Message(format!("cannot read {source}: {error}"), source.help(&error)))?;
    if source.to_string().ends_with(TEST_FILE) && config::has_only_tests(&text) {
        let message = format!("{source} is a file of tests, not a configuration");
        return Err(Unusable::Message(message, Some(of_tests(&source.to_string()))));
    }
    let loaded = config::load_with_files(&text, &environment, &source::file).map_err(Unusable::Problems)?;
    // The sum of all policies may exceed a limit.
    compiled(&loaded.settings).map_err(|error| Unusable::Message(format!("{source}: {error}"), None))?;
    Ok((loaded, text))
}

fn compiled(settings: &Settings) -> Result<Policies, String> {
    let counted = settings.counted();
    let set = PolicySet { counted: counted.as_ref(), ..settings.tail_sampling.policy_set() };
    Policies::compile_set(set, None).map_err(|error| error.to_string())
}

fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

fn warn(loaded: &Loaded, text: &str, name: &str) {
    print_error(&config::render(&loaded.warnings, text, name, Paint::stderr()));
}

fn print_json(value: &Value, code: ExitCode) -> ExitCode {
    output::print(&(output::printable_json(&format!("{value:#}")) + "\n"), code)
}

/// Returns a line about the policies that count at `now_s`, and about the sink.
fn summary(settings: &Settings, now_s: u64) -> String {
    let is_drop = |policy: &&Policy| matches!(policy.rule, Rule::Drop(_));
    let policies = || settings.tail_sampling.policies.iter().filter(|policy| policy.counts_at(now_s));
    let keeps = names(policies().filter(|policy| !is_drop(policy)));
    let drops = names(policies().filter(is_drop));
    let keeps = if keeps.is_empty() { "keeps nothing".to_owned() } else { format!("keeps by {keeps}") };
    let drops = if drops.is_empty() { String::new() } else { format!("; drops by {drops}") };
    format!("{keeps}{drops}; writes to {}", config::sink(&settings.export.endpoint))
}

/// Returns the column and the length of a word in a line of `text`; those of its first character if it is not there.
fn place_in_line(text: &str, line: usize, word: &str) -> (usize, usize) {
    let written = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    match written.find(word) {
        Some(byte) => (written[..byte].chars().count() + 1, word.chars().count()),
        None => (1, 1),
    }
}

fn names<'a>(policies: impl Iterator<Item = &'a Policy>) -> String {
    policies.map(|policy| policy.name.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
