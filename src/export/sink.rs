//! The interface of a sink: the part that encodes spans for it, and the part that writes batches to it.
//!
//! Everything that differs between sinks is said by the sink: how often it may be called, what its status codes ask for,
//! and what the operator can do about each failure.

use std::fmt::Display;

use tonic::Code;

use super::batch::{Batch, Form, Place};
use super::failure::{Cause, Failure};
use super::ledger::DropReason;
use super::retry::{self, Action};
use crate::otlp::altered::AlteredSpans;
use crate::sampling::Keep;
use crate::tail::request::SpanBytes;

/// Writes batches. A call ends within a deadline of its own. It is made again with the same batch if its answer was lost,
/// and after the process was killed, so that the sink may get a span twice.
pub trait Sink: Send + Sync + 'static {
    /// Writes all spans of the batch, but for those that the answer counts as rejected; or none of them.
    ///
    /// # Errors
    /// The failure; [`super::retry`] says what each asks for.
    fn write(&self, batch: &Batch) -> impl Future<Output = Result<Written, Failure>> + Send;

    /// Returns the action that an answer with this status code asks for.
    fn action(&self, code: Code) -> Action {
        retry::usual(code)
    }

    /// Returns advice for the operator on a failure of this cause, with spans of `project`; `None` if a sink of this kind
    /// needs none.
    fn advice(&self, cause: Cause, project: Option<&str>) -> Option<String>;

    /// Returns the quota of the sink: calls a minute for each project. `None` if it has none; then calls are not paced.
    fn calls_per_minute(&self) -> Option<u32> {
        None
    }

    /// Returns the project of a batch as the log shows it; `None` if the batch belongs to no project.
    fn shown_project(project: &str) -> Option<&str> {
        Some(project)
    }

    /// Returns the places of those spans of a refused batch that break a known rule of the sink.
    fn rule_breakers(&self, _batch: &Batch) -> Vec<usize> {
        Vec::new()
    }
}

/// The answer to a batch that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Spans that the sink refused for good; sending them again is of no use.
    pub rejected_spans: u32,
    /// Why.
    pub message: String,
}

/// A server's message, cut to what a log line can bear, in one line and without escape sequences: it may quote a span.
pub(crate) fn cut(message: &str) -> String {
    const CHARS_MAX: usize = 300;
    let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    message.chars().take(CHARS_MAX).map(plain).collect()
}

/// Makes a sink's spans of OTLP spans.
pub trait EncodeSpans: Send + 'static {
    /// The message that the spans stand in.
    const FORM: Form;
    /// What spans of the same origin share; cheap to have again for the same bytes.
    type Origin: Send;
    /// Why a span cannot be encoded; says nothing of what it contains.
    type Error: Display;

    /// Spans are encoded at this time, nanoseconds since 1970, from here on.
    fn set_now(&mut self, _unix_nano: u64) {}

    /// Encodes the resource, and the scope as far as spans do not carry it themselves.
    fn origin(&mut self, span: SpanBytes<'_>) -> Self::Origin;

    /// Where the spans of an origin belong.
    fn place(origin: &Self::Origin) -> Place<'_>;

    /// Appends the span as a record of [`EncodeSpans::FORM`], with its key and length.
    ///
    /// # Errors
    /// The span cannot be encoded; what was appended is to be thrown away.
    fn span(
        &mut self,
        origin: &Self::Origin,
        span: SpanBytes<'_>,
        keep: Keep,
        out: &mut Vec<u8>,
    ) -> Result<(), Self::Error>;

    /// Takes the number of spans that were encoded otherwise than they were sent, since the last call.
    fn take_altered(&mut self) -> AlteredSpans;

    /// Bytes that are held from span to span.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Under which reason a span that cannot be encoded is counted.
    fn drop_reason(error: &Self::Error) -> DropReason;
}
