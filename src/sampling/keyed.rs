//! Policies that tell traces apart by a key and remember what came before: the state behind each of them.
//!
//! All are plain state machines: the key (a hash of the trace's key) and the time are arguments, nothing is drawn at
//! random. A threshold follows from the past alone, never from the randomness of the trace that it is for, so an
//! adjusted count of 1 / probability stays unbiased however thresholds move. For the same reason each of them is to be
//! asked about every trace of its population, whatever other policies say of that trace.
//!
//! - `keys`: a table of at most so many keys, in which silent keys make room for new ones.
//! - `windows`: on it, how many traces of its key a trace has before it: [`Rare`], [`IdenticalErrors`].
//! - `shares`: on it, a goal divided among keys by the logarithm of their traffic: [`Adaptive`], [`Budget`].
//!   What they spent too much or too little is a `credit`.
//! - `sketch`: on it, a quantile of durations: [`Percentile`].

mod adaptive;
mod budget;
mod credit;
mod identical_errors;
mod keys;
mod percentile;
mod rare;
mod shares;
mod sketch;
#[cfg(test)]
mod tests;
mod windows;

pub use adaptive::Adaptive;
pub use budget::Budget;
pub use identical_errors::IdenticalErrors;
pub use percentile::Percentile;
pub use rare::Rare;
