//! Gathers encoded spans into batches. Each project has one open batch, and each batch becomes one call. Pure: time is
//! an argument.

mod description;
mod message;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use self::message::MessageBuilder;
use super::spool::RecordId;
use crate::budget::{Budget, Share};
use crate::export::settings;
use crate::tail::journal_hold::{KEPT_SPANS_HOLD_BYTES, KeptSpansHold};

pub use self::description::SpanDescription;
pub use self::message::{Form, Place, SPANS_FIELD};

/// The largest number of open batches. The oldest one is closed early to make room for another project. Senders name
/// the project in a resource attribute, so they determine the number of projects, and each open batch may grow to
/// `max_bytes`.
pub const OPEN_PROJECTS_MAX: usize = 16;

/// Bytes of memory that a batch takes in addition to its message. They are charged to the budget, because a batch may
/// have only one span.
pub const OVERHEAD_BYTES: usize = 512;
/// The capacity of the buffer for one span that is kept for the next span. A span of several megabytes is rare.
const RECORD_BYTES_KEPT: usize = 64 << 10;

/// The spans of one call, as the message that is sent. A clone is cheap and shares the bytes; the memory budget gets
/// them back with the last clone. [`Batch::new`] builds an equal batch from the results of the methods.
#[derive(Clone, Debug)]
pub struct Batch {
    form: Form,
    project: Arc<str>,
    message: Bytes,
    span_count: u32,
    /// The record of the spool that the spans come from.
    record: Option<RecordId>,
    share: Arc<Share>,
    /// The holds on the requests of the spans in the journal, if there is a journal.
    holds: Option<Arc<JournalHolds>>,
}

/// The holds of a batch. The batch counts as one part of each of them.
#[derive(Debug)]
struct JournalHolds {
    holds: Vec<Arc<KeptSpansHold>>,
    _share: Share,
}

impl JournalHolds {
    fn new(holds: Vec<Arc<KeptSpansHold>>, budget: &Budget) -> Option<Arc<Self>> {
        let share = budget.force(holds.len() * KEPT_SPANS_HOLD_BYTES);
        (!holds.is_empty()).then(|| Arc::new(JournalHolds { holds, _share: share }))
    }
}

impl Batch {
    /// Creates a batch of the finished `message`, which has `span_count` spans of `project`. Its bytes are charged to
    /// `budget`, even over the limit.
    #[must_use]
    pub fn new(form: Form, project: Arc<str>, message: Bytes, span_count: u32, budget: &Budget) -> Self {
        let share = Arc::new(budget.force(message.len() + OVERHEAD_BYTES));
        Batch { form, project, message, span_count, record: None, share, holds: None }
    }

    /// Returns the same batch as (a part of) the record `record` of the spool.
    #[must_use]
    pub fn of_record(self, record: Option<RecordId>) -> Self {
        Batch { record, ..self }
    }

    /// Releases the requests of the spans in the journal. The caller has exported the spans, dropped and counted them,
    /// or written them to the spool.
    pub fn settle(&self) {
        self.holds().for_each(|hold| hold.settle());
    }

    /// Returns true if the journal has the spans.
    #[must_use]
    pub fn is_journalled(&self) -> bool {
        self.holds.is_some()
    }

    fn holds(&self) -> impl Iterator<Item = &Arc<KeptSpansHold>> {
        self.holds.iter().flat_map(|holds| &holds.holds)
    }

    /// Returns the record of the spool that the spans come from.
    #[must_use]
    pub fn record(&self) -> Option<RecordId> {
        self.record
    }

    /// Returns the kind of the message.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// Returns the id of the project that the spans belong to.
    #[must_use]
    pub fn project(&self) -> &Arc<str> {
        &self.project
    }

    /// Returns the number of spans; at least 1.
    #[must_use]
    pub fn span_count(&self) -> u32 {
        self.span_count
    }

