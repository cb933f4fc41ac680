//! Recorded traffic through one configuration, or through two side by side: what each keeps, and what only one keeps.
//!
//! The engine is [`Replay`], so each trace gets the verdict that the daemon would give it.
//!
//! Invariants
//! - Memory does not grow with the length of the recording: only counts remain of what is decided, and the traces that so
//!   far only one configuration keeps, for as long as the other one may still keep them.

mod difference;
mod totals;

use std::sync::Arc;

pub use self::difference::{Difference, Side};
pub use self::totals::{PolicyTotals, ServiceTotals, ShadowTotals, Totals};
use super::{Refusal, Replay, ReplaySettings, TimedRequest};
use crate::otlp::TraceId;
use crate::sampling::Policies;
use crate::tail::settings::TailSampling;
use crate::tail::table::{Millis, SWEEP_MS};

/// The time between two looks at what the table holds.
const LOOK_MS: Millis = 100;

/// The settings of one side of a simulation.
#[derive(Debug)]
pub struct SideSettings<'a> {
    /// The settings of `tail_sampling`.
    pub tail_sampling: &'a TailSampling,
    /// The compiled policies.
    pub policies: Arc<Policies>,
    /// The memory budget in bytes.
    pub limit_bytes: usize,
}

impl SideSettings<'_> {
    /// Returns the settings of the replay. The seed makes the order of decisions within one millisecond the same in each
    /// run.
    #[must_use]
    pub fn replay(&self) -> ReplaySettings {
        ReplaySettings { limit_bytes: self.limit_bytes, sweep_ms: SWEEP_MS, seed: 0, with_answers: false }
    }
}

/// The most that one table held.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Peak {
    /// Undecided traces.
    pub pending_traces: u64,
    /// Their spans.
    pub pending_spans: u64,
    /// Their bytes, with the index: the part of the used memory that falls to them.
    pub pending_bytes: u64,
    /// Bytes of the budget in use, with dropped traces that can be rescued.
    pub used_bytes: u64,
    /// Bytes that are in use all the time: remembered verdicts, and keys of policies.
    pub fixed_bytes: u64,
}

/// One configuration and the traffic that it has seen.
#[derive(Debug)]
pub struct SimulatedSide {
    replay: Replay,
    totals: Totals,
    peak: Peak,
    next_look_ms: Millis,
    refused_requests: u64,
}

impl SimulatedSide {
    fn new(settings: &SideSettings<'_>, counts_received: bool) -> Self {
        let replay = Replay::new(settings.tail_sampling, Arc::clone(&settings.policies), settings.replay());
        let totals = Totals::new(settings, counts_received);
        let peak = Peak { fixed_bytes: replay.table().fixed_bytes() as u64, ..Peak::default() };
        SimulatedSide { replay: replay.with_services_of_kept(), totals, peak, next_look_ms: 0, refused_requests: 0 }
    }

    /// Returns the counts.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Returns the most that was held.
    #[must_use]
    pub fn peak(&self) -> Peak {
        self.peak
    }

    /// Returns the number of requests for which memory had no room.
    #[must_use]
    pub fn refused_requests(&self) -> u64 {
        self.refused_requests
    }

    /// Takes the request in. Returns a fault in it.
    fn take(&mut self, request: TimedRequest) -> Option<Refusal> {
        let refusal = self.replay.take(request, &mut self.totals).err();
        if let Some(Refusal::NoRoom(_)) = refusal {
            self.refused_requests += 1;
            return None;
        }
        if self.replay.now_ms() >= self.next_look_ms {
            self.next_look_ms = self.replay.now_ms() + LOOK_MS;
            self.look();
        }
        refusal
    }

