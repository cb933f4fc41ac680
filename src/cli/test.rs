//! `spansieve test`: runs the tests of the policies of a configuration.

mod suites;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use self::suites::{Suite, suites};
use super::Config;
use super::output;
use super::progress::Progress;
use super::validate::{self, EXIT_CONFIG, report_message};
use crate::offline::input;
use crate::offline::render::TraceView;
use crate::offline::test_runs::report::{Report, ReportedTest};
use crate::offline::test_runs::{Coverage, FileTraces, Runner, TestHost};
use crate::policy_tests::PolicyTest;
use crate::settings::suggest::did_you_mean;
use crate::settings::units::grouped;
use crate::terminal::Paint;

const EXAMPLES: &str = "\
Examples:
  spansieve test                                   the tests of ./config.yaml, and those in *.test.yaml beside it
  spansieve test --config deploy/config.yaml       those of another configuration
  spansieve test --config c.yaml tests/*.yaml      only the tests in these files, for that configuration
  make-tests | spansieve test --config c.yaml -    those on standard input
  spansieve test --coverage                        also: the conditions that no test has made true, or none false
  spansieve test --format junit > results.xml      for CI systems

A test is a trace and what must become of it:

  tests:
    - name: a 504 is kept although no status is set
      trace: |
        api  GET /cart    120ms  http.response.status_code=504
          db  SELECT cart  80ms
      expect: {verdict: kept, policy: errors}

Without FILE, `shop.test.yaml` is left out if it belongs to another configuration: if `shop.yaml` is beside it and is not
the one that is tested.

docs/policy-tests.md has the language. The exit code is 0, 1 if a test fails, 2 if an argument is wrong, and 78 if the
configuration, a test, or a file that a test names cannot be read.";

/// The arguments of `test`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Files with tests, in place of those in the configuration and beside it; `-` is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The configuration file.
    #[command(flatten)]
    config: Config,
    /// Report the policies and conditions that no test has made true, and those that none has made false
    #[arg(long)]
    coverage: bool,
    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// The form of the output of `test`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// The XML of JUnit, for CI systems
    Junit,
}

impl From<Format> for validate::Format {
    fn from(format: Format) -> Self {
        match format {
            // JUnit has no form for a file that cannot be read.
            Format::Text | Format::Junit => validate::Format::Text,
            Format::Json => validate::Format::Json,
        }
    }
}

/// Runs the tests.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let source = arguments.config.source();
    let format = arguments.format.into();
    let Some(loaded) = validate::load(&source, format) else { return ExitCode::from(EXIT_CONFIG) };
    let suites = suites(&arguments.files, &source, &loaded.settings, format);
    let Some(suites) = suites else { return ExitCode::from(EXIT_CONFIG) };
    let runner = match Runner::new(&loaded.settings) {
        Ok(runner) => runner,
        Err(error) => {
            report_message(&format!("{source}: {error}"), None, &source.to_string(), format);
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if suites.iter().filter(|suite| !names_known_policies(suite, &runner, format)).count() > 0 {
        return ExitCode::from(EXIT_CONFIG);
    }
    let results = play(&suites, &runner, arguments.coverage);
    let text = match arguments.format {
        Format::Text => results.text(Paint::stdout()),
        Format::Json => output::printable_json(&format!("{:#}\n", results.json())),
        Format::Junit => results.junit(),
    };
    let code = match (results.has_unreadable_file(), results.failed()) {
        (true, _) => ExitCode::from(EXIT_CONFIG),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::FAILURE,
    };
    output::print(&text, code)
}

/// Reports the tests that expect a policy that the configuration does not have. Returns true if there are none.
fn names_known_policies(suite: &Suite, runner: &Runner<'_>, format: validate::Format) -> bool {
    let names = runner.policy_names();
    let expected = suite.tests.iter().filter_map(|test| test.keys.expect.policy.as_ref());
    let unknown = expected.filter(|expected| !names.contains(&expected.name));
    unknown.fold(true, |_, unknown| {
        let place = format!("{}:{}:{}", suite.name, unknown.at.line, unknown.at.column);
        let known = names.iter().map(String::as_str);
        let help = did_you_mean(&unknown.name, known).unwrap_or_else(|| format!("policies: {}", names.join(", ")));
        let fault = format!("{place}: the configuration has no policy `{}`", unknown.name);
        report_message(&fault, Some(&help), &suite.name, format);
        false
    })
}

fn play(suites: &[Suite], runner: &Runner<'_>, with_coverage: bool) -> Report {
    let count: usize = suites.iter().map(|suite| suite.tests.len()).sum();
    let progress = Progress::begin();
    let mut coverage = with_coverage.then(|| Coverage::new(&runner.covered(), runner.parts()));
    let mut tests: Vec<ReportedTest> = Vec::with_capacity(count);
    for suite in suites {
        let read = |file: &Path| Progress::during("reading a file", || traces(&suite.directory.join(file)));
        for test in &suite.tests {
            let done = tests.len();
            let show = |played: u64, all: u64| {
                progress
                    .show(|| format!("test {} of {count}: {} of {} requests", done + 1, grouped(played), grouped(all)));
            };
            let host = TestHost { read: &read, progress: &show };
            tests.push(play_one(suite, test, runner, host, coverage.as_mut()));
        }
    }
    Report { tests, coverage, is_dry_run: runner.tail_sampling().dry_run }
}

fn play_one(
    suite: &Suite,
    test: &PolicyTest,
    runner: &Runner<'_>,
    host: TestHost<'_>,
    coverage: Option<&mut Coverage>,
) -> ReportedTest {
    let start = Instant::now();
    let result = runner.run(test, host);
    let mut reported = ReportedTest {
        file: suite.name.clone(),
        line: test.at.line,
        name: test.keys.name.clone(),
        failures: result.failures,
        has_unreadable_file: result.has_unreadable_file,
        trace_text: None,
        trace_json: None,
        traces: result.traces,
        took: start.elapsed(),
    };
    if reported.failures.is_empty() && coverage.is_none() {
        return reported;
    }
    // The test runs again, and traces are inspected this time.
    let Ok(policies) = runner.policies() else { return reported };
    if let Some(coverage) = coverage {
        coverage.add(&runner.inspect(test, None, host), runner.parts());
    }
    if result.failed_trace.is_some()
        && let Some(failed) = runner.inspect(test, result.failed_trace, host).first()
    {
        let (tail_sampling, parts) = (runner.tail_sampling(), runner.parts());
        let view = TraceView { tail_sampling, policies: &policies, parts, paint: Paint::PLAIN };
        (reported.trace_text, reported.trace_json) = (Some(view.text(failed)), Some(view.json(failed)));
    }
    reported
}

/// Reads the traces of a file that a test names.
fn traces(path: &Path) -> Result<FileTraces, String> {
    let described = |error: &input::InputError| match &error.help {
        Some(help) => format!("{error} ({help})"),
        None => error.to_string(),
    };
    let mut inputs = input::open_all(&[path]).map_err(|error| described(&error))?;
    let mut found = FileTraces::default();
    for input in &mut inputs {
        for request in input.by_ref() {
            match request {
                Ok(request) => found.requests.push(request),
                Err(error) => found.faults.push(described(&error)),
            }
        }
        found.faults.extend(input.faults().iter().map(|fault| format!("{fault} ({})", fault.help)));
    }
    Ok(found)
}
