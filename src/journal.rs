//! The journal: requests on disk as they arrived, until all of their spans are settled or in the spool. An acknowledged
//! request outlives a kill and a loss of power.
//!
//! A body goes to the journal before it goes to the trace table. So a request that the disk refuses was never in the
//! table, and the sender keeps it. [`Journal::append`] returns when the sync that covers the body is done; one thread
//! (`writer`) writes the requests that have gathered meanwhile as one group. From then on, a [`JournalHold`] ties the
//! request to its copy. Notes about the fate of the request ([`crate::tail::journal_hold::Note`]) go to the same files
//! ([`mod@format`]). After a start, the daemon reads back the requests that are not released ([`backlog`]). They are
//! processed like new requests, except for the spans that are settled.
//!
//! Invariants
//! - A request is acknowledged only after it is synced.
//! - A segment is deleted only after every request in it, and in all before it, is released.
//! - Spans that are noted as settled are not given out again. Notes are written within milliseconds, and synced with
//!   the next request, so spans that are settled just before a kill may be exported twice.
//! - A disk that fails or is full loses no acknowledged request: new requests are refused, retryably, until the disk
//!   works.
//! - A record is used only if its checksums match.

pub mod backlog;
pub mod format;
mod open;
pub mod recording;
pub mod settings;
mod store;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::watch;

pub use self::backlog::Backlog;
use self::format::PolicyMarks;
pub(crate) use self::open::OWNER;
use self::store::JournalStore;
pub use self::writer::Writer;
use self::writer::{SharedQueue, WriteOutcome};
use crate::budget::Budget;
use crate::clock;
use crate::sampling::PolicyNames;
use crate::segment::directory::OpenError;
use crate::tail::journal_hold::{JournalHold, Sequence};
use crate::telemetry::{Health, Metrics};

/// The reason why a request is not in the journal. Retrying can help.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum JournalError {
    /// The files have reached `max_bytes`. There is room again when older requests are settled.
    #[error("the journal is full (journal.max_bytes)")]
    Full,
    /// More bytes wait for the disk than it writes in time.
    #[error("the journal's disk is too slow")]
    Slow,
    /// The disk fails; the log gives the cause.
    #[error("the journal cannot be written")]
    Disk,
}

/// A handle for appending to the journal. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal(Arc<SharedQueue>);

impl Journal {
    /// Opens the directory of `settings` and starts the thread that writes. Also returns the requests that an earlier
    /// process left there; `policy_names` are used to find the policies that kept their traces. Call it inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        settings: &settings::JournalSettings,
        policy_names: PolicyNames,
        budget: &Budget,
        metrics: &Arc<Metrics>,
        health: &Arc<Health>,
    ) -> Result<(Self, Writer, Backlog), OpenError> {
        let (store, backlog) = open::open(settings, PolicyMarks::new(policy_names), budget, metrics)?;
        let (journal, writer) = Journal::start(settings.max_bytes, store, &backlog, budget, metrics, health);
        Ok((journal, writer, backlog))
    }

    fn start(
        max_bytes: u64,
        store: JournalStore,
        backlog: &Backlog,
        budget: &Budget,
        metrics: &Arc<Metrics>,
        health: &Arc<Health>,
    ) -> (Self, Writer) {
        let shared = SharedQueue::new(max_bytes, store.bytes(), backlog.next_sequence(), budget.clone());
        let writer = Writer::start(Arc::clone(&shared), store, Arc::clone(metrics), Arc::clone(health));
        (Journal(shared), writer)
    }

    /// Appends the body of a request. Returns when the body is synced, so that it outlives a loss of power. The request
    /// stays in the journal until the hold is dropped. If the future is dropped, the hold is dropped with it.
    ///
    /// # Errors
    /// See [`JournalError`]. The request is not in the journal then.
    pub async fn append(&self, body: Bytes) -> Result<Arc<JournalHold>, JournalError> {
        let (hold, mut written) = self.enqueue(body)?;
        // An error means that the writer has ended; the process is about to exit.
        let outcome =
            written.wait_for(|outcome| *outcome != WriteOutcome::Waits).await.map_or(WriteOutcome::Failed, |it| *it);
        if outcome == WriteOutcome::Synced { Ok(hold) } else { Err(JournalError::Disk) }
    }

    fn enqueue(&self, body: Bytes) -> Result<(Arc<JournalHold>, watch::Receiver<WriteOutcome>), JournalError> {
        let (sequence, written) = self.0.enqueue(body, clock::unix_nano())?;
        Ok((self.hold(sequence), written))
    }

    /// Leaves requests of an earlier process, which this process cannot take, and their files to the next process.
    pub fn leave(&self, requests: Vec<Sequence>) {
        self.0.leave(requests);
    }

    /// Returns the hold on a request that an earlier process did not release.
    #[must_use]
    pub fn hold(&self, sequence: Sequence) -> Arc<JournalHold> {
        JournalHold::new(sequence, Arc::clone(&self.0) as _)
    }
}

#[cfg(test)]
mod tests;
