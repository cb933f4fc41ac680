//! Colours for terminal output, and the decision whether an output gets them.

use std::env;
use std::ffi::OsStr;
use std::io::{self, IsTerminal};

/// The colours of one output, switched on or off.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    is_colored: bool,
}

impl Paint {
    /// No colours.
    pub const PLAIN: Paint = Paint { is_colored: false };
    /// The style of a heading.
    pub const BOLD: &'static str = "1";
    /// The style of secondary text.
    pub const DIM: &'static str = "2";
    /// The style of an error, or of a bad result.
    pub const RED: &'static str = "1;31";
    /// The style of a good result.
    pub const GREEN: &'static str = "32";
    /// The style of a warning.
    pub const YELLOW: &'static str = "1;33";
    /// The style of a place in a file.
    pub const BLUE: &'static str = "1;34";

    /// Returns colours if `is_colored` is true, otherwise none.
    #[must_use]
    pub const fn new(is_colored: bool) -> Self {
        Paint { is_colored }
    }

    /// Returns the colours for standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Paint::new(is_colored(io::stdout().is_terminal()))
    }

    /// Returns the colours for standard error.
    #[must_use]
    pub fn stderr() -> Self {
        Paint::new(is_colored(io::stderr().is_terminal()))
    }

    /// Returns `text` in a style.
    #[must_use]
    pub fn with(self, style: &str, text: &str) -> String {
        if self.is_colored && !text.is_empty() { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Returns true if an output gets colours: it is a terminal that has colours (`TERM` is not `dumb`), and `NO_COLOR` is
/// unset or empty.
#[must_use]
pub fn is_colored(is_terminal: bool) -> bool {
    has_sequences(is_terminal) && !forbids_colors(env::var_os("NO_COLOR").as_deref())
}

/// Returns true if an output obeys escape sequences, such as one that clears a line: it is a terminal, and one that does not
/// show them as they are.
#[must_use]
pub fn has_sequences(is_terminal: bool) -> bool {
    is_terminal && !is_dumb(env::var_os("TERM").as_deref())
}

fn is_dumb(term: Option<&OsStr>) -> bool {
    term.is_some_and(|term| term == "dumb")
}

/// Returns true if `NO_COLOR` is set and not empty (<https://no-color.org>).
fn forbids_colors(no_color: Option<&OsStr>) -> bool {
    no_color.is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests;
