//! What is wrong with a configuration, where, and what to write instead.

use std::fmt::{self, Write};

use super::secrets::masked_lines;

/// Longer lines are shown without a snippet: a caret far to the right helps nobody.
const SNIPPET_CHARS_MAX: usize = 200;

/// Text that is repeated in a message is cut here.
const QUOTED_CHARS_MAX: usize = 60;

/// A value as messages show it.
pub(super) fn quote(text: &str) -> String {
    let shown: String = text.chars().take(QUOTED_CHARS_MAX).map(printable).collect();
    let dots = if text.chars().count() > QUOTED_CHARS_MAX { "..." } else { "" };
    format!("`{shown}{dots}`")
}

/// A tab or an escape sequence would move the caret away from its place, or worse.
fn printable(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

/// Part of a line: line and column from 1, in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) length: usize,
}

/// Whether the configuration can be used in spite of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but it does not say what it seems to say.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// Characters on the line that are meant, at least 1.
    pub length: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

/// A problem whose place is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    help: Option<String>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Fault { message: message.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn error(self, at: Position) -> Problem {
        self.problem(Severity::Error, at)
    }

    pub(super) fn warning(self, at: Position) -> Problem {
        self.problem(Severity::Warning, at)
    }

    fn problem(self, severity: Severity, at: Position) -> Problem {
        let Position { line, column, length } = at;
        Problem { severity, line, column, length: length.max(1), message: self.message, help: self.help }
    }
}

/// Everything that is wrong with a configuration that cannot be used, warnings included, from top to bottom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    pub(super) text: String,
    pub(super) problems: Vec<Problem>,
}

impl Problems {
    /// The problems, from top to bottom.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.problems.iter()
    }

    /// All of them for a terminal, each with its line of `file_name` and a caret.
    #[must_use]
    pub fn render(&self, file_name: &str, color: bool) -> String {
        render(&self.problems, &self.text, file_name, color)
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problems.iter().enumerate().try_for_each(|(index, problem)| {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")
        })
    }
}

impl std::error::Error for Problems {}

/// `problems` for a terminal, each with its line of `text` (the file `file_name`) and a caret. Secrets in these lines are
/// masked: what is shown here ends up in logs.
#[must_use]
pub fn render(problems: &[Problem], text: &str, file_name: &str, color: bool) -> String {
    let lines = if problems.is_empty() { Vec::new() } else { masked_lines(text) };
    let paint = Paint { color };
    let mut out = String::new();
    for problem in problems {
        // Writing to a String cannot fail.
        let _ = render_one(&mut out, problem, lines.get(problem.line.wrapping_sub(1)), file_name, paint);
    }
    out
}

fn render_one(
    out: &mut String,
    problem: &Problem,
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

/// ANSI colours, or none.
#[derive(Clone, Copy)]
struct Paint {
    color: bool,
}

impl Paint {
    const BOLD: &'static str = "1";
    const RED: &'static str = "1;31";
    const YELLOW: &'static str = "1;33";
    const BLUE: &'static str = "1;34";

    fn with(self, style: &str, text: &str) -> String {
        if self.color { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
