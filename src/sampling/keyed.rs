//! Policies that tell traces apart by a key and remember what came before: the state behind each of them.
//!
//! All are plain state machines: the key (a hash of the trace's key) and the time are arguments, nothing is drawn at
//! random. A threshold follows from the past alone, never from the randomness of the trace that it is for, so an
//! adjusted count of 1 / probability stays unbiased however the thresholds move.

mod adaptive;
mod budget;
mod identical_errors;
mod percentile;
mod rare;

pub use adaptive::Adaptive;
pub use budget::Budget;
pub use identical_errors::IdenticalErrors;
pub use percentile::Percentile;
pub use rare::Rare;
