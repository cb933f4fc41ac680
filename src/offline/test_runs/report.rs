//! The results of tests as text, as JSON and in the format of JUnit.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Coverage, CoverageGap};
use crate::settings::diagnostic::printable;
use crate::terminal::Paint;

/// The result of one test, for a report.
#[derive(Clone, Debug)]
pub struct ReportedTest {
    /// The file with the test.
    pub file: String,
    /// The line on which the test begins.
    pub line: usize,
    /// The name of the test.
    pub name: String,
    /// The expectations that do not hold, in words. Empty if the test has passed.
    pub failures: Vec<String>,
    /// True if a file that the test names cannot be read.
    pub has_unreadable_file: bool,
    /// The first of its traces for which an expectation does not hold, as text.
    pub trace_text: Option<String>,
    /// The same trace as JSON.
    pub trace_json: Option<Value>,
    /// The number of its traces.
    pub traces: u64,
    /// The time that it took.
    pub took: Duration,
}

/// The results of all tests.
#[derive(Clone, Debug)]
pub struct Report {
    /// The tests in the order in which they ran.
    pub tests: Vec<ReportedTest>,
    /// The coverage, if it was asked for.
    pub coverage: Option<Coverage>,
    /// True if the configuration is a dry run, in which every span is written.
    pub is_dry_run: bool,
}

impl Report {
    /// Returns the number of tests that have failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.tests.iter().filter(|test| !test.failures.is_empty()).count()
    }

    /// Returns true if a file that a test names cannot be read.
    #[must_use]
    pub fn has_unreadable_file(&self) -> bool {
        self.tests.iter().any(|test| test.has_unreadable_file)
    }

    /// Returns the report as text: the failed tests, then the coverage, then one line about all.
    #[must_use]
    pub fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        for test in self.tests.iter().filter(|test| !test.failures.is_empty()) {
            let (place, name) = (format!("({}:{})", plain(&test.file), test.line), plain(&test.name));
            out += &format!("{} {} {place}\n", paint.with(Paint::RED, "FAILED"), paint.with(Paint::BOLD, &name));
            test.failures.iter().for_each(|failure| out += &format!("  {}\n", plain(failure)));
            if let Some(trace) = &test.trace_text {
                let of =
                    if test.traces > 1 { format!("one of the {} traces", test.traces) } else { "the trace".into() };
                out += &format!("  {of}:\n");
                trace.lines().for_each(|line| out += &format!("  {line}\n"));
            }
            out.push('\n');
        }
        if let Some(coverage) = &self.coverage {
            out += &coverage_text(coverage);
        }
        if self.is_dry_run {
            out += "dry run: every span is written, whatever the verdict; the tests are about the verdicts\n";
        }
        let (failed, all) = (self.failed(), self.tests.len());
        let line = format!("{} passed, {failed} failed", all - failed);
        out += &format!("{}\n", paint.with(if failed == 0 { Paint::GREEN } else { Paint::RED }, &line));
        out
    }

    /// Returns the report as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let test = |test: &ReportedTest| {
            json!({
                "file": test.file,
                "line": test.line,
                "name": test.name,
                "passed": test.failures.is_empty(),
                "failures": test.failures,
                "traces": test.traces,
                "trace": test.trace_json,
            })
        };
        let coverage = self.coverage.as_ref().map(|coverage| {
            let ((policies, all_policies), (conditions, all_conditions)) = (coverage.policies(), coverage.conditions());
            let gap = |gap: CoverageGap| json!({"name": gap.name, "gap": gap.gap});
            json!({
                "policies": {"covered": policies, "all": all_policies},
                "conditions": {"covered": conditions, "all": all_conditions},
                "gaps": coverage.gaps().into_iter().map(gap).collect::<Vec<_>>(),
            })
        });
        json!({
            "passed": self.tests.len() - self.failed(),
            "failed": self.failed(),
            "tests": self.tests.iter().map(test).collect::<Vec<_>>(),
            "coverage": coverage,
            "dry_run": self.is_dry_run,
        })
    }

    /// Returns the report in the XML of JUnit, which CI systems show: a suite for each file.
    #[must_use]
    pub fn junit(&self) -> String {
        let seconds = |took: Duration| format!("{:.6}", took.as_secs_f64());
        let total = seconds(self.tests.iter().map(|test| test.took).sum());
        let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
        out += &format!(
            "<testsuites name=\"spansieve test\" tests=\"{}\" failures=\"{}\" time=\"{total}\">\n",
            self.tests.len(),
            self.failed()
        );
        for suite in self.tests.chunk_by(|a, b| a.file == b.file) {
            let failed = suite.iter().filter(|test| !test.failures.is_empty()).count();
            let (file, took) = (escaped(&suite[0].file), seconds(suite.iter().map(|test| test.took).sum()));
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "  <testsuite name=\"{file}\" tests=\"{}\" failures=\"{failed}\" errors=\"0\" time=\"{took}\">",
                suite.len()
            );
            for test in suite {
                let (name, time) = (escaped(&test.name), seconds(test.took));
                let head = format!(
                    "    <testcase name=\"{name}\" classname=\"{file}\" file=\"{file}\" line=\"{}\" time=\"{time}\"",
                    test.line
                );
                out += &match test.failures.first() {
                    None => format!("{head}/>\n"),
                    Some(first) => {
                        let text = [&test.failures.join("\n"), "\n", test.trace_text.as_deref().unwrap_or("")].concat();
                        let failure = format!("<failure message=\"{}\">{}</failure>", escaped(first), escaped(&text));
                        format!("{head}>\n      {failure}\n    </testcase>\n")
                    }
                };
            }
            out += "  </testsuite>\n";
        }
        out + "</testsuites>\n"
    }
}

/// Returns a text without characters that would disturb a terminal.
fn plain(text: &str) -> String {
    text.chars().map(printable).collect()
}

fn coverage_text(coverage: &Coverage) -> String {
    let ((policies, all_policies), (conditions, all_conditions)) = (coverage.policies(), coverage.conditions());
    let mut out =
        format!("coverage: {policies} of {all_policies} policies were true for a trace and false for another one");
    if all_conditions > 0 {
        out += &format!(", and {conditions} of {all_conditions} conditions within them");
    }
    out.push('\n');
    let gaps = coverage.gaps();
    let width = gaps.iter().map(|gap| gap.gap.len()).max().unwrap_or(0);
    gaps.iter().for_each(|CoverageGap { name, gap }| out += &format!("  {gap:<width$}  {name}\n"));
    out
}

/// Returns text for XML 1.0: markup is escaped, and characters that XML does not allow are replaced
/// (<https://www.w3.org/TR/xml/#charsets>).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            // In an attribute a plain line break would become a space.
            '\n' => out += "&#10;",
            '\t' => out += "&#9;",
            '\u{fffe}' | '\u{ffff}' => out.push(char::REPLACEMENT_CHARACTER),
            c if c.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    out
}
