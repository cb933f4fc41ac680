//! The metrics of a fleet.

use std::time::Duration;

use super::{Direction, FleetLoss, FleetMessage, FleetPolicies, Metrics, histogram};

impl Metrics {
    /// Notes if the engine of the fleet can be reached.
    pub fn fleet_up(&self, is_up: bool) {
        self.set("spansieve_fleet_up", &[], is_up.into());
    }

    /// Sets the number of members with the policies of this one, and with others.
    pub fn fleet_members(&self, same: usize, other: usize) {
        for (policies, members) in [(FleetPolicies::Same, same), (FleetPolicies::Other, other)] {
            self.set("spansieve_fleet_members", &[("policies", policies.as_str())], members as u64);
        }
    }

    /// Counts messages.
    pub fn fleet_messages(&self, direction: Direction, kind: FleetMessage, messages: u64) {
        let labels = [("direction", direction.as_str()), ("kind", kind.as_str())];
        self.count("spansieve_fleet_messages_total", &labels, messages);
    }

    /// Counts the bytes of a batch.
    pub fn fleet_bytes(&self, direction: Direction, bytes: usize) {
        self.count("spansieve_fleet_bytes_total", &[("direction", direction.as_str())], bytes as u64);
    }

    /// Counts messages, reports or batches that had no effect.
    pub fn fleet_lost(&self, reason: FleetLoss, messages: u64) {
        self.count("spansieve_fleet_lost_messages_total", &[("reason", reason.as_str())], messages);
    }

    /// Records the time from the end of a batch to its arrival.
    pub fn fleet_lag(&self, lag: Duration) {
        histogram(&self.recorder, "spansieve_fleet_lag_seconds", &[]).record(lag);
    }

    /// Counts traces that were decided as their owner, and those of them that were decided before their time.
    pub fn fleet_decided(&self, traces: u64, early: u64) {
        self.count("spansieve_fleet_owned_decisions_total", &[], traces);
        self.count("spansieve_fleet_early_decisions_total", &[], early);
    }

    /// Counts traces that were decided here otherwise than by their owner.
    pub fn fleet_split(&self, traces: u64) {
        self.count("spansieve_fleet_split_traces_total", &[], traces);
    }

    /// Sets the number of traces and proofs that a member remembers.
    pub fn fleet_remembered(&self, owned_traces: usize, unconfirmed_proofs: usize) {
        self.set("spansieve_fleet_owned_traces", &[], owned_traces as u64);
        self.set("spansieve_fleet_unconfirmed_proofs", &[], unconfirmed_proofs as u64);
    }
}
