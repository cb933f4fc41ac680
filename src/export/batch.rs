//! Encoded spans gathered into calls: one open batch a project. Pure: time is an argument.

use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, Bytes};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::spool::RecordId;
use crate::config::settings;
use crate::otlp::view::submessages;
use crate::otlp::wire::Reader;
use crate::tail::budget::{Budget, Share};

/// Batches open at a time; the oldest is closed early for another project. Services name their project in a resource
/// attribute, so the number of projects is theirs to choose, and each open batch may grow to `max_bytes`.
pub const OPEN_PROJECTS_MAX: usize = 16;

/// `BatchWriteSpansRequest.name`: `projects/[PROJECT_ID]` (`google/devtools/cloudtrace/v2/tracing.proto`).
const NAME_FIELD: u32 = 1;
/// `BatchWriteSpansRequest.spans`. The encoder writes its key too: a record is a whole field.
pub const SPANS_FIELD: u32 = 2;
const NAME_PREFIX: &str = "projects/";

/// What a batch takes beside its spans, in whatever queue it waits: batches of one span must not cheat the budget.
pub const OVERHEAD_BYTES: usize = 512;

/// The message that a batch is on the wire. Its number stands for it on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// `google.devtools.cloudtrace.v2.BatchWriteSpansRequest`: the spans of one project.
    CloudTrace = 1,
}

/// The spans of one call: a `google.devtools.cloudtrace.v2.BatchWriteSpansRequest` whose spans are encoded already.
/// Cheap to clone; clones and halves share the bytes, and the memory budget has them back with the last one.
#[derive(Clone, Debug)]
pub struct Batch {
    project: Arc<str>,
    spans: Bytes,
    span_count: u32,
    /// Where it lies in the spool, if it came from there.
    record: Option<RecordId>,
    _share: Arc<Share>,
}

impl Batch {
    /// A batch as the spool gives it back; `spans` is what [`Batch::spans`] was.
    #[must_use]
    pub fn recovered(record: RecordId, project: Arc<str>, spans: Bytes, span_count: u32, share: Share) -> Self {
        Batch { project, spans, span_count, record: Some(record), _share: Arc::new(share) }
    }

    /// The record of the spool that the spans are in, if they are in one.
    #[must_use]
    pub fn record(&self) -> Option<RecordId> {
        self.record
    }

    /// The encoded spans, each with its key (field [`SPANS_FIELD`]).
    #[must_use]
    pub fn spans(&self) -> &Bytes {
        &self.spans
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

    /// Bytes of the encoded request.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        name_field_len(&self.project) + self.spans.len()
    }

    /// Writes the request.
    pub fn encode(&self, out: &mut impl BufMut) {
        encode_key(NAME_FIELD, WireType::LengthDelimited, out);
        encode_varint(name_len(&self.project) as u64, out);
        out.put_slice(NAME_PREFIX.as_bytes());
        out.put_slice(self.project.as_bytes());
        out.put_slice(&self.spans);
    }

    /// The same spans as two batches, or `None` for a single span. Copies nothing.
    #[must_use]
    pub fn halves(&self) -> Option<(Batch, Batch)> {
        let left_count = self.span_count / 2;
        let mut reader = Reader::new(&self.spans);
        for _ in 0..left_count {
            reader.field().ok()??;
        }
        let middle = reader.position();
        let part = |spans, span_count| Batch { spans, span_count, ..self.clone() };
        (left_count > 0).then(|| {
            (
                part(self.spans.slice(..middle), left_count),
                part(self.spans.slice(middle..), self.span_count - left_count),
            )
        })
    }

    /// The spans of this batch and then of `others`, of the same project and of no record, as one batch. Copies them;
    /// the copy counts in `budget`.
    #[must_use]
    pub fn join<'a>(&'a self, others: impl Iterator<Item = &'a Batch> + Clone, budget: &Budget) -> Batch {
        let batches = std::iter::once(self).chain(others);
        let mut spans = Vec::with_capacity(batches.clone().map(|batch| batch.spans.len()).sum());
        let mut span_count = 0;
        for batch in batches {
            spans.extend_from_slice(&batch.spans);
            span_count += batch.span_count;
        }
        let share = budget.force(spans.len() + OVERHEAD_BYTES);
        Batch {
            project: Arc::clone(&self.project),
            spans: spans.into(),
            span_count,
            record: None,
            _share: Arc::new(share),
        }
    }

    /// The resource name (`projects/../traces/../spans/..`, `Span.name`) of the first span: ids alone, fit for a log.
    #[must_use]
    pub fn first_span_name(&self) -> String {
        let span = submessages(&self.spans, SPANS_FIELD).next().unwrap_or_default();
        let name = submessages(span, 1).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }
}

