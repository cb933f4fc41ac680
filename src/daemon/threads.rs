//! The threads of the process. All threads for blocking work are created at the start and stay. If they were created
//! later, the limit on the number of processes could be reached, and a thread that cannot be created would end the
//! process.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::runtime::{Builder, Runtime};

/// The number of threads for work that may block for long: the journal's writer, its recovery, the spool, re-reading
/// tokens and certificates, and name resolution. Large bodies need one more for each core. Work that finds no free
/// thread waits for one.
const BLOCKING_THREADS: usize = 8;
/// The time that idle threads stay: for ever, in practice.
const KEEP_ALIVE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// The most time that creating the threads may take. It normally takes less than a millisecond.
const START_TIME_MAX: Duration = Duration::from_secs(5);

/// Creates the runtime, with one worker for each core that the container may use. On one core, a runtime without worker
/// threads is the cheapest.
///
/// # Errors
/// A thread cannot be created.
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

/// Checks that `count` threads can be created, because the runtime panics if it cannot create one. The threads have
/// ended when this returns.
fn probe(count: usize) -> io::Result<()> {
    let threads = Mutex::new(Vec::with_capacity(count));
    let made = reserve(count, |work| {
        threads.lock().push(std::thread::Builder::new().spawn(work)?);
        Ok(())
    });
    // The threads do nothing that could panic.
    threads.into_inner().into_iter().for_each(|thread| drop(thread.join()));
    made
}

/// Runs `count` tasks at the same time with `spawn`, which needs as many threads. When this returns, all tasks have
/// ended, or will end soon.
fn reserve(count: usize, spawn: impl Fn(Box<dyn FnOnce() + Send>) -> io::Result<()>) -> io::Result<()> {
    let gate = Arc::new(StartGate::default());
    // The guard opens the gate even during a panic: when a runtime is dropped, it waits for its tasks.
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
        "only {made} of {count} threads can be created{cause}: raise the limit of processes (pids, nproc)"
    )))
}

struct OpensGate<'g>(&'g StartGate);

impl Drop for OpensGate<'_> {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// A gate that holds tasks until all of them have started.
#[derive(Default)]
struct StartGate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    started: usize,
    is_open: bool,
}

impl StartGate {
    fn pass(&self) {
        let mut state = self.state.lock();
        state.started += 1;
        self.changed.notify_all();
        self.changed.wait_while(&mut state, |state| !state.is_open);
    }

    /// Waits until `count` tasks have started, but at most for `time_max`. Returns the number of tasks that have
    /// started.
    fn wait(&self, count: usize, time_max: Duration) -> usize {
        let mut state = self.state.lock();
        let _ = self.changed.wait_while_for(&mut state, |state| state.started < count, time_max);
        state.started
    }

    /// Lets the tasks end.
    fn open(&self) {
        self.state.lock().is_open = true;
        self.changed.notify_all();
    }
}
