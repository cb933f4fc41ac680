//! The colours of a terminal, and the decision if an output has them.

use std::env;
use std::ffi::OsStr;
use std::io::{self, IsTerminal};

/// The colours of an output, or none.
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

    /// Returns colours if `is_colored`, or none.
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

/// Returns true if an output has colours: only if it is a terminal, and not if `NO_COLOR` has a value.
#[must_use]
pub fn is_colored(is_terminal: bool) -> bool {
    is_terminal && !forbids_colors(env::var_os("NO_COLOR").as_deref())
}

/// Returns true for a value of `NO_COLOR` that is not empty (<https://no-color.org>).
fn forbids_colors(no_color: Option<&OsStr>) -> bool {
    no_color.is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests;
