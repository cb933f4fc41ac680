//! OTLP/JSON in: transcoded to the protobuf bytes of the same request in one streaming pass, so that there is one path
//! behind the door. No tree and no objects in between; a string without escapes goes straight from body to output.
//!
//! It takes what the OpenTelemetry Collector takes and a little more: `docs/otlp-json.md` is the table, which a test
//! runs. The rules are those of the OTLP specification, "JSON Protobuf Encoding"
//! (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>), and of proto3 JSON
//! (<https://protobuf.dev/programming-guides/json/>) where it is silent.
//!
//! Invariants
//! - What is returned passes [`super::scan`] unchanged: well-formed, each singular submessage once. JSON may nest 128
//!   levels deep (serde_json's limit), which is fewer messages than [`super::wire::DEPTH_MAX`].
//! - A bad id spoils its span alone: it is passed on as an id of a wrong length, and the scan rejects the span.
//! - A body that holds something is never taken for an empty request: keys that stand where the spans should be are
//!   an error.

mod output;
mod scalar;
mod schema;
mod visit;

use serde::de::DeserializeSeed;
use thiserror::Error;

use output::Output;
use visit::Object;

/// An error's message is cut to this many bytes: it may quote the body.
const MESSAGE_LEN_MAX: usize = 300;

/// Why a body is not an `ExportTraceServiceRequest` in JSON. Retrying cannot help.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message} at line {line} column {column}")]
pub struct JsonError {
    /// Line of the body, from 1.
    pub line: usize,
    /// Column in bytes, from 1; 0 before the first.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// The protobuf bytes of the `ExportTraceServiceRequest` that `body` holds as OTLP/JSON.
///
/// # Errors
/// A [`JsonError`] if `body` is not JSON, has a value of a wrong type or out of range, or holds something other than
/// spans.
pub fn to_protobuf(body: &[u8]) -> Result<Vec<u8>, JsonError> {
    if body.trim_ascii().is_empty() {
        return Err(JsonError::at_start("the body is empty; a request without spans is `{}`"));
    }
    if body.starts_with(b"\xef\xbb\xbf") {
        return Err(JsonError::at_start("the body begins with a byte order mark, which JSON must not"));
    }
    // Half a body is about what keys and quotes leave of it.
    let mut out = Output::with_capacity(body.len() / 2);
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    Object { message: &schema::REQUEST, out: &mut out }.deserialize(&mut deserializer)?;
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
