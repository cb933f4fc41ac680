//! The traces that only one of two configurations keeps.

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use crate::otlp::TraceId;
use crate::tail::settings::TailSampling;
use crate::tail::table::Millis;

/// One of two configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The configuration that is simulated.
    First,
    /// The configuration that it is compared with.
    Second,
}

impl Side {
    /// Both, in their order.
    pub const ALL: [Side; 2] = [Side::First, Side::Second];
}

/// Kept traces by the configurations that keep them.
#[derive(Debug)]
pub struct Difference {
    /// Traces that one side keeps, and the other one may still keep.
    open: HashMap<TraceId, Side, RandomState>,
    /// The same traces, and some that both sides keep by now, each with the time by which the other side must have
    /// decided it. The earliest time comes first.
    until: VecDeque<(Millis, TraceId)>,
    /// The time to wait for a verdict of the other side. A later one would come only after that side has forgotten the
    /// trace.
    patience_ms: Millis,
    both: u64,
    only: [u64; 2],
    examples: [Vec<TraceId>; 2],
    examples_max: usize,
    /// The time at which the last example was settled.
    examples_ms: Millis,
}

impl Difference {
    pub(super) fn new(settings: [&TailSampling; 2], examples_max: usize) -> Self {
        // A verdict comes at most so long after the first span, and evidence can change it for as long again.
        let patience = |settings: &TailSampling| {
            let wait = settings.decision_wait.max(settings.decision_wait_after_root_received);
            (2 * wait + settings.rescue.window).as_millis() as Millis
        };
        Difference {
            open: HashMap::default(),
            until: VecDeque::new(),
            patience_ms: settings.map(patience).into_iter().max().unwrap_or(0) + 1_000,
            both: 0,
            only: [0; 2],
            examples: [Vec::new(), Vec::new()],
            examples_max,
            examples_ms: 0,
        }
    }

    /// Notes that a side keeps a trace.
    pub(super) fn kept(&mut self, side: Side, trace: TraceId, at_ms: Millis) {
        match self.open.entry(trace) {
            Entry::Occupied(other) if *other.get() != side => {
                other.remove();
                self.both += 1;
            }
            // The side has forgotten the trace, and keeps it once more.
            Entry::Occupied(_) => {}
            Entry::Vacant(entry) => {
                entry.insert(side);
                self.until.push_back((at_ms + self.patience_ms, trace));
            }
        }
    }

    /// Settles the traces that the other side does not keep until `now_ms`.
    pub(super) fn advance(&mut self, now_ms: Millis) {
        while let Some(&(until_ms, trace)) = self.until.front().filter(|(until_ms, _)| *until_ms < now_ms) {
            self.until.pop_front();
            if let Some(side) = self.open.remove(&trace) {
                self.only[side as usize] += 1;
                let examples = &mut self.examples[side as usize];
                if examples.len() < self.examples_max {
                    examples.push(trace);
                    self.examples_ms = self.examples_ms.max(until_ms);
                }
            }
        }
    }

    /// Settles all traces.
    pub(super) fn finish(&mut self) {
        self.advance(Millis::MAX);
    }

    /// Returns the number of traces that are not settled.
    #[cfg(test)]
    pub(super) fn held(&self) -> u64 {
        self.until.len() as u64
    }

    /// Returns the number of traces that both keep.
    #[must_use]
    pub fn both(&self) -> u64 {
        self.both
    }

    /// Returns the number of traces that only this side keeps.
    #[must_use]
    pub fn only(&self, side: Side) -> u64 {
        self.only[side as usize]
    }

    /// Returns the first traces that only this side keeps.
    #[must_use]
    pub fn examples(&self, side: Side) -> &[TraceId] {
        &self.examples[side as usize]
    }

    /// Returns the time, counted from the first request, after which no verdict on an example changes.
    #[must_use]
    pub fn examples_ms(&self) -> Millis {
        self.examples_ms
    }
}
