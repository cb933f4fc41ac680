//! The states of policies that distinguish traces by a key and remember earlier traces.
//!
//! All are deterministic state machines: the hash of the trace's key and the time are arguments, and there are no
//! random numbers. A threshold depends only on the past, never on the randomness of the trace that it is for. So the
//! adjusted count of 1 / probability stays unbiased, even if thresholds change. For the same reason the caller must ask
//! each state about every trace that its policy applies to, even if another policy keeps or drops that trace.
//!
//! - `keys`: a bounded table of keys. When it is full, keys that were not seen for a while make room for new ones.
//! - `windows`: for each key, the number of traces in its present window. Used by `Rare` and `IdenticalErrors`.
//! - `shares`: divides a goal among keys by the logarithm of their traffic. Used by `Adaptive` and `Budget`. A
//!   `credit` is the amount that they spent too much or too little.
//! - `sketch`: for each key, a quantile of durations. Used by `Percentile`.

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

pub use adaptive::AdaptiveState;
pub use budget::BudgetState;
pub use identical_errors::IdenticalErrorsState;
pub use percentile::PercentileState;
pub use rare::RareState;
