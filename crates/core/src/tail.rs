//! Pending traces: requests that own their bytes and their share of the budget, the trace table, due times and the
//! caches
//! of verdicts.
//!
//! This module does no I/O and reads no clock: time is an argument.
//!
//! Invariants
//! - At any moment, every accepted span is in exactly one place: in a pending trace, in a dropped trace that can still
//!   be rescued, on its way to the exporter, or counted as sampled out.
//! - Verdicts do not depend on the order in which spans arrive.
//! - Memory follows the budget: a request gives back its share when the last trace that needs its bytes is released.

mod compression;
mod decision;
mod decision_facts;
pub mod delays;
mod due;
mod fate;
pub mod fleet;
pub mod footprint;
mod held_spans;
pub mod journal_hold;
pub mod kept;
mod missing_parents;
pub(crate) mod notes;
pub(crate) mod packed;
pub mod request;
mod rescan;
mod round;
pub mod services;
pub mod settings;
mod shard;
mod shards;
mod slots;
pub mod table;
pub mod tally;
mod trace_sample;
pub(crate) mod verdicts;

pub use decision::{Decision, DecisionLog};
pub use decision_facts::DecisionFacts;
pub use fate::{Fate, HeldReport, TraceReport};
pub use held_spans::{HeldSpans, TooLarge};
pub use services::Services;
pub use table::Table;
pub use tally::{Tally, Trigger};
