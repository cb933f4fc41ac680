//! The exporter: encodes kept spans, gathers them into batches and delivers these to the sink.
//!
//! One task does this; only the calls to the sink are tasks of their own. It encodes spans as soon as they are kept,
//! even while the sink is unavailable, because an encoded span is usually smaller than the request that contains it.
//! If all spans of a request are kept, their encoded bytes are larger than the request. Therefore nothing is encoded
//! while memory is used up, and the fragments wait unencoded.

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
use crate::export::settings;
use crate::sampling::Keep;
use crate::tail::journal_hold::KeptSpansHold;
use crate::tail::kept::{KeptQueue, KeptSpans};
use crate::tail::request::SpanBytes;
use crate::telemetry::{Metrics, Pulse, pulse};

/// The number of spans that are encoded before the other tasks of the thread get their turn. It takes some hundred
/// microseconds.
const SLICE_SPANS_MAX: u32 = 256;
/// The number of encoded bytes that ends a slice of work: 256 spans of four KiB. Few spans are that large.
const SLICE_BYTES_MAX: usize = 1 << 20;

/// The interval at which the exporter checks for free memory. Other parts of the daemon also release memory.
const ROOM_INTERVAL: Duration = Duration::from_millis(20);

/// The export task has ended without a request to stop.
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

/// The running exporter. If it is dropped, its task ends once everything is delivered.
#[derive(Debug)]
pub struct Exporter {
    ledger: Arc<Ledger>,
    /// Sends the deadline of the shutdown.
    stop: oneshot::Sender<Instant>,
    task: JoinHandle<()>,
    pulse: Pulse,
}

impl Exporter {
    /// Starts to export the spans of `kept` and of `spool` to `sink`.
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

    /// Returns the number of kept spans that are neither confirmed nor counted as dropped, including those in the kept
    /// queue.
    #[must_use]
    pub fn export_spans(&self) -> u64 {
        self.ledger.unsettled_spans()
    }

    /// Returns the signs of life of the export task. It also gives them while the sink is unavailable.
    #[must_use]
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Resolves if the export task ends by itself, which only a panic can cause. The process must exit then.
    pub async fn failed(&mut self) -> ExporterFailed {
        if self.task.is_finished() {
            return ExporterFailed("it has ended already".to_owned());
        }
        let cause =
            (&mut self.task).await.err().map_or_else(|| "without an error".to_owned(), |error| error.to_string());
        ExporterFailed(cause)
    }

    /// Exports everything in the kept queue until `deadline`; nothing may be added to the queue. With a spool, the
    /// first half of the time is for the sink, and the second half is for writing the rest to the disk. `unwritten`
    /// defines the fate of the spans that are not written by then. Returns the number of dropped spans.
    pub async fn shutdown(mut self, deadline: Instant, unwritten: Unwritten) -> u64 {
        // An error means that the task has already ended.
        let _ = self.stop.send(deadline);
        if !self.task.is_finished() && tokio::time::timeout_at(deadline, &mut self.task).await.is_err() {
            self.task.abort();
            // After its end, the task settles no more spans.
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

/// The work that may still be done in a slice.
struct SliceAllowance {
    spans: u32,
    bytes: usize,
    /// True if memory was full at the start of the slice. Then only the two limits above end it.
    is_full: bool,
}

impl SliceAllowance {
    fn is_used_up(&self, is_full: bool) -> bool {
        self.spans == 0 || self.bytes == 0 || is_full && !self.is_full
    }
}

struct Worker<E, S> {
    kept: Arc<KeptQueue>,
    /// Spans taken from the front of the kept queue.
    encode_queue: EncodeQueue,
    encoder: E,
    /// The memory that the encoder holds between spans.
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
            // Then only the spans in open batches can release memory.
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
                // If the sender of the deadline is dropped, the task stops without a deadline.
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

    /// Writes all remaining spans to the spool, in parts that fit into memory.
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

    /// Returns true if kept spans wait to be encoded.
    fn has_more(&self) -> bool {
        !self.encode_queue.is_empty() || !self.kept.is_empty()
    }

    /// Returns true if memory has room for encoded spans. If nothing else can release memory, encoding must continue
    /// anyway.
    fn has_room(&self) -> bool {
        !self.is_full() || self.delivery.is_idle()
    }

    /// Returns true if the memory for encoded spans is used up.
    fn is_full(&self) -> bool {
        let limit_bytes = self.budget.limit_bytes();
        self.budget.filled_bytes() > limit_bytes + ladder::ENCODED.of(limit_bytes)
    }

    /// Encodes some spans of the queue, at most until memory is full. Each fragment is released when all of its spans
    /// are encoded, and a request is released with its last fragment.
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

    /// Encodes spans from the start of the fragment, and returns their number.
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

    /// Encodes a span and returns the encoded length in bytes, or 0 if the span had to be dropped.
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
