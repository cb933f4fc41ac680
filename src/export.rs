//! The path of kept spans to the sink: batches, delivery, retries, and the counts of exported and dropped spans. This
//! module knows no particular sink; [`sink`] is the interface of a sink.
//!
//! The exporter takes kept spans from [`crate::tail::kept::KeptQueue`] a few hundred at a time, encodes them for the
//! sink and appends them to the open batch of their project. A batch is sent until the sink confirms it or refuses it
//! finally. While the memory is nearly used up, waiting batches go to the [`spool`], if there is one, and come back
//! later.
//!
//! Invariants
//! - A kept span is never dropped because a queue is full. It holds its share of the memory budget, so the receiver
//!   refuses new spans first.
//! - Every span that leaves the kept queue, or is found in the spool at the start, is settled once in
//!   [`ledger::Ledger`]: it is exported, or dropped with a reason.
//! - A batch is sent again with the same bytes. Each sink documents its treatment of a span that comes twice.

pub mod advice;
pub mod batch;
pub mod channel;
pub mod delivery;
pub mod exporter;
pub mod failure;
pub mod ledger;
pub mod retry;
pub mod settings;
pub mod sink;
pub mod spool;
#[cfg(test)]
pub(crate) mod testing;
