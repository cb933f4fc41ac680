//! The progress of work that takes longer than a second, on a terminal.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// The time after which the progress is shown.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// The time between two changes of the line: a person reads no faster.
const INTERVAL: Duration = Duration::from_millis(100);

/// A line on standard error about the progress, if that is a terminal. It is removed in the end.
#[derive(Debug)]
pub(super) struct Progress {
    is_terminal: bool,
    next: Cell<Instant>,
    /// The characters of the line that is shown.
    shown_chars: Cell<usize>,
}

impl Progress {
    /// Begins with work that may take long.
    pub(super) fn begin() -> Self {
        let is_terminal = io::stderr().is_terminal();
        Progress { is_terminal, next: Cell::new(Instant::now() + SHOWN_AFTER), shown_chars: Cell::new(0) }
    }

    /// Shows the line, unless it was shown a moment ago.
    pub(super) fn show(&self, line: impl FnOnce() -> String) {
        if self.is_terminal && Instant::now() >= self.next.get() {
            self.write(&line());
            self.next.set(Instant::now() + INTERVAL);
        }
    }

    fn write(&self, line: &str) {
        let shown = self.shown_chars.replace(line.chars().count());
        // If standard error is closed, there is no reader to tell.
        let _ = write!(io::stderr(), "\r{line:<shown$}\r");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown_chars.get() > 0 {
            self.write("");
        }
    }
}
