//! Traces written by hand: one line for each span, with children indented below their parents.
//!
//! ```text
//! api  GET /cart    120ms  http.response.status_code=504 server
//!   * exception  @80ms  exception.type=Timeout
//!   db  SELECT cart  80ms  @20ms client
//! +14s worker  charge  5ms  error
//! ```
//!
//! A line has an optional time of arrival, a service, a name, a duration, and then words and attributes. `*` begins an
//! event of the span above, `>` a link. `docs/policy-tests.md` describes everything that can be written.

mod fields;
mod tokens;

use std::time::Duration;

use self::tokens::{Token, tokens};
use crate::settings::diagnostic::{SettingError, quote};
use crate::settings::units;

pub(super) use self::fields::hex;
pub(super) use self::tokens::is_word;
use crate::policy_tests::TextValue;

/// The most spans of a trace that is written by hand.
const SPAN_COUNT_MAX: usize = 10_000;

/// The longest time that a line may name. Later spans of a trace find it forgotten.
const TIME_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

/// A trace that is written by hand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceText {
    /// The spans in the order of their lines. A parent comes before its children.
    pub spans: Vec<TextSpan>,
}

/// Attributes by key, in the order in which they are written.
pub type TextAttributes = Vec<(String, TextValue)>;

/// A span of a trace that is written by hand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextSpan {
    /// The index of the parent in [`TraceText::spans`]; `None` for a root and for an orphan.
    pub parent: Option<usize>,
    /// True if the parent is not in the trace.
    pub orphan: bool,
    /// The time from the first request of the trace to the arrival of this span.
    pub arrival: Duration,
    /// The `service.name`.
    pub service: String,
    /// The name of the span.
    pub name: String,
    /// The time from the start of the parent to the start of this span.
    pub start: Duration,
    /// The time from start to end.
    pub duration: Duration,
    /// The number of the kind, as in `trace.proto`.
    pub kind: i32,
    /// The status code, as in `trace.proto`: 0 unset, 1 ok, 2 error.
    pub status: i32,
    /// The status message.
    pub status_message: String,
    /// True if the W3C flag `sampled` is set.
    pub sampled: bool,
    /// The W3C tracestate.
    pub trace_state: String,
    /// The name and the version of the instrumentation scope.
    pub scope: (String, String),
    /// The attributes of the span.
    pub attributes: TextAttributes,
    /// The attributes of its resource, without `service.name`.
    pub resource: TextAttributes,
    /// The events.
    pub events: Vec<TextEvent>,
    /// The links.
    pub links: Vec<TextLink>,
}

/// An event of a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextEvent {
    /// The name.
    pub name: String,
    /// The time from the start of the span.
    pub at: Duration,
    /// The attributes.
    pub attributes: TextAttributes,
}

/// A link to a span of another trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextLink {
    /// The trace id.
    pub trace_id: [u8; 16],
    /// The span id.
    pub span_id: [u8; 8],
    /// The attributes.
    pub attributes: TextAttributes,
}

/// A mistake in a trace that is written by hand.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceTextError {
    /// The place of the first wrong byte in the text.
    pub offset: usize,
    /// The number of characters that are wrong, at least 1.
    pub length: usize,
    /// The mistake, and what to write instead.
    pub fault: SettingError,
}

/// The place of a span that may get children.
struct OpenSpan {
    indent: usize,
    index: usize,
}

impl TraceText {
    /// Reads a trace.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub fn parse(text: &str) -> Result<Self, TraceTextError> {
        let mut trace = TraceText::default();
        let mut open: Vec<OpenSpan> = Vec::new();
        let mut offset = 0;
        for line in text.split_inclusive('\n') {
            let content = line.trim_end();
            if !matches!(content.trim_start().chars().next(), None | Some('#')) {
                trace.line(content, offset, &mut open)?;
            }
            offset += line.len();
        }
        if trace.spans.is_empty() {
            let fault = SettingError::new("the trace has no spans");
            return Err(error(0, 1, fault.help("write a line such as `api  GET /cart  20ms`")));
        }
        Ok(trace)
    }

    /// Reads one line, which begins at `offset` of the text.
    fn line(&mut self, line: &str, offset: usize, open: &mut Vec<OpenSpan>) -> Result<(), TraceTextError> {
        let content = line.trim_start_matches(' ');
        let indent = line.len() - content.len();
        if content.starts_with('\t') {
            let fault = SettingError::new("a tab in the indentation").help("indent with spaces");
            return Err(error(offset + indent, 1, fault));
        }
        let tokens = tokens(content, offset + indent)?;
        let Some(first) = tokens.first() else { return Ok(()) };
        match first.text {
            "*" => self.above(first, indent, open)?.events.push(fields::event(&tokens)?),
            ">" => self.above(first, indent, open)?.links.push(fields::link(&tokens)?),
            _ => {
                let parent = parent(first, indent, open)?;
                if self.spans.len() == SPAN_COUNT_MAX {
                    let fault = SettingError::new(format!("more than {SPAN_COUNT_MAX} spans in a trace"));
                    return Err(first.error(fault.help("send it as an OTLP file, with `file:`")));
                }
                let mut span = fields::span(&tokens)?;
                span.parent = parent.filter(|_| !span.orphan);
                open.push(OpenSpan { indent, index: self.spans.len() });
                self.spans.push(span);
            }
        }
        Ok(())
    }

    /// Returns the span that a line with an event or a link belongs to: the last one that is indented less.
    fn above(&mut self, at: &Token<'_>, indent: usize, open: &[OpenSpan]) -> Result<&mut TextSpan, TraceTextError> {
        let owner = open.iter().rfind(|span| span.indent < indent).map(|span| span.index);
        owner.and_then(|index| self.spans.get_mut(index)).ok_or_else(|| {
            let fault = SettingError::new(format!("{} belongs to no span", quote(at.text)));
            at.error(fault.help("write it below its span, and indent it more than the span"))
        })
    }
}

/// Returns the parent of a span with this indentation, and closes the spans that cannot get children any more.
fn parent(at: &Token<'_>, indent: usize, open: &mut Vec<OpenSpan>) -> Result<Option<usize>, TraceTextError> {
    let mut closed = None;
    while let Some(last) = open.pop_if(|span| span.indent >= indent) {
        closed = Some(last.indent);
    }
    if closed.is_some_and(|closed| closed > indent) {
        let fault = SettingError::new("the indentation fits no line above");
        return Err(at.error(fault.help("indent siblings alike, and children more than their parent")));
    }
    Ok(open.last().map(|span| span.index))
}

fn error(offset: usize, length: usize, fault: SettingError) -> TraceTextError {
    TraceTextError { offset, length, fault }
}

/// Reads a duration that a line names.
fn duration(token: &Token<'_>, text: &str) -> Result<Duration, TraceTextError> {
    let duration = units::duration(text).map_err(|fault| token.error(fault))?;
    if duration > TIME_MAX {
        let fault = SettingError::new(format!("{} is too long", quote(text)));
        return Err(token.error(fault.help("at most 168h")));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests;
