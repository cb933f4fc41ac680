//! The problems of a whole configuration, and how a terminal shows them.

use std::fmt::{self, Write};

use super::secrets::masked_lines;
use crate::settings::diagnostic::{Diagnostic, Severity, printable};
use crate::terminal::Paint;

/// Characters of the longest line that is shown as a snippet: a caret far to the right is of no use.
const SNIPPET_CHARS_MAX: usize = 200;

/// All problems of a configuration that cannot be used, including warnings, from top to bottom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub(super) text: String,
    pub(super) problems: Vec<Diagnostic>,
}

impl ConfigError {
    /// Returns the error of a `text` that cannot be used for one reason.
    pub(crate) fn of(text: &str, problem: Diagnostic) -> Self {
        ConfigError { text: text.to_owned(), problems: vec![problem] }
    }

    /// Returns the problems, from top to bottom.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.problems.iter()
    }

    /// Renders all problems for a terminal, each with its line of `file_name` and a caret.
    #[must_use]
    pub fn render(&self, file_name: &str, paint: Paint) -> String {
        render(&self.problems, &self.text, file_name, paint)
    }
}

impl<'a> IntoIterator for &'a ConfigError {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problems.iter().enumerate().try_for_each(|(index, problem)| {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")
        })
    }
}

impl std::error::Error for ConfigError {}

/// Renders `problems` for a terminal, each with its line of `text` (the file `file_name`) and a caret. Secrets in these lines
/// are masked, because the output ends up in logs.
#[must_use]
pub fn render(problems: &[Diagnostic], text: &str, file_name: &str, paint: Paint) -> String {
    let lines = if problems.is_empty() { Vec::new() } else { masked_lines(text) };
    let mut out = String::new();
    for problem in problems {
        // Writing to a String cannot fail.
        let _ = render_one(&mut out, problem, lines.get(problem.line.wrapping_sub(1)), file_name, paint);
    }
    out
}

fn render_one(
    out: &mut String,
    problem: &Diagnostic,
    line: Option<&String>,
    file_name: &str,
    paint: Paint,
) -> fmt::Result {
    let (label, style) = match problem.severity {
        Severity::Error => ("error", Paint::RED),
        Severity::Warning => ("warning", Paint::YELLOW),
    };
    let number = problem.line.to_string();
    let gutter = " ".repeat(number.len());
    let bar = paint.with(Paint::BLUE, "|");
    writeln!(out, "{}{}", paint.with(style, label), paint.with(Paint::BOLD, &format!(": {}", problem.message)))?;
    let arrow = paint.with(Paint::BLUE, "-->");
    writeln!(out, "{gutter}{arrow} {file_name}:{}:{}", problem.line, problem.column)?;
    if let Some(line) = line.filter(|line| line.chars().count() <= SNIPPET_CHARS_MAX) {
        let line: String = line.chars().map(printable).collect();
        let caret = paint.with(style, &"^".repeat(problem.length));
        let indent = " ".repeat(problem.column.saturating_sub(1));
        writeln!(out, "{gutter} {bar}\n{} {bar} {line}", paint.with(Paint::BLUE, &number))?;
        writeln!(out, "{gutter} {bar} {indent}{caret}")?;
    }
    if let Some(help) = &problem.help {
        writeln!(out, "{gutter} {} {}: {help}", paint.with(Paint::BLUE, "="), paint.with(Paint::BOLD, "help"))?;
    }
    writeln!(out)
}
