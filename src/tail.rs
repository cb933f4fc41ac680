//! Pending traces: requests that own their bytes and budget share, the trace table, due times and verdict caches.
//!
//! Does no I/O and reads no clock: time is an argument.
//!
//! Invariants
//! - Every accepted span is, at any moment, in exactly one place: in a pending trace, in a dropped trace that can
//!   still be rescued, on its way to the exporter, or counted as sampled out.
//! - Verdicts do not depend on the order of arrival.
//! - Memory follows the budget: a request's share goes when the last trace that needs its bytes is released.

pub mod blocks;
pub mod budget;
mod census;
mod compression;
pub mod delays;
mod due;
mod fate;
mod gaps;
pub mod hold;
pub mod kept;
mod packed;
pub mod request;
mod shard;
mod slots;
pub mod table;
pub mod tally;
#[cfg(test)]
mod tests;
mod verdicts;

pub use fate::Fate;
pub use table::Table;
pub use tally::{Tally, Trigger};
