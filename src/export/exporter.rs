//! From the kept queue to the sink: encodes kept spans, gathers them into batches and sees to their delivery.
//!
//! One task does all of it; only the calls to the sink are tasks of their own. It encodes as soon as spans are kept,
//! also while the sink is away: a kept span alone is mostly smaller than the request that it came in. Where a whole
//! request is kept it is larger, so that it encodes no more while memory is used up: fragments wait as they are.

pub(crate) mod encode_queue;

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::encode_queue::EncodeQueue;
use super::batch::Batcher;
use super::delivery::Delivery;
use super::ledger::{DropReason, Ledger};
use super::sink::{EncodeSpans, Sink};
use super::spool::Spool;
use crate::budget::{Budget, Share, ladder};
use crate::clock;
use crate::config::settings;
use crate::sampling::Keep;
use crate::tail::journal_hold::KeptSpansHold;
use crate::tail::kept::{KeptQueue, KeptSpans};
use crate::tail::request::SpanBytes;
use crate::telemetry::{Metrics, Pulse, pulse};

/// Spans that are encoded before other tasks of the worker have their turn: some hundred microseconds.
const SLICE_SPANS_MAX: u32 = 256;
/// Encoded bytes that end such a slice: 256 spans of four KiB, which few spans have.
const SLICE_BYTES_MAX: usize = 1 << 20;

/// How often it is looked whether there is room again, as memory is given back by others than the exporter, too.
const ROOM_INTERVAL: Duration = Duration::from_millis(20);

/// The export task has ended though nobody asked it to.
#[derive(Debug, Error)]
#[error("the exporter ended unexpectedly: {0}")]
pub struct ExporterFailed(String);