    /// Returns the encoded request.
    #[must_use]
    pub fn message(&self) -> &Bytes {
        &self.message
    }

    /// Returns the length of the encoded request in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.message.len()
    }

    /// Returns the same spans in two batches, or `None` if there is only one span.
    #[cfg(test)]
    pub(crate) fn halves(&self) -> Option<(Batch, Batch)> {
        let half = self.span_count as usize / 2;
        let mut parts = self.parts(|place| usize::from(place >= half)).into_iter();
        parts.next().zip(parts.next())
    }

    /// Returns descriptions of the spans, in the order of the message.
    #[must_use]
    pub fn descriptions(&self) -> Vec<SpanDescription> {
        self.form.records(&self.message).into_iter().map(|record| self.form.describe(record)).collect()
    }

    /// Returns the spans as records, in the order of the message.
    #[must_use]
    pub fn records(&self) -> Vec<&[u8]> {
        self.form.records(&self.message)
    }

    /// Divides the spans into several batches. `part_of` maps the place of a span to the number of its part. The
    /// batches are in the order of these numbers; a number without spans has no batch.
    #[must_use]
    pub fn parts(&self, part_of: impl Fn(usize) -> usize) -> Vec<Batch> {
        let parts = self.form.parts(&self.message, part_of);
        // A batch does not know which of its spans belong to which hold. So each hold waits for all parts.
        (1..parts.len()).for_each(|_| self.holds().for_each(|hold| hold.split()));
        let part = |(message, span_count): (Vec<u8>, u32)| {
            let project = Arc::clone(&self.project);
            let part = Batch::new(self.form, project, message.into(), span_count, self.share.budget());
            Batch { record: self.record, holds: self.holds.clone(), ..part }
        };
        parts.into_iter().map(part).collect()
    }

    /// Returns one batch with the spans of this batch, followed by those of `others`. All of them have the same form
    /// and project, and none comes from the spool. The spans are copied, and the copy is charged to `budget`.
    #[must_use]
    pub fn join<'a>(&'a self, others: impl Iterator<Item = &'a Batch> + Clone, budget: &Budget) -> Batch {
        let batches = std::iter::once(self).chain(others);
        let span_count = batches.clone().map(Batch::span_count).sum();
        let holds = batches.clone().flat_map(Batch::holds).map(Arc::clone).collect();
        let message = self.form.join(batches.map(|batch| &batch.message[..]));
        let joined = Batch::new(self.form, Arc::clone(&self.project), message.into(), span_count, budget);
        Batch { holds: JournalHolds::new(holds, budget), ..joined }
    }

    /// Returns the ids of the first span as text for the log.
    #[must_use]
    pub fn first_span_name(&self) -> String {
        self.form.first_span_name(&self.message)
    }
}

/// A batch that is not closed yet.
#[derive(Debug)]
struct OpenBatch {
    project: Arc<str>,
    /// The time of its first span.
    since: Instant,
    spans: MessageBuilder,
    share: Share,
    holds: Vec<Arc<KeptSpansHold>>,
}

impl OpenBatch {
    fn push(&mut self, place: Place<'_>, record: &[u8], hold: Option<&Arc<KeptSpansHold>>) {
        self.spans.push(place.in_message(), record);
        // Spans of one fragment are added one after the other.
        let is_new = |hold: &&Arc<KeptSpansHold>| !self.holds.last().is_some_and(|last| Arc::ptr_eq(last, hold));
        if let Some(hold) = hold.filter(is_new) {
            hold.split();
            self.holds.push(Arc::clone(hold));
        }
        self.share.resize(self.spans.held_bytes() + self.holds.len() * KEPT_SPANS_HOLD_BYTES);
    }
}

/// Gathers spans into batches.
#[derive(Debug)]
pub struct Batcher {
    form: Form,
    limits: settings::BatchSettings,
    budget: Budget,
    /// In the order of their first spans.
    open: Vec<OpenBatch>,
    closed: Vec<Batch>,
    /// The buffer for the span that is encoded at present.
    record: Vec<u8>,
}

