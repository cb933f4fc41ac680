//! OTLP/JSON input. One streaming pass converts it to the protobuf bytes of the same request, so that all later steps
//! handle one format. No tree and no objects are built. A string without escapes is copied straight to the output.
//!
//! This module accepts all that the OpenTelemetry Collector accepts and a little more. `docs/otlp-json.md` has the
//! table of cases, and a test runs it. The rules are those of the OTLP specification, "JSON Protobuf Encoding"
//! (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>). Where it says nothing, the rules are those of
//! proto3 JSON (<https://protobuf.dev/programming-guides/json/>).
//!
//! Invariants
//! - [`super::scan`] accepts the output unchanged: it is well-formed, and each singular submessage occurs once. JSON
//!   may nest 128 levels deep (serde_json's limit), which is fewer messages than [`super::wire::DEPTH_MAX`].
//! - An invalid id costs only its own span. It is written as an id of a wrong length, and the scan rejects the span.
//! - A body that has content never counts as an empty request. If an object has unknown keys but not the key that leads
//!   to the spans, the body is refused.

mod output;
mod scalar;
mod schema;
mod visit;

use serde::de::DeserializeSeed;
use thiserror::Error;

use output::MessageOutput;
use visit::ObjectVisitor;

/// The most bytes of an error message. The limit is needed because a message may quote the body.
const MESSAGE_LEN_MAX: usize = 300;

/// The reason why a body is not an `ExportTraceServiceRequest` in JSON. Retrying cannot help.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message} at line {line} column {column}")]
pub struct JsonError {
    /// The line of the body, counted from 1.
    pub line: usize,
    /// The column in bytes, counted from 1. It is 0 before the first byte of the line.
    pub column: usize,
    /// The description of the error, at most 300 bytes.
    pub message: String,
}

/// Converts the `ExportTraceServiceRequest` in `body` from OTLP/JSON to protobuf.
///
/// # Errors
/// A [`JsonError`] if `body` is not JSON, has a value of a wrong type or out of range, or has something other than
/// spans in it.
pub fn to_protobuf(body: &[u8]) -> Result<Vec<u8>, JsonError> {
    if body.trim_ascii().is_empty() {
        return Err(JsonError::at_start("the body is empty; a request without spans is `{}`"));
    }
    if body.starts_with(b"\xef\xbb\xbf") {
        return Err(JsonError::at_start("the body begins with a byte order mark, which JSON does not allow"));
    }
    // Without keys and quotes, about half of the body remains.
    let mut out = MessageOutput::with_capacity(body.len() / 2);
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    ObjectVisitor { message: &schema::REQUEST, out: &mut out }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(out.finish())
}

impl JsonError {
    fn at_start(message: &str) -> Self {
        JsonError { line: 1, column: 0, message: message.to_owned() }
    }
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let message = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
        let message = message[..message.floor_char_boundary(MESSAGE_LEN_MAX)].to_owned();
        JsonError { line, column, message }
    }
}

#[cfg(test)]
mod tests;
