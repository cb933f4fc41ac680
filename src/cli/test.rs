//! `spansieve test`: runs the tests of the policies of a configuration.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use super::Config;
use super::explain::report;
use super::output;
use super::progress::Progress;
use super::source::{BUILT_IN_TESTS, ConfigSource};
use super::validate::{self, EXIT_CONFIG};
use crate::config::{self, Settings};
use crate::offline::TimedRequest;
use crate::offline::input;
use crate::offline::render::TraceView;
use crate::offline::test_runs::report::{Report, ReportedTest};
use crate::offline::test_runs::{Coverage, Runner, TestHost};
use crate::policy_tests::PolicyTest;
use crate::settings::suggest::did_you_mean;
use crate::terminal::Paint;

/// The end of the names of files with tests.
const TEST_FILE: &str = ".test.yaml";

const EXAMPLES: &str = "\
Examples:
  spansieve test                                   the tests of ./config.yaml, and those in *.test.yaml beside it
  spansieve test --config deploy/config.yaml       those of another configuration
  spansieve test --config c.yaml tests/*.yaml      only the tests in these files, for that configuration
  spansieve test --coverage                        also: the conditions that no test has made true, or none false
  spansieve test --format junit > results.xml      for CI systems

A test is a trace and what must become of it:

  tests:
    - name: a 504 is kept although no status is set
      trace: |
        api  GET /cart    120ms  http.response.status_code=504
          db  SELECT cart  80ms
      expect: {verdict: kept, policy: errors}

docs/policy-tests.md has the language. The exit code is 0, 1 if a test fails, and 78 if the configuration or a test
cannot be read.";

/// The arguments of `test`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Files with tests, in place of those in the configuration and beside it
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

/// Tests of one file.
struct Suite {
    name: String,
    /// The directory from which the tests name files.
    directory: PathBuf,
    tests: Vec<PolicyTest>,
}

/// Runs the tests.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let source = arguments.config.source();
    let Some(loaded) = validate::load(&source) else { return ExitCode::from(EXIT_CONFIG) };
    let Some(suites) = suites(arguments, &source, &loaded.settings) else { return ExitCode::from(EXIT_CONFIG) };
    let runner = match Runner::new(&loaded.settings) {
        Ok(runner) => runner,
        Err(error) => {
            report("error", &format!("{source}: {error}"), None);
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if suites.iter().filter(|suite| !names_known_policies(suite, &runner)).count() > 0 {
        return ExitCode::from(EXIT_CONFIG);
    }
    let results = play(&suites, &runner, arguments.coverage);
    let text = match arguments.format {
        Format::Text => results.text(Paint::stdout()),
        Format::Json => output::printable_json(&format!("{:#}\n", results.json())),
        Format::Junit => results.junit(),
    };
    output::print(&text, if results.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the tests to run; `None` if there are none, or if they cannot be read. Problems go to standard error.
fn suites(arguments: &Arguments, source: &ConfigSource, settings: &Settings) -> Option<Vec<Suite>> {
    let own_directory = match source {
        ConfigSource::File(path) => directory_of(path),
        ConfigSource::Stdin | ConfigSource::BuiltIn => PathBuf::new(),
    };
    let mut suites = Vec::new();
    if arguments.files.is_empty() {
        suites.push(Suite {
            name: source.to_string(),
            directory: own_directory.clone(),
            tests: settings.tests.clone(),
        });
        if *source == ConfigSource::BuiltIn {
            suites.push(suite("built-in tests", PathBuf::new(), BUILT_IN_TESTS)?);
        }
    }
    let beside = match source {
        ConfigSource::File(_) if arguments.files.is_empty() => beside(&own_directory),
        _ => arguments.files.clone(),
    };
    for path in beside {
        suites.push(read_suite(&path)?);
    }
    if suites.iter().all(|suite| suite.tests.is_empty()) {
        let help = format!("write them under `tests:` in the configuration, or in a file NAME{TEST_FILE} beside it");
        report("error", &format!("{source}: there are no tests"), Some(&help));
        return None;
    }
    Some(suites)
}

/// Returns the files with tests in a directory, by name.
fn beside(directory: &Path) -> Vec<PathBuf> {
    let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let entries = std::fs::read_dir(listed).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(TEST_FILE)).collect();
    names.sort_unstable();
    names.into_iter().map(|name| directory.join(name)).collect()
}

fn directory_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

fn read_suite(path: &Path) -> Option<Suite> {
    let source = ConfigSource::File(path.to_owned());
    let text = source.read().map_err(|error| {
        report("error", &format!("cannot read {source}: {error}"), None);
    });
    suite(&source.to_string(), directory_of(path), &text.ok()?)
}

/// Reads a file with tests.
fn suite(name: &str, directory: PathBuf, text: &str) -> Option<Suite> {
    let paint = Paint::stderr();
    let rendered = match config::load_tests(text, &|variable| std::env::var(variable).ok()) {
        Ok((file, warnings)) => {
            let warnings = config::render(&warnings, text, name, paint);
            // If standard error is closed, there is no reader to tell.
            let _ = io::stderr().write_all(warnings.as_bytes());
            return Some(Suite { name: name.to_owned(), directory, tests: file.tests });
        }
        Err(problems) => problems.render(name, paint),
    };
    let _ = io::stderr().write_all(rendered.as_bytes());
    None
}

/// Reports the tests that expect a policy that the configuration does not have. Returns true if there are none.
fn names_known_policies(suite: &Suite, runner: &Runner<'_>) -> bool {
    let names = runner.policy_names();
    let expected = suite.tests.iter().filter_map(|test| test.keys.expect.policy.as_ref());
    let unknown = expected.filter(|expected| !names.contains(&expected.name));
    unknown.fold(true, |_, unknown| {
        let place = format!("{}:{}:{}", suite.name, unknown.at.line, unknown.at.column);
        let known = names.iter().map(String::as_str);
        let help = did_you_mean(&unknown.name, known).unwrap_or_else(|| format!("policies: {}", names.join(", ")));
        report("error", &format!("{place}: the configuration has no policy `{}`", unknown.name), Some(&help));
        false
    })
}

fn play(suites: &[Suite], runner: &Runner<'_>, with_coverage: bool) -> Report {
    let count: usize = suites.iter().map(|suite| suite.tests.len()).sum();
    let progress = Progress::begin();
    let mut coverage = with_coverage.then(|| Coverage::new(&runner.covered(), runner.parts()));
    let mut tests: Vec<ReportedTest> = Vec::with_capacity(count);
    for suite in suites {
        let read = |file: &Path| requests(&suite.directory.join(file));
        for test in &suite.tests {
            let done = tests.len();
            let show = |played: u64| progress.show(|| format!("test {} of {count}: {played} requests", done + 1));
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
fn requests(path: &Path) -> Result<Vec<TimedRequest>, String> {
    let described = |error: input::InputError| match &error.help {
        Some(help) => format!("{error} ({help})"),
        None => error.to_string(),
    };
    let inputs = input::open_all(&[path]).map_err(described)?;
    inputs.into_iter().flatten().collect::<Result<_, _>>().map_err(described)
}