impl Batcher {
    /// Creates a batcher for batches of at most `limits`. Their bytes are charged to `budget`, even over the limit,
    /// because kept spans must not be dropped.
    #[must_use]
    pub fn new(form: Form, limits: settings::BatchSettings, budget: Budget) -> Self {
        Batcher { form, limits, budget, open: Vec::new(), closed: Vec::new(), record: Vec::new() }
    }

    /// Adds a span to the batch of its project. `encode` appends it as one record: the field [`SPANS_FIELD`] with its
    /// key. If the batch would become larger than `max_bytes`, it is closed first. A span that is larger than
    /// `max_bytes` gets a batch of its own.
    ///
    /// # Errors
    /// The error of `encode`. The batch is unchanged then.
    pub fn push<E>(
        &mut self,
        place: Place<'_>,
        now: Instant,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.push_held(place, None, now, encode).map(|_| ())
    }

    /// Adds a span as [`Batcher::push`] does. If the journal has the span, `hold` is the hold on its request, and the
    /// batch becomes a part of it.
    ///
    /// Returns the encoded length in bytes.
    ///
    /// # Errors
    /// The error of `encode`. The batch is unchanged then.
    pub fn push_held<E>(
        &mut self,
        place: Place<'_>,
        hold: Option<&Arc<KeptSpansHold>>,
        now: Instant,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        let encoded = encode(&mut record).map(|()| record.len());
        if encoded.is_ok() {
            self.add(place, now, &record, hold);
        }
        record.shrink_to(RECORD_BYTES_KEPT);
        self.record = record;
        encoded
    }

    fn add(&mut self, place: Place<'_>, now: Instant, record: &[u8], hold: Option<&Arc<KeptSpansHold>>) {
        let mut found = self.open.iter().position(|open| open.project == *place.project);
        if let Some(at) = found {
            let len = self.open[at].spans.len_with(place.in_message(), record);
            if len > self.limits.max_bytes {
                self.close(at);
                found = None;
            }
        }
        let at = found.unwrap_or_else(|| self.open(place.project, now));
        self.open[at].push(place, record, hold);
        let spans = &self.open[at].spans;
        if spans.span_count() as usize >= self.limits.max_spans || spans.encoded_len() >= self.limits.max_bytes {
            self.close(at);
        }
    }

    /// Opens a batch and returns its index.
    fn open(&mut self, project: &Arc<str>, since: Instant) -> usize {
        if self.open.len() == OPEN_PROJECTS_MAX {
            self.close(0);
        }
        let (spans, share) = (MessageBuilder::new(self.form), self.budget.share());
        self.open.push(OpenBatch { project: Arc::clone(project), since, spans, share, holds: Vec::new() });
        self.open.len() - 1
    }

    fn close(&mut self, at: usize) {
        let OpenBatch { project, spans, share, holds, .. } = self.open.remove(at);
        let span_count = spans.span_count();
        let batch = Batch::new(self.form, project, spans.finish().into(), span_count, &self.budget);
        drop(share);
        self.closed.push(Batch { holds: JournalHolds::new(holds, &self.budget), ..batch });
    }

    /// Returns the time at which the next open batch has waited for `max_delay`.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.open.first().map(|open| open.since + self.limits.max_delay)
    }

    /// Closes the batches that have waited for `max_delay`.
    pub fn close_due(&mut self, now: Instant) {
        while self.next_due().is_some_and(|due| due <= now) {
            self.close(0);
        }
    }

    /// Closes every batch.
    pub fn flush(&mut self) {
        while !self.open.is_empty() {
            self.close(0);
        }
    }

    /// Returns the closed batches in the order in which they were closed, and removes them.
    pub fn take_closed(&mut self) -> impl Iterator<Item = Batch> {
        self.closed.drain(..)
    }
}

#[cfg(test)]
mod tests;
