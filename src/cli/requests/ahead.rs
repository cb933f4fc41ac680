//! An input that a thread of its own reads ahead: to inflate a recording and to check it takes about as long as to play it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use parking_lot::{Condvar, Mutex};

use crate::journal::recording::{Fault, Remarks};
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
    /// The items, each with the position in the file behind it.
    items: VecDeque<(Item, u64)>,
    bytes: usize,
    /// True if nothing more is read, or if nothing more is wanted.
    has_ended: bool,
}

impl Queue {
    /// Appends an item once there is room. Returns false if nothing more is wanted.
    fn push(&self, item: Item, position: u64) -> bool {
        let bytes = bytes(&item);
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| {
            !state.has_ended && state.bytes > 0 && state.bytes + bytes > AHEAD_BYTES_MAX
        });
        if state.has_ended {
            return false;
        }
        state.bytes += bytes;
        state.items.push_back((item, position));
        self.changed.notify_one();
        true
    }

    /// Takes the next item once there is one. Returns `None` at the end.
    fn pop(&self) -> Option<(Item, u64)> {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| !state.has_ended && state.items.is_empty());
        let (item, position) = state.items.pop_front()?;
        state.bytes -= bytes(&item);
        self.changed.notify_one();
        Some((item, position))
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
    /// The position behind the last item that was taken.
    position: u64,
    /// The bytes of the file; 0 if they are not known.
    len: u64,
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
        let (position, len) = input.position();
        Ahead { queue: End(Arc::default()), thread: None, input: Some(input), position, len }
    }

    fn start(mut input: Input) -> io::Result<Self> {
        let (queue, (_, len)) = (Arc::new(Queue::default()), input.position());
        let end = End(Arc::clone(&queue));
        let thread = Builder::new().name("read ahead".to_owned()).spawn(move || {
            while let Some(item) = input.next()
                && end.0.push(item, input.position().0)
            {}
            drop(end);
            input
        })?;
        Ok(Ahead { queue: End(queue), thread: Some(thread), input: None, position: 0, len })
    }

    /// Returns what could not be read.
    pub(in crate::cli) fn faults(&self) -> Vec<Fault> {
        self.input.as_ref().map_or_else(Vec::new, Input::faults)
    }

    /// Returns what a recording says of itself; `None` for other files.
    pub(in crate::cli) fn remarks(&self) -> Option<&Remarks> {
        self.input.as_ref()?.remarks()
    }

    /// Returns the number of bytes of the file that the taken items have, about, and the number that it has; 0 if it is not known.
    pub(in crate::cli) fn position(&self) -> (u64, u64) {
        self.input.as_ref().map_or((self.position, self.len), Input::position)
    }
}

impl Iterator for Ahead {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        if let Some(input) = &mut self.input {
            return input.next();
        }
        if let Some((item, position)) = self.queue.0.pop() {
            self.position = position;
            return Some(item);
        }
        match self.thread.take().map(JoinHandle::join)? {
            Ok(input) => self.input = Some(input),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        None
    }
}

#[cfg(test)]
mod tests;
