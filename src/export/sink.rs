//! The interface of a sink: one part encodes spans for it, the other part writes batches to it.
//!
//! Each sink itself defines everything that differs between sinks: its quota of calls, the meaning of its status codes,
//! and the advice for the operator on each failure.

use std::fmt::Display;

use tonic::Code;

use super::batch::{Batch, Form, Place};
use super::failure::{Cause, Failure};
use super::ledger::DropReason;
use super::retry::{self, Action};
use crate::otlp::altered::AlteredSpans;
use crate::sampling::Keep;
use crate::tail::request::SpanBytes;

/// Writes batches to a sink. A call ends within its deadline. The same batch is written again if the answer to a call
/// was lost, and also after the process was killed. A sink may therefore receive a span twice.
pub trait Sink: Send + Sync + 'static {
    /// Writes the spans of the batch: either all of them, except those that the answer counts as rejected, or none.
    ///
    /// # Errors
    /// The failure. [`super::retry`] defines what to do after it.
    fn write(&self, batch: &Batch) -> impl Future<Output = Result<Written, Failure>> + Send;

    /// Returns the action to take after an answer with this status code.
    fn action(&self, code: Code) -> Action {
        retry::usual(code)
    }

    /// Returns advice for the operator on a failure of this cause, with spans of `project`. Returns `None` if there is
    /// nothing to do.
    fn advice(&self, cause: Cause, project: Option<&str>) -> Option<String>;

    /// Returns the quota of the sink in calls a minute for each project. Returns `None` if it has no such quota; then
    /// calls are not paced.
    fn calls_per_minute(&self) -> Option<u32> {
        None
    }

    /// Returns the name of the project for the log, or `None` if the spans belong to no project.
    fn shown_project(project: &str) -> Option<&str> {
        Some(project)
    }

    /// Returns the places of those spans of a refused batch that break a known rule of the sink.
    fn rule_breakers(&self, _batch: &Batch) -> Vec<usize> {
        Vec::new()
    }
}

/// The answer to a batch that the sink accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The number of spans that the sink refused finally. They must not be sent again.
    pub rejected_spans: u32,
    /// The reason why spans were rejected, or a warning if none were.
    pub message: String,
}

/// Returns the first 300 characters of a server's message, without control characters: it may quote a span.
pub(crate) fn cut(message: &str) -> String {
    const CHARS_MAX: usize = 300;
    let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    message.chars().take(CHARS_MAX).map(plain).collect()
}

/// Encodes OTLP spans for a sink.
pub trait EncodeSpans: Send + 'static {
    /// The message that contains the encoded spans.
    const FORM: Form;
    /// The encoded resource and scope, which spans have in common. It must be cheap to get again for the same bytes.
    type Origin: Send;
    /// The reason why a span cannot be encoded. It must not contain the contents of the span.
    type Error: Display;

    /// Sets the time for the encoding of the next spans, in nanoseconds since 1970.
    fn set_now(&mut self, _unix_nano: u64) {}

    /// Encodes the resource of a span, and those parts of its scope that are not encoded in each span.
    fn origin(&mut self, span: SpanBytes<'_>) -> Self::Origin;

    /// Returns the place of the spans of this origin in a message.
    fn place(origin: &Self::Origin) -> Place<'_>;

    /// Appends the span as a record of [`EncodeSpans::FORM`], with its key and length.
    ///
    /// # Errors
    /// The span cannot be encoded. The caller discards the bytes that were appended.
    fn span(
        &mut self,
        origin: &Self::Origin,
        span: SpanBytes<'_>,
        keep: Keep,
        out: &mut Vec<u8>,
    ) -> Result<(), Self::Error>;

    /// Returns the number of spans whose encoding differs from what was sent, and sets it to zero.
    fn take_altered(&mut self) -> AlteredSpans;

    /// Returns the bytes of memory that the encoder holds between spans.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Returns the reason under which a span that cannot be encoded is counted.
    fn drop_reason(error: &Self::Error) -> DropReason;
}
