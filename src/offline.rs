//! The daemon's decisions without a daemon: requests in virtual time through the scan, the trace table, the policies and
//! the encoders that the daemon runs.
//!
//! `spansieve test`, `spansieve explain` and `spansieve simulate` are made of this. Nothing here decides anything: a
//! policy, a due time and a rescue have one implementation, in [`crate::sampling`] and [`crate::tail`].

pub mod input;
pub mod inspect;
pub mod render;
pub mod replay;
pub mod simulate;
pub mod sink_spans;
pub mod test_runs;

pub use crate::policy_tests::TextValue;
pub use replay::{Observer, Refusal, Replay, ReplaySettings, TimedRequest};

#[cfg(test)]
mod tests;