    fn look(&mut self) {
        let (held, peak) = (self.replay.table().held(), &mut self.peak);
        let used_bytes = self.replay.table().budget().used_bytes() as u64;
        peak.used_bytes = peak.used_bytes.max(used_bytes);
        peak.pending_traces = peak.pending_traces.max(held.pending_traces);
        peak.pending_spans = peak.pending_spans.max(held.pending_spans);
        let spans = held.pending_spans + held.rescuable_spans;
        if spans > 0 {
            let part = held.pending_spans as f64 / spans as f64;
            let bytes = used_bytes.saturating_sub(peak.fixed_bytes) as f64 * part;
            peak.pending_bytes = peak.pending_bytes.max(bytes as u64);
        }
    }
}

/// A simulation of one configuration, or of two.
#[derive(Debug)]
pub struct Simulation {
    sides: Vec<SimulatedSide>,
    difference: Option<Difference>,
    first_unix_nano: Option<u64>,
    last_unix_nano: u64,
    requests: u64,
}

impl Simulation {
    /// Makes a simulation. With a second configuration, up to `examples_max` traces that only one keeps are remembered for
    /// each.
    #[must_use]
    pub fn new(first: &SideSettings<'_>, second: Option<&SideSettings<'_>>, examples_max: usize) -> Self {
        let difference =
            second.map(|second| Difference::new([first, second].map(|side| side.tail_sampling), examples_max));
        let sides = [(Some(first), true), (second, false)];
        let sides = sides.into_iter().filter_map(|(side, counts)| Some(SimulatedSide::new(side?, counts))).collect();
        Simulation { sides, difference, first_unix_nano: None, last_unix_nano: 0, requests: 0 }
    }

    /// Takes a request in, after all that is due until it comes. `kept` is called with each trace that a side keeps, and
    /// the number of the policy.
    ///
    /// # Errors
    /// The request is not well-formed.
    pub fn take(&mut self, request: TimedRequest, kept: &mut impl FnMut(Side, TraceId, u16)) -> Result<(), Refusal> {
        self.first_unix_nano.get_or_insert(request.unix_nano);
        self.last_unix_nano = self.last_unix_nano.max(request.unix_nano);
        self.requests += 1;
        let mut fault = None;
        if let [_, second] = &mut self.sides[..] {
            fault = second.take(request.clone());
        }
        if let Some(first) = self.sides.first_mut() {
            fault = first.take(request).or(fault);
        }
        self.settle(kept);
        fault.map_or(Ok(()), Err)
    }

    /// Lets the time pass until every trace is decided.
    pub fn finish(&mut self, kept: &mut impl FnMut(Side, TraceId, u16)) {
        for side in &mut self.sides {
            side.look();
            side.replay.finish(&mut side.totals);
        }
        self.settle(kept);
        if let Some(difference) = &mut self.difference {
            difference.finish();
        }
    }

    fn settle(&mut self, kept: &mut impl FnMut(Side, TraceId, u16)) {
        let now_ms = self.sides.first().map_or(0, |side| side.replay.now_ms());
        for (side, simulated) in Side::ALL.into_iter().zip(&mut self.sides) {
            for (trace, policy, at_ms) in simulated.totals.drain_kept() {
                kept(side, trace, policy);
                if let Some(difference) = &mut self.difference {
                    difference.kept(side, trace, at_ms);
                }
            }
        }
        if let Some(difference) = &mut self.difference {
            difference.advance(now_ms);
        }
    }

    /// Returns the configurations with what they have seen: the first, and the second if there is one.
    #[must_use]
    pub fn sides(&self) -> &[SimulatedSide] {
        &self.sides
    }

    /// Returns the difference between the two; `None` if there is only one.
    #[must_use]
    pub fn difference(&self) -> Option<&Difference> {
        self.difference.as_ref()
    }

    /// Returns the number of requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Returns the time of the last request, in seconds since 1970.
    #[must_use]
    pub fn last_unix_seconds(&self) -> u64 {
        self.last_unix_nano / 1_000_000_000
    }

    /// Returns the nanoseconds from the first request to the last one.
    #[must_use]
    pub fn nanos(&self) -> u64 {
        self.last_unix_nano.saturating_sub(self.first_unix_nano.unwrap_or(self.last_unix_nano))
    }
}

#[cfg(test)]
mod tests;
