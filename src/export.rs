//! The way of kept spans to the sink: batches, delivery, retries, and the accounts of it. Knows no sink of its own:
//! [`sink`] is what one has to be.
//!
//! Kept spans leave [`crate::tail::kept::KeptQueue`] in slices, become bytes of the sink in an open batch of their
//! project, and travel as batches until the sink has confirmed them or refused them for good. Batches that wait while the memory is
//! nearly used up go to the [`spool`], if there is one, and come back from it.
//!
//! Invariants
//! - A kept span is never dropped because something is full: it holds its share of the memory budget, so that the
//!   receiver refuses new spans first.
//! - Every span that leaves the queue, or is found in the spool at start, is settled once, in [`ledger::Ledger`]: exported, or dropped with a reason.
//! - A batch is sent again with the same bytes: Cloud Trace knows a span by its name and takes a repetition.

pub mod advice;
pub mod batch;
pub mod channel;
pub mod delivery;
pub mod exporter;
pub mod failure;
pub mod ledger;
pub mod retry;
pub mod sink;
pub mod spool;
#[cfg(test)]
pub(crate) mod testing;
