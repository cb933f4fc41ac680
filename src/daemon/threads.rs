//! The threads of the process. All of those for work that may block are made at the start and stay: where the number of
//! processes is limited, a thread that cannot be made later would end the process.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::runtime::{Builder, Runtime};

/// The journal's writer, its recovery, the spool, tokens and certificates that are read again, and names that are resolved: each
/// may wait for long. Large bodies need as many more as there are cores. What finds no thread waits for one.
const BLOCKING_THREADS: usize = 8;
/// Threads for work that may block stay for this long when they are idle: for good.
const KEEP_ALIVE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Making the threads takes less than a millisecond.
const START_TIME_MAX: Duration = Duration::from_secs(5);

/// One worker a core that the container may use; on one core a runtime without threads is the cheapest.
///
/// # Errors
/// A thread cannot be made.
pub fn runtime() -> io::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let blocking = BLOCKING_THREADS + cores;
    probe(cores + blocking)?;
    let mut builder = match cores {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder.enable_all().max_blocking_threads(blocking).thread_keep_alive(KEEP_ALIVE).build()?;
    reserve(blocking, |work| {
        drop(runtime.spawn_blocking(work));
        Ok(())
    })?;
    Ok(runtime)
}

/// Tries whether `count` threads can be made, as the runtime panics where it cannot make one. They have ended when this returns.
fn probe(count: usize) -> io::Result<()> {
    let threads = Mutex::new(Vec::with_capacity(count));
    let made = reserve(count, |work| {
        threads.lock().push(std::thread::Builder::new().spawn(work)?);
        Ok(())
    });
    // They do nothing that could panic.
    threads.into_inner().into_iter().for_each(|thread| drop(thread.join()));
    made
}

/// Lets `spawn` run `count` tasks at a time, for which it needs as many threads. All of them have ended, or will soon, when
/// this returns.
fn reserve(count: usize, spawn: impl Fn(Box<dyn FnOnce() + Send>) -> io::Result<()>) -> io::Result<()> {
    let gate = Arc::new(Gate::default());
    // Also when a panic goes through here: a runtime waits for its tasks when it is dropped.
    let _open = OpensGate(&gate);
    let failure = (0..count).find_map(|_| {
        let gate = Arc::clone(&gate);
        spawn(Box::new(move || gate.pass())).err()
    });
    let made = gate.wait(count, if failure.is_some() { Duration::ZERO } else { START_TIME_MAX });
    if made == count {
        return Ok(());
    }
    let cause = failure.map_or_else(String::new, |cause| format!(" ({cause})"));
    Err(io::Error::other(format!(
        "only {made} of {count} threads can be made{cause}: raise the limit of processes (pids, nproc)"
    )))
}

struct OpensGate<'g>(&'g Gate);

impl Drop for OpensGate<'_> {
    fn drop(&mut self) {
        self.0.open();
    }
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

    /// Waits until `count` tasks have started, `time_max` at most; returns how many have.
    fn wait(&self, count: usize, time_max: Duration) -> usize {
        let mut state = self.state.lock();
        let _ = self.changed.wait_while_for(&mut state, |state| state.started < count, time_max);
        state.started
    }

    /// Lets the tasks go.
    fn open(&self) {
        self.state.lock().is_open = true;
        self.changed.notify_all();
    }
}
