//! The progress of work that takes longer than a second, on a terminal.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::terminal::has_sequences;

/// The time after which the progress is shown.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// The time between two changes of the line: a person reads no faster.
const INTERVAL: Duration = Duration::from_millis(100);

/// Goes to the beginning of the line, and clears it.
const CLEAR: &str = "\r\x1b[K";

/// A line on standard error about the progress, if that is a terminal that can clear a line. It is removed in the end.
#[derive(Debug)]
pub(super) struct Progress<W: Write = io::Stderr> {
    out: RefCell<W>,
    /// The time of the next change; `None` if the output cannot clear a line.
    next: Cell<Option<Instant>>,
    is_shown: Cell<bool>,
}

impl Progress {
    /// Begins with work that may take long.
    pub(super) fn begin() -> Self {
        Progress::on(io::stderr(), has_sequences(io::stderr().is_terminal()), Instant::now())
    }

    /// Does work that says nothing of its progress. Shows the seconds that it takes.
    pub(super) fn during<T>(what: &str, work: impl FnOnce() -> T) -> T {
        if has_sequences(io::stderr().is_terminal()) { Progress::begin().beside(what, work) } else { work() }
    }
}

impl<W: Write> Progress<W> {
    fn on(out: W, is_terminal: bool, now: Instant) -> Self {
        let next = Cell::new(is_terminal.then(|| now + SHOWN_AFTER));
        Progress { out: RefCell::new(out), next, is_shown: Cell::new(false) }
    }

    /// Does `work`, while a thread shows the seconds that it takes.
    fn beside<T>(self, what: &str, work: impl FnOnce() -> T) -> T
    where
        W: Send,
    {
        let (end, is_over) = mpsc::sync_channel::<()>(0);
        thread::scope(|scope| {
            let begin = Instant::now();
            // Without a thread nothing is shown.
            let _ = thread::Builder::new().spawn_scoped(scope, move || {
                while is_over.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    self.show(|| format!("{what}: {} s", begin.elapsed().as_secs()));
                }
            });
            let done = work();
            drop(end);
            done
        })
    }

    /// Shows the line, unless it was shown a moment ago.
    pub(super) fn show(&self, line: impl FnOnce() -> String) {
        if self.next.get().is_some() {
            self.show_at(Instant::now(), line);
        }
    }

    fn show_at(&self, now: Instant, line: impl FnOnce() -> String) {
        if self.next.get().is_some_and(|next| now >= next) {
            self.next.set(Some(now + INTERVAL));
            self.is_shown.set(true);
            self.write(&format!("{CLEAR}{}", line()));
        }
    }

    /// Removes the line, before other output.
    pub(super) fn clear(&self) {
        if self.is_shown.replace(false) {
            self.write(CLEAR);
        }
    }

    fn write(&self, text: &str) {
        let mut out = self.out.borrow_mut();
        // If standard error is closed, there is no reader to tell.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

impl<W: Write> Drop for Progress<W> {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests;
