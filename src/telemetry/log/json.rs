//! Events as lines of JSON, with the fields that Cloud Logging knows.
//!
//! Source: "Structured logging", special fields in JSON payloads (cloud.google.com/logging/docs/structured-logging):
//! `severity`, `message`, `time`, `logging.googleapis.com/sourceLocation` (whose `line` is a string).

use std::error::Error;
use std::fmt::{self, Debug, Write};
use std::time::SystemTime;

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Formats events for Cloud Logging.
pub(super) struct Json {
    /// The clock behind `time`.
    pub(super) now: fn() -> SystemTime,
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let mut object = JsonObject::default();
        object.entry("severity", severity(*metadata.level()));
        // RFC 3339 down to the nanosecond, as the protobuf JSON mapping writes it.
        object.entry("time", &prost_types::Timestamp::from((self.now)()).to_string());
        object.entry("target", metadata.target());
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            let location = SourceLocation { file, line: line.to_string() };
            object.entry("logging.googleapis.com/sourceLocation", &location);
        }
        event.record(&mut object);
        writeln!(out, "{}", object.finish())
    }
}

/// Returns Cloud Logging's name of a level. Cloud Logging has no level below DEBUG.
fn severity(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG | Level::TRACE => "DEBUG",
    }
}

#[derive(Serialize)]
struct SourceLocation {
    file: &'static str,
    line: String,
}

/// A JSON object under construction.
struct JsonObject {
    text: String,
    names: Vec<&'static str>,
}

impl Default for JsonObject {
    fn default() -> Self {
        JsonObject { text: String::from("{"), names: Vec::with_capacity(8) }
    }
}

impl JsonObject {
    /// Adds `name: value`. A name that is already used gets the prefix `field.`, so that no field hides another one.
    fn entry(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        // Serialization fails only for a map whose keys are not strings. No caller passes such a map.
        let Ok(value) = serde_json::to_string(value) else { return };
        let separator = if self.names.is_empty() { "" } else { "," };
        let taken = self.names.iter().filter(|&&n| n == name).count();
        let name_json = serde_json::Value::from("field.".repeat(taken) + name);
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{separator}{name_json}:{value}");
        self.names.push(name);
    }

    fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }
}

impl Visit for JsonObject {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.entry(field.name(), &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.entry(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.entry(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.entry(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.entry(field.name(), &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.entry(field.name(), &value);
        } else {
            // JSON has no number for infinity and NaN.
            self.entry(field.name(), &value.to_string());
        }
    }

    /// Adds the error with all its causes.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            text = text + ": " + &cause.to_string();
            source = cause.source();
        }
        self.entry(field.name(), &text);
    }
}
