//! From the kept queue to the sink: encodes kept spans, gathers them into batches and sees to their delivery.
//!
//! One task does all of it; only the calls to the sink are tasks of their own. It encodes as soon as spans are kept,
//! also while the sink is away: a kept span alone is smaller than the request that it came in.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use thiserror::Error;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::batch::Batcher;
use super::delivery::Delivery;
use super::ledger::{DropReason, Ledger};
use super::sink::{EncodeSpans, Sink};
use super::spool::Spool;
use crate::config::settings;
use crate::sampling::Keep;
use crate::tail::budget::Budget;
use crate::tail::kept::{KeptQueue, KeptSpans};
use crate::tail::request::SpanBytes;
use crate::telemetry::{Metrics, Pulse, pulse};

/// Entries of the queue that are taken at a time.
const SLICE_ENTRIES_MAX: usize = 64;
/// Spans that are encoded before other tasks of the worker have their turn: some hundred microseconds.
const SLICE_SPANS_MAX: usize = 256;

/// The export task has ended though nobody asked it to.
#[derive(Debug, Error)]
#[error("the exporter ended unexpectedly: {0}")]
pub struct ExporterFailed(String);

/// The running exporter. Dropping it lets it end once everything is delivered.
#[derive(Debug)]
pub struct Exporter {
    ledger: Arc<Ledger>,
    /// Is told the deadline.
    stop: oneshot::Sender<Instant>,
    task: JoinHandle<()>,
    pulse: Pulse,
}

impl Exporter {
    /// Starts to export what `kept` holds and will hold to `sink`, as `settings` say, and what `spool` holds.
    #[must_use]
    pub fn start<E: EncodeSpans, S: Sink>(
        kept: Arc<KeptQueue>,
        encoder: E,
        sink: S,
        settings: &settings::CloudTrace,
        budget: &Budget,
        metrics: Arc<Metrics>,
        spool: Option<Spool>,
    ) -> Self {
        let ledger = Arc::new(Ledger::new(Arc::clone(&kept), metrics));
        let pulse = Pulse::new(Instant::now());
        let worker = Worker {
            kept,
            slice: Vec::with_capacity(SLICE_ENTRIES_MAX),
            encoder,
            batcher: Batcher::new(E::FORM, settings.batch.clone(), budget.clone()),
            delivery: Delivery::new(sink, settings, Arc::clone(&ledger), budget.clone(), spool),
            ledger: Arc::clone(&ledger),
            pulse: pulse.clone(),
        };
        let (stop, stopped) = oneshot::channel();
        Exporter { ledger, stop, task: tokio::spawn(worker.run(stopped)), pulse }
    }

    /// Kept spans that are neither confirmed nor counted as dropped, those in the kept queue included.
    #[must_use]
    pub fn export_spans(&self) -> u64 {
        self.ledger.unsettled_spans()
    }

    /// Its signs of life: also while the sink is away.
    #[must_use]
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Resolves if the export task ends by itself, which it does only by a panic: the process must end then.
    pub async fn failed(&mut self) -> ExporterFailed {
        if self.task.is_finished() {
            return ExporterFailed("it has ended already".to_owned());
        }
        let cause =
            (&mut self.task).await.err().map_or_else(|| "without an error".to_owned(), |error| error.to_string());
        ExporterFailed(cause)
    }

    /// Exports everything that is in the kept queue, which must get no more, until `deadline`; with a spool, half of the
    /// time is the disk's, and takes what is left. What could not be written by then is counted and logged as dropped;
    /// returns how many spans that were.
    pub async fn shutdown(mut self, deadline: Instant) -> u64 {
        // An error means that the task has ended.
        let _ = self.stop.send(deadline);
        if !self.task.is_finished() && tokio::time::timeout_at(deadline, &mut self.task).await.is_err() {
            self.task.abort();
            // Once it is gone nothing is settled any more.
            let _ = self.task.await;
        }
        let lost = self.ledger.unsettled_spans();
        if lost > 0 {
            self.ledger.dropped(DropReason::Shutdown, lost, "not written by the deadline of the shutdown");
        }
        lost
    }
}

struct Worker<E, S> {
    kept: Arc<KeptQueue>,
    slice: Vec<KeptSpans>,
    encoder: E,
    batcher: Batcher,
    delivery: Delivery<S>,
    ledger: Arc<Ledger>,
    pulse: Pulse,
}

impl<E: EncodeSpans, S: Sink> Worker<E, S> {
    async fn run(mut self, mut stop: oneshot::Receiver<Instant>) {
        let mut stopping = false;
        let mut put_away_at = None;
        let mut beats = interval(pulse::INTERVAL);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.pulse.beat(Instant::now());
            self.encode_slice().await;
            let more = !self.kept.is_empty();
            self.deliver_closed(stopping && !more);
            if stopping && !more && self.delivery.is_idle() {
                break;
            }
            let due = self.batcher.next_due();
            tokio::select! {
                () = yield_now(), if more => {}
                () = self.kept.pushed(), if !more => {}
                () = sleep_until(due), if due.is_some() => {}
                () = self.delivery.progress() => {}
                _ = beats.tick() => {}
                () = sleep_until(put_away_at), if put_away_at.is_some() => break,
                // A sender that is gone asks for the same, without a deadline.
                deadline = &mut stop, if !stopping => {
                    stopping = true;
                    let half = |deadline: Instant| Instant::now() + (deadline - Instant::now()) / 2;
                    put_away_at = deadline.ok().filter(|_| self.delivery.has_spool()).map(|at| half(at).into_std());
                    self.delivery.stop();
                }
            }
        }
        while !self.kept.is_empty() {
            self.encode_slice().await;
        }
        self.deliver_closed(true);
        self.delivery.put_away().await;
    }

    /// Encodes a slice of the queue; each fragment, and with the last one its request, is let go when it is done.
    async fn encode_slice(&mut self) {
        let mut slice = std::mem::take(&mut self.slice);
        self.kept.take(SLICE_ENTRIES_MAX, &mut slice);
        let now = Instant::now().into_std();
        self.encoder.set_now(unix_nano());
        let mut spans_since_yield = 0;
        for KeptSpans { fragment, keep } in slice.drain(..) {
            for span in fragment.spans() {
                self.encode(span, keep, now);
                spans_since_yield += 1;
                if spans_since_yield == SLICE_SPANS_MAX {
                    spans_since_yield = 0;
                    yield_now().await;
                }
            }
        }
        self.slice = slice;
    }

    fn encode(&mut self, span: SpanBytes<'_>, keep: Keep, now: std::time::Instant) {
        let origin = self.encoder.origin(span);
        let encoder = &mut self.encoder;
        let encoded = self.batcher.push(E::place(&origin), now, |out| encoder.span(&origin, span, keep, out));
        if let Err(error) = encoded {
            self.ledger.dropped(E::drop_reason(&error), 1, error);
        }
    }

    fn deliver_closed(&mut self, flush: bool) {
        if flush {
            self.batcher.flush();
        } else {
            self.batcher.close_due(Instant::now().into_std());
        }
        for batch in self.batcher.take_closed() {
            self.delivery.push(batch);
        }
    }
}

fn unix_nano() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

async fn sleep_until(due: Option<std::time::Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due.into()).await;
    }
}

#[cfg(test)]
mod tests;
