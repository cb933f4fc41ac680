//! The threads of the process. Those for work that may block are made at the start and stay: where the number of processes is
//! limited, a thread that cannot be made later would end the process, or its work would wait for ever.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::runtime::{Builder, Runtime};

/// The journal's writer, its recovery, the spool, and files that are read again. Others (names that are resolved, large bodies)
/// wait for one of these if there is no other.
const BLOCKING_THREADS: usize = 4;
/// Threads for work that may block stay for this long when they are idle: for good. There are as many as were busy at a time.
const KEEP_ALIVE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Making the threads takes less than a millisecond.
const START_TIME_MAX: Duration = Duration::from_secs(5);

/// One worker a core that the container may use; on one core a runtime without threads is the cheapest.
///
/// # Errors
/// A thread cannot be made.
pub fn runtime() -> io::Result<Runtime> {
    // Where the runtime cannot make a thread it panics.
    let probe = std::thread::Builder::new().spawn(|| {})?;
    // It does nothing that could panic.
    let _ = probe.join();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut builder = match cores {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder.enable_all().thread_keep_alive(KEEP_ALIVE).build()?;
    reserve(BLOCKING_THREADS, START_TIME_MAX, |work| drop(runtime.spawn_blocking(work)))?;
    Ok(runtime)
}

/// Lets `spawn` run `count` tasks at a time, and with that make as many threads.
fn reserve(count: usize, time_max: Duration, spawn: impl Fn(Box<dyn FnOnce() + Send>)) -> io::Result<()> {
    let gate = Arc::new(Gate::default());
    for _ in 0..count {
        let gate = Arc::clone(&gate);
        spawn(Box::new(move || gate.pass()));
    }
    let made = gate.open(count, time_max);
    if made == count {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{made} of {count} threads could be made: raise the limit of processes (pids, nproc)"
    )))
}

/// Holds tasks until all of them have started.
#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    started: usize,
    is_open: bool,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock();
        state.started += 1;
        self.changed.notify_all();
        self.changed.wait_while(&mut state, |state| !state.is_open);
    }

    /// Waits until `count` tasks have started, `time_max` at most, and lets them go; returns how many have.
    fn open(&self, count: usize, time_max: Duration) -> usize {
        let mut state = self.state.lock();
        let _ = self.changed.wait_while_for(&mut state, |state| state.started < count, time_max);
        state.is_open = true;
        self.changed.notify_all();
        state.started
    }
}
