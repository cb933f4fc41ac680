//! Moves waiting batches to the spool and back.

use std::sync::Arc;

use tokio::time::Instant;

use super::project_queues::SuppliedProjects;
use super::{CALLS_MAX, Delivery, finished};
use crate::budget::ladder;
use crate::export::ledger::DropReason;
use crate::export::sink::Sink;
use crate::export::spool::{CloseReport, JOB_BYTES, JobOutcome, QueuedBatch, Spool};

impl<S: Sink> Delivery<S> {
    /// Starts the next job of the spool, if it is idle. Writing comes first, because it releases memory.
    pub(super) fn drive_spool(&mut self, now: Instant) {
        let Some(spool) = self.spool.as_ref().filter(|_| !self.stopping) else { return };
        let batches = if spool.can_write(now) { self.spill() } else { Vec::new() };
        let supplied = self.supplied();
        let Some(spool) = &mut self.spool else { return };
        if !batches.is_empty() {
            spool.write(batches, now);
        } else if !spool.maintain(now)
            && supplied.is_none_or(|supplied| !spool.read(move |project| !supplied.read().contains(project)))
        {
            spool.mark_settled();
        }
    }

    /// Removes and returns the oldest batches, as many as are needed to relieve memory or the journal.
    fn spill(&mut self) -> Vec<QueuedBatch> {
        if self.budget.disk().is_some_and(|disk| disk.is_over(ladder::SPILL)) {
            return self.take_oldest(JOB_BYTES);
        }
        if self.budget.over(ladder::SPILL) == 0 {
            return Vec::new();
        }
        let waiting_bytes = self.queues.waiting_bytes();
        let stay_bytes = ladder::STAY.of(self.budget.limit_bytes());
        let bytes = self.budget.over(ladder::SPILL_TARGET).min(waiting_bytes.saturating_sub(stay_bytes)).min(JOB_BYTES);
        self.take_oldest(bytes)
    }

    /// Removes and returns the oldest batches that are not in the spool: `bytes` bytes or a little more.
    fn take_oldest(&mut self, bytes: usize) -> Vec<QueuedBatch> {
        let (mut taken, mut taken_bytes) = (Vec::new(), 0);
        while taken_bytes < bytes {
            let Some(aged) = self.queues.spill_oldest(Instant::now()) else { break };
            taken_bytes += aged.batch.encoded_len();
            taken.push(aged);
        }
        taken
    }

    /// Returns the projects for which no batch is to be read now, or `None` if no batch of any project is to be read.
    fn supplied(&self) -> Option<SuppliedProjects> {
        let unsettled_bytes = self.spool.as_ref()?.unsettled_bytes();
        let ahead_bytes =
            if self.budget.over(ladder::SPILL) > 0 { 0 } else { ladder::READ_AHEAD.of(self.budget.limit_bytes()) };
        if self.calls.len() >= CALLS_MAX || (unsettled_bytes > 0 && unsettled_bytes >= ahead_bytes) {
            return None;
        }
        Some(self.queues.supplied())
    }

    /// Handles the outcome of a job of the spool.
    pub(super) fn spool_ended(&mut self, outcome: JobOutcome, now: Instant) {
        match outcome {
            JobOutcome::Written { spans, left } => {
                self.ledger.spooled(spans);
                for aged in left.into_iter().rev() {
                    self.queues.with(&Arc::clone(aged.batch.project()), now, |queue| queue.unspill(aged));
                }
            }
            JobOutcome::Read(aged) => {
                self.ledger.unspooled(aged.batch.span_count().into());
                self.queues.with(&Arc::clone(aged.batch.project()), now, |queue| queue.push(aged, false));
            }
            JobOutcome::Corrupt(spans) => self.lost(spans, "a record of the spool differs from what was written"),
            JobOutcome::Gone(spans) => self.lost(spans, "files of the spool were deleted"),
            JobOutcome::Nothing => {}
        }
    }

    /// Drops spooled spans that are lost.
    fn lost(&self, spans: u64, detail: &str) {
        self.ledger.unspooled(spans);
        self.ledger.dropped(DropReason::Corrupt, spans, detail);
    }

    /// Writes all waiting batches to the spool. Returns false if there is no spool, or if it has no room for them.
    pub async fn spill_all(&mut self) -> bool {
        if self.spool.as_ref().is_some_and(Spool::is_busy) {
            let outcome = finished(&mut self.spool).await;
            self.spool_ended(outcome, Instant::now());
        }
        loop {
            let batches = self.take_oldest(JOB_BYTES);
            let Some(spool) = &mut self.spool else { return false };
            if batches.is_empty() {
                return true;
            }
            spool.write(batches, Instant::now());
            let outcome = spool.finished().await;
            let took_all = matches!(&outcome, JobOutcome::Written { left, .. } if left.is_empty());
            self.spool_ended(outcome, Instant::now());
            if !took_all {
                return false;
            }
        }
    }

    /// Ends the delivery. Spans that are not settled go to the spool, if there is one and it has room. Otherwise they
    /// are left to the caller.
    pub async fn put_away(mut self) {
        self.cut_off_calls().await;
        self.spill_all().await;
        if let Some(spool) = self.spool.take() {
            let CloseReport { unsettled_spans, gone_spans } = spool.close().await;
            self.ledger.spooled(unsettled_spans);
            if gone_spans > 0 {
                self.lost(gone_spans, "files of the spool were deleted");
            }
        }
    }
}
