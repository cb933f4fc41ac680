//! A bounded queue of log lines with a thread that writes them.
//!
//! `tracing-appender` has such a queue, too. It is not used, because it panics if its thread cannot be started (a limit
//! of processes must be an error with a remedy), because it does not report lost lines in the log, and because it
//! brings `time` and `crossbeam-channel` for these few lines.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// The most lines that may wait for a slow reader. They take at most a few hundred KiB. Even a very busy daemon needs
/// seconds to write so many lines.
pub(super) const LINES_MAX: usize = 1024;

/// The queue between the callers and the thread that writes the lines. A write to it (`&Queue` is an [`io::Write`])
/// always succeeds at once. If the queue is full, the line is lost, and the log later reports the number of lost lines.
#[derive(Clone, Debug)]
pub(super) struct LineQueue(Arc<SharedLines>);

#[derive(Debug, Default)]
struct SharedLines {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    lines: VecDeque<Vec<u8>>,
    /// True while a line has left `lines` and is not written yet.
    writing: bool,
    /// Number of lines lost since the log last reported it.
    lost: u64,
}

impl LineQueue {
    /// Starts a queue whose lines go to `out`. A thread that lives as long as the process writes them.
    ///
    /// # Errors
    /// The thread could not be started.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(SharedLines::default());
        let theirs = shared.clone();
        std::thread::Builder::new().name("log".into()).spawn(move || theirs.write_lines(out)).map_err(|cause| {
            io::Error::other(format!(
                "the thread that writes the log cannot be started ({cause}): raise the limit of processes (pids, nproc)"
            ))
        })?;
        Ok(LineQueue(shared))
    }

    /// Waits until all lines are written, but at most `wait`. Returns false if some are not.
    pub(super) fn flush(&self, wait: Duration) -> bool {
        let mut state = self.0.state.lock();
        let busy = |state: &mut QueueState| state.writing || !state.lines.is_empty();
        !self.0.changed.wait_while_for(&mut state, busy, wait).timed_out()
    }
}

impl Write for &LineQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state.lock();
        if state.lines.len() < LINES_MAX {
            state.lines.push_back(line.to_vec());
            self.0.changed.notify_all();
        } else {
            state.lost += 1;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SharedLines {
    fn write_lines(&self, mut out: impl Write) {
        loop {
            let (line, lost) = self.next();
            // A failed write cannot be reported: the reader of the log is gone.
            let _ = out.write_all(&line);
            if lost > 0 {
                tracing::warn!(lines = lost, "Log lines were lost because the reader of the log is too slow.");
            }
        }
    }

    /// Waits for the next line. Returns it with the number of lines that were lost before.
    fn next(&self) -> (Vec<u8>, u64) {
        let mut state = self.state.lock();
        state.writing = false;
        loop {
            if let Some(line) = state.lines.pop_front() {
                state.writing = true;
                return (line, std::mem::take(&mut state.lost));
            }
            self.changed.notify_all();
            self.changed.wait(&mut state);
        }
    }
}
