//! An input that a thread of its own reads ahead: to inflate a recording and to check it takes about as long as to play it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use parking_lot::{Condvar, Mutex};

use crate::journal::recording::Remarks;
use crate::offline::TimedRequest;
use crate::offline::input::{Input, InputError};

/// Bytes of requests that are read ahead. A larger request is alone.
const AHEAD_BYTES_MAX: usize = 4 << 20;
/// Bytes that a request takes beside its body.
const ENTRY_BYTES: usize = 64;
/// The most inputs that have threads of their own.
const THREADS_MAX: usize = 8;

type Item = Result<TimedRequest, InputError>;

fn bytes(item: &Item) -> usize {
    ENTRY_BYTES + item.as_ref().map_or(0, |request| request.body.len())
}

/// The queue between the two threads.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    /// True if nothing more is read, or if nothing more is wanted.
    has_ended: bool,
}

impl Queue {
    /// Appends an item once there is room. Returns false if nothing more is wanted.
    fn push(&self, item: Item) -> bool {
        let bytes = bytes(&item);
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| {
            !state.has_ended && state.bytes > 0 && state.bytes + bytes > AHEAD_BYTES_MAX
        });
        if state.has_ended {
            return false;
        }
        state.bytes += bytes;
        state.items.push_back(item);
        self.changed.notify_one();
        true
    }

    /// Takes the next item once there is one. Returns `None` at the end.
    fn pop(&self) -> Option<Item> {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| !state.has_ended && state.items.is_empty());
        let item = state.items.pop_front()?;
        state.bytes -= bytes(&item);
        self.changed.notify_one();
        Some(item)
    }

    fn end(&self) {
        self.state.lock().has_ended = true;
        self.changed.notify_one();
    }
}

/// Ends the queue when its thread ends or its reader is gone, whatever the reason.
struct End(Arc<Queue>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// An input. What it says of itself is known at its end.
pub(in crate::cli) struct Ahead {
    queue: End,
    thread: Option<JoinHandle<Input>>,
    /// The input that no thread reads, or that has been read.
    input: Option<Input>,
    position: Box<dyn Fn() -> (u64, u64)>,
}

impl Ahead {
    /// Returns the inputs, read ahead if they are not too many.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub(in crate::cli) fn all(inputs: Vec<Input>) -> io::Result<Vec<Self>> {
        let has_threads = inputs.len() <= THREADS_MAX;
        inputs.into_iter().map(|input| if has_threads { Self::start(input) } else { Ok(Self::alone(input)) }).collect()
    }

    fn alone(input: Input) -> Self {
        let position = Box::new(input.positions());
        Ahead { queue: End(Arc::default()), thread: None, input: Some(input), position }
    }

    fn start(mut input: Input) -> io::Result<Self> {
        let (queue, position) = (Arc::new(Queue::default()), Box::new(input.positions()));
        let end = End(Arc::clone(&queue));
        let thread = Builder::new().name("read ahead".to_owned()).spawn(move || {
            while input.next().is_some_and(|item| end.0.push(item)) {}
            drop(end);
            input
        })?;
        Ok(Ahead { queue: End(queue), thread: Some(thread), input: None, position })
    }

    /// Returns what could not be read, one line each.
    pub(in crate::cli) fn faults(&self) -> Vec<String> {
        self.input.as_ref().map_or_else(Vec::new, Input::faults)
    }

    /// Returns what a recording says of itself; `None` for other files.
    pub(in crate::cli) fn remarks(&self) -> Option<&Remarks> {
        self.input.as_ref()?.remarks()
    }

    /// Returns the number of bytes that were read of the file so far, and the number that it has; 0 if it is not known.
    pub(in crate::cli) fn position(&self) -> (u64, u64) {
        (self.position)()
    }
}

impl Iterator for Ahead {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        if let Some(input) = &mut self.input {
            return input.next();
        }
        let item = self.queue.0.pop();
        if item.is_none() {
            match self.thread.take().map(JoinHandle::join)? {
                Ok(input) => self.input = Some(input),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        item
    }
}

#[cfg(test)]
mod tests;