fn name_len(project: &str) -> usize {
    NAME_PREFIX.len() + project.len()
}

fn name_field_len(project: &str) -> usize {
    let len = name_len(project);
    1 + encoded_len_varint(len as u64) + len
}

/// A batch under construction.
#[derive(Debug)]
struct Open {
    project: Arc<str>,
    /// When its first span came.
    since: Instant,
    spans: Vec<u8>,
    span_count: u32,
    share: Share,
}

impl Open {
    fn encoded_len(&self) -> usize {
        name_field_len(&self.project) + self.spans.len()
    }

    fn add_span(&mut self) {
        self.span_count += 1;
        self.share.resize(self.spans.capacity());
    }

    fn close(mut self) -> Batch {
        self.spans.shrink_to_fit();
        self.share.resize(self.spans.len() + OVERHEAD_BYTES);
        Batch {
            project: self.project,
            spans: self.spans.into(),
            span_count: self.span_count,
            record: None,
            _share: Arc::new(self.share),
        }
    }
}

/// Gathers spans into batches.
#[derive(Debug)]
pub struct Batcher {
    limits: settings::Batch,
    budget: Budget,
    /// In the order of their first spans.
    open: Vec<Open>,
    closed: Vec<Batch>,
}

impl Batcher {
    /// Batches of at most `limits`, whose bytes count in `budget`, over its limit if need be: they are kept spans.
    #[must_use]
    pub fn new(limits: settings::Batch, budget: Budget) -> Self {
        Batcher { limits, budget, open: Vec::new(), closed: Vec::new() }
    }

    /// Adds the span that `encode` appends to the batch of `project` as one record (`spans`, field 2, with its key). A
    /// span that would make the batch larger than `max_bytes` starts the next one; larger ones than that go alone.
    ///
    /// # Errors
    /// Those of `encode`; the batch is then as it was.
    pub fn push<E>(
        &mut self,
        project: &Arc<str>,
        now: Instant,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(at) = self.open.iter().position(|open| open.project == *project) else {
            let mut spans = Vec::new();
            encode(&mut spans)?;
            self.open(project, now, spans);
            return Ok(());
        };
        let open = &mut self.open[at];
        let before = open.spans.len();
        encode(&mut open.spans).inspect_err(|_| open.spans.truncate(before))?;
        if open.encoded_len() > self.limits.max_bytes {
            let spans = open.spans.split_off(before);
            self.close(at);
            self.open(project, now, spans);
        } else {
            open.add_span();
            self.close_if_full(at);
        }
        Ok(())
    }

    /// Opens a batch with the first span in it.
    fn open(&mut self, project: &Arc<str>, since: Instant, spans: Vec<u8>) {
        if self.open.len() == OPEN_PROJECTS_MAX {
            self.close(0);
        }
        let share = self.budget.share();
        let mut open = Open { project: Arc::clone(project), since, spans, span_count: 0, share };
        open.add_span();
        self.open.push(open);
        self.close_if_full(self.open.len() - 1);
    }

    fn close_if_full(&mut self, at: usize) {
        let open = &self.open[at];
        if open.span_count as usize >= self.limits.max_spans || open.encoded_len() >= self.limits.max_bytes {
            self.close(at);
        }
    }

    fn close(&mut self, at: usize) {
        self.closed.push(self.open.remove(at).close());
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
        self.closed.extend(self.open.drain(..).map(Open::close));
    }

    /// Takes the closed batches in the order in which they were closed.
    pub fn take_closed(&mut self) -> impl Iterator<Item = Batch> {
        self.closed.drain(..)
    }
}

#[cfg(test)]
mod tests;
