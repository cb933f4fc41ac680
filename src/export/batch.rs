//! Encoded spans gathered into calls: one open batch a project. Pure: time is an argument.

mod description;
mod message;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use self::message::MessageBuilder;
use super::spool::RecordId;
use crate::budget::{Budget, Share};
use crate::config::settings;
use crate::tail::journal_hold::{KEPT_SPANS_HOLD_BYTES, KeptSpansHold};

pub use self::description::SpanDescription;
pub use self::message::{Form, Place, SPANS_FIELD};

/// Batches open at a time; the oldest is closed early for another project. Services name their project in a resource
/// attribute, so the number of projects is theirs to choose, and each open batch may grow to `max_bytes`.
pub const OPEN_PROJECTS_MAX: usize = 16;

/// What a batch takes beside its message, in whatever queue it waits: batches of one span must not cheat the budget.
pub const OVERHEAD_BYTES: usize = 512;
/// Of the buffer for one span, what is kept for the next: a span of several megabytes is a rare one.
const RECORD_BYTES_KEPT: usize = 64 << 10;

/// The spans of one call, as the message that is sent. Cheap to clone; clones share the bytes, and the memory budget
/// has them back with the last one. [`Batch::new`] makes the same batch again of what the methods give.
#[derive(Clone, Debug)]
pub struct Batch {
    form: Form,
    project: Arc<str>,
    message: Bytes,
    span_count: u32,
    /// Where it lies in the spool, if it came from there.
    record: Option<RecordId>,
    share: Arc<Share>,
    /// On the copies of the spans in the journal, if there is one.
    holds: Option<Arc<JournalHolds>>,
}

/// The holds of a batch, each a part of its own.
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
    /// The batch whose finished `message` of `form` holds `span_count` spans of `project`. Its bytes count in `budget`,
    /// over its limit if need be.
    #[must_use]
    pub fn new(form: Form, project: Arc<str>, message: Bytes, span_count: u32, budget: &Budget) -> Self {
        let share = Arc::new(budget.force(message.len() + OVERHEAD_BYTES));
        Batch { form, project, message, span_count, record: None, share, holds: None }
    }

    /// The same batch as a part of `record` of the spool, or all of it.
    #[must_use]
    pub fn of_record(self, record: Option<RecordId>) -> Self {
        Batch { record, ..self }
    }

    /// The spans are exported, dropped and counted, or in the spool: the journal may forget them.
    pub fn settle(&self) {
        self.holds().for_each(|hold| hold.settle());
    }

    /// Whether the journal has the spans.
    #[must_use]
    pub fn is_journalled(&self) -> bool {
        self.holds.is_some()
    }

    fn holds(&self) -> impl Iterator<Item = &Arc<KeptSpansHold>> {
        self.holds.iter().flat_map(|holds| &holds.holds)
    }

    /// The record of the spool that the spans are in, if they are in one.
    #[must_use]
    pub fn record(&self) -> Option<RecordId> {
        self.record
    }

    /// What message it is.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// The id of the project that the spans belong to.
    #[must_use]
    pub fn project(&self) -> &Arc<str> {
        &self.project
    }

    /// The number of spans; at least 1.
    #[must_use]
    pub fn span_count(&self) -> u32 {
        self.span_count
    }

    /// The encoded request.
    #[must_use]
    pub fn message(&self) -> &Bytes {
        &self.message
    }

    /// Bytes of the encoded request.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.message.len()
    }

    /// The same spans as two batches, or `None` for a single span.
    #[cfg(test)]
    pub(crate) fn halves(&self) -> Option<(Batch, Batch)> {
        let half = self.span_count as usize / 2;
        let mut parts = self.parts(|place| usize::from(place >= half)).into_iter();
        parts.next().zip(parts.next())
    }

    /// The spans, descriptions in their order.
    #[must_use]
    pub fn descriptions(&self) -> Vec<SpanDescription> {
        self.form.records(&self.message).into_iter().map(|record| self.form.describe(record)).collect()
    }

    /// The spans as records, in their order.
    #[must_use]
    pub fn records(&self) -> Vec<&[u8]> {
        self.form.records(&self.message)
    }

    /// The same spans in as many batches as there are parts with spans in them; `part_of` says in which part the span at a
    /// place is. The parts come in the order of their numbers.
    #[must_use]
    pub fn parts(&self, part_of: impl Fn(usize) -> usize) -> Vec<Batch> {
        let parts = self.form.parts(&self.message, part_of);
        // Which span is in which part is not known here: each hold waits for all of them.
        (1..parts.len()).for_each(|_| self.holds().for_each(|hold| hold.split()));
        let part = |(message, span_count): (Vec<u8>, u32)| {
            let project = Arc::clone(&self.project);
            let part = Batch::new(self.form, project, message.into(), span_count, self.share.budget());
            Batch { record: self.record, holds: self.holds.clone(), ..part }
        };
        parts.into_iter().map(part).collect()
    }

    /// The spans of this batch and then of `others`, of the same form and project and of no record, as one batch. Copies them; the copy
    /// counts in `budget`.
    #[must_use]
    pub fn join<'a>(&'a self, others: impl Iterator<Item = &'a Batch> + Clone, budget: &Budget) -> Batch {
        let batches = std::iter::once(self).chain(others);
        let span_count = batches.clone().map(Batch::span_count).sum();
        let holds = batches.clone().flat_map(Batch::holds).map(Arc::clone).collect();
        let message = self.form.join(batches.map(|batch| &batch.message[..]));
        let joined = Batch::new(self.form, Arc::clone(&self.project), message.into(), span_count, budget);
        Batch { holds: JournalHolds::new(holds, budget), ..joined }
    }

    /// Names the first span by its ids alone, fit for a log.
    #[must_use]
    pub fn first_span_name(&self) -> String {
        self.form.first_span_name(&self.message)
    }
}

