//! Diagnostics: an error or warning about a setting, its place, and what to write instead.

use std::fmt;

/// Characters of a value that a message repeats; the rest is cut off.
const QUOTED_CHARS_MAX: usize = 60;

/// Returns a value as messages show it.
pub fn quote(text: &str) -> String {
    quote_start(text, QUOTED_CHARS_MAX)
}

/// Returns at most `chars_max` characters of a value as messages show it.
pub(crate) fn quote_start(text: &str, chars_max: usize) -> String {
    let dots = if text.chars().nth(chars_max).is_some() { "..." } else { "" };
    format!("`{}{dots}`", printable_start(text, chars_max))
}

/// Returns a space for a character that controls a terminal or the direction of the text: a tab or an escape sequence
/// would move the caret away from its place, or worse.
pub fn printable(c: char) -> char {
    // Unicode Standard Annex 9, table of explicit directional formatting characters, and implicit marks.
    let is_direction =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || is_direction || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }
}

/// Returns a text from elsewhere on one line that a terminal shows as it is.
pub fn printable_text(text: &str) -> String {
    text.chars().map(printable).collect()
}

/// Returns at most `chars_max` characters of a text from elsewhere, on one line that a terminal shows as it is.
pub fn printable_start(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).map(printable).collect()
}

/// Part of a line: line and column from 1, in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column of the first character.
    pub column: usize,
    /// The number of characters.
    pub length: usize,
}

/// The severity of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration can be used, but it does not mean what it seems to mean.
    Warning,
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The severity.
    pub severity: Severity,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The number of characters on the line that the problem is about, at least 1.
    pub length: usize,
    /// The problem in words.
    pub message: String,
    /// The advice: text to write instead.
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

/// A problem without a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    /// The problem in words.
    pub message: String,
    help: Option<String>,
}

impl SettingError {
    /// Creates a problem without advice.
    pub fn new(message: impl Into<String>) -> Self {
        SettingError { message: message.into(), help: None }
    }

    /// Adds advice: what to write instead.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Returns the problem as an error at a place.
    pub fn error(self, at: Position) -> Diagnostic {
        self.diagnostic(Severity::Error, at)
    }

    /// Returns the problem as a warning at a place.
    pub fn warning(self, at: Position) -> Diagnostic {
        self.diagnostic(Severity::Warning, at)
    }

    fn diagnostic(self, severity: Severity, at: Position) -> Diagnostic {
        let Position { line, column, length } = at;
        Diagnostic { severity, line, column, length: length.max(1), message: self.message, help: self.help }
    }
}

#[cfg(test)]
mod tests;