/// The fate of kept spans that are not written when the exporter stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwritten {
    /// There is no journal: the spans are lost.
    Lost,
    /// The journal has the requests of the spans. The next start reads them back.
    InJournal,
}

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
        settings: &settings::Export,
        budget: &Budget,
        metrics: Arc<Metrics>,
        spool: Option<Spool>,
    ) -> Self {
        let ledger = Arc::new(Ledger::new(Arc::clone(&kept), metrics));
        let pulse = Pulse::new(Instant::now());
        let worker = Worker {
            kept,
            encode_queue: EncodeQueue::default(),
            encoder,
            encoder_share: budget.share(),
            budget: budget.clone(),
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
    /// time is the disk's, and takes what is left. The spans that could not be written by then stay in the journal, or are
    /// counted and logged as dropped, as `unwritten` says. Returns the number of dropped spans.
    pub async fn shutdown(mut self, deadline: Instant, unwritten: Unwritten) -> u64 {
        // An error means that the task has ended.
        let _ = self.stop.send(deadline);
        if !self.task.is_finished() && tokio::time::timeout_at(deadline, &mut self.task).await.is_err() {
            self.task.abort();
            // Once it is gone nothing is settled any more.
            let _ = self.task.await;
        }
        let lost = self.ledger.unsettled_spans();
        if lost > 0 && unwritten == Unwritten::InJournal {
            tracing::info!(spans = lost, "Kept spans that are not written stay in the journal for the next start.");
            return 0;
        }
        if lost > 0 {
            self.ledger.dropped(DropReason::Shutdown, lost, "not written by the deadline of the shutdown");
        }
        lost
    }
}

/// What a slice of work may still take.
struct SliceAllowance {
    spans: u32,
    bytes: usize,
    /// Memory was full when it began, so that it ends by the other two alone.
    is_full: bool,
}

impl SliceAllowance {
    fn is_used_up(&self, is_full: bool) -> bool {
        self.spans == 0 || self.bytes == 0 || is_full && !self.is_full
    }
}

struct Worker<E, S> {
    kept: Arc<KeptQueue>,
    /// The front of the queue, under work.
    encode_queue: EncodeQueue,
    encoder: E,
    /// What the encoder holds from span to span.
    encoder_share: Share,
    budget: Budget,
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
            if self.has_room() {
                self.encode_slice();
            }
            let more = self.has_more();
            // What waits for more spans is all that can make room.
            let must_make_room = self.is_full() && self.delivery.is_idle();
            self.deliver_closed(stopping && !more || must_make_room);
            if stopping && !more && self.delivery.is_idle() {
                break;
            }
            let waits_for_room = more && !self.has_room();
            let due = self.batcher.next_due();
            tokio::select! {
                () = yield_now(), if more && !waits_for_room => {}
                () = tokio::time::sleep(ROOM_INTERVAL), if waits_for_room => {}
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
        self.put_away().await;
    }

    /// Leaves to the spool what is not written, in parts that memory has room for.
    async fn put_away(mut self) {
        while self.has_more() {
            self.encode_slice();
            self.deliver_closed(false);
            if !self.has_room() && !self.delivery.spill_all().await {
                break;
            }
        }
        self.deliver_closed(true);
        self.delivery.put_away().await;
    }

    /// Whether kept spans wait to be encoded.
    fn has_more(&self) -> bool {
        !self.encode_queue.is_empty() || !self.kept.is_empty()
    }

    /// Whether memory has room for encoded spans; when nothing else is on its way, there must be some.
    fn has_room(&self) -> bool {
        !self.is_full() || self.delivery.is_idle()
    }

    /// Whether encoded spans take all the memory that they may.
    fn is_full(&self) -> bool {
        let limit_bytes = self.budget.limit_bytes();
        self.budget.used_bytes() > limit_bytes + ladder::ENCODED.of(limit_bytes)
    }

    /// Encodes some spans of the queue, until memory is full; each fragment, and with the last one its request, is let go when it
    /// is done.
    fn encode_slice(&mut self) {
        self.encoder.set_now(clock::unix_nano());
        let mut left = SliceAllowance { spans: SLICE_SPANS_MAX, bytes: SLICE_BYTES_MAX, is_full: self.is_full() };
        while !left.is_used_up(self.is_full())
            && let Some(kept) = self.encode_queue.next(&self.kept)
        {
            let done = self.encode_fragment(&kept, &mut left);
            let KeptSpans { fragment, keep, hold } = kept;
            if let Some(fragment) = fragment.behind(done) {
                self.encode_queue.put_back(KeptSpans { fragment, keep, hold });
                break;
            }
            if let Some(hold) = hold {
                hold.settle();
            }
        }
        self.encoder_share.resize(self.encoder.held_bytes());
        self.ledger.altered(self.encoder.take_altered());
    }

    /// Encodes the first spans of the fragment; returns how many.
    fn encode_fragment(&mut self, kept: &KeptSpans, left: &mut SliceAllowance) -> u32 {
        let now = Instant::now().into_std();
        let mut done = 0;
        for span in kept.fragment.open().spans() {
            if left.is_used_up(self.is_full()) {
                break;
            }
            let bytes = self.encode(span, kept.keep, kept.hold.as_ref(), now);
            left.spans -= 1;
            left.bytes = left.bytes.saturating_sub(bytes);
            done += 1;
        }
        done
    }

    /// Encodes a span; returns how many bytes it has now.
    fn encode(
        &mut self,
        span: SpanBytes<'_>,
        keep: Keep,
        hold: Option<&Arc<KeptSpansHold>>,
        now: std::time::Instant,
    ) -> usize {
        let origin = self.encoder.origin(span);
        let encoder = &mut self.encoder;
        let encoded =
            self.batcher.push_held(E::place(&origin), hold, now, |out| encoder.span(&origin, span, keep, out));
        encoded.unwrap_or_else(|error| {
            self.ledger.dropped(E::drop_reason(&error), 1, error);
            0
        })
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

async fn sleep_until(due: Option<std::time::Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due.into()).await;
    }
}

#[cfg(test)]
mod tests;