/// A batch under construction.
#[derive(Debug)]
struct OpenBatch {
    project: Arc<str>,
    /// When its first span came.
    since: Instant,
    spans: MessageBuilder,
    share: Share,
    holds: Vec<Arc<KeptSpansHold>>,
}

impl OpenBatch {
    fn push(&mut self, place: Place<'_>, record: &[u8], hold: Option<&Arc<KeptSpansHold>>) {
        self.spans.push(place.in_message(), record);
        // Spans of one fragment come one after the other.
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
    /// The span that is being encoded.
    record: Vec<u8>,
}

impl Batcher {
    /// Batches of `form` and at most `limits`, whose bytes count in `budget`, over its limit if need be: they are kept
    /// spans.
    #[must_use]
    pub fn new(form: Form, limits: settings::BatchSettings, budget: Budget) -> Self {
        Batcher { form, limits, budget, open: Vec::new(), closed: Vec::new(), record: Vec::new() }
    }

    /// Adds the span that `encode` appends as one record (field [`SPANS_FIELD`], with its key) to the batch of its
    /// project. A span that would make the batch larger than `max_bytes` starts the next one; larger ones than that go
    /// alone.
    ///
    /// # Errors
    /// Those of `encode`; the batch is then as it was.
    pub fn push<E>(
        &mut self,
        place: Place<'_>,
        now: Instant,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.push_held(place, None, now, encode).map(|_| ())
    }

    /// [`Batcher::push`] of a span that the journal has: its batch is a part of what `hold` waits for.
    ///
    /// Returns how many bytes it has.
    ///
    /// # Errors
    /// Those of `encode`; the batch is then as it was.
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

    /// Opens a batch; returns its place.
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

    /// When the next open batch has waited for `max_delay`.
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

    /// Takes the closed batches in the order in which they were closed.
    pub fn take_closed(&mut self) -> impl Iterator<Item = Batch> {
        self.closed.drain(..)
    }
}

#[cfg(test)]
mod tests;
