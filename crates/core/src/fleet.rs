//! A member of a fleet: instances that decide as one without sending a span to one another. docs/fleet.md is the protocol.
//!
//! A [`Member`] is a state machine. Its inputs are the reports of its own trace table, the messages of other members, the
//! list of members and the time. Its outputs are messages to other members and verdicts for its own table.
//!
//! Invariants
//! - Merging does not depend on the order, the repetition or the delay of messages: a summary holds all spans that a member
//!   has of a trace, and the one with the most spans counts.
//! - A keep on evidence is passed on until each member that may hold a part of the trace has confirmed it, or has gone, or
//!   the time in which it can still help is over.
//! - All that is remembered has a bound.

mod member;
pub mod message;
mod owned;
mod proofs;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod view;

pub use member::{Counts, Member, MemberSettings, MemberWaits, Moved, Outputs};
pub use view::{MEMBERS_MAX, MemberFacts, MemberId, View};
