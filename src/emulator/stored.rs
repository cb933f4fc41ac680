//! A span as the store gives it back: decoded, with what the rest of the emulator asks of it.

use std::sync::Arc;

use crate::otlp::TraceId;
use crate::proto::google::devtools::cloudtrace::v2::attribute_value::Value;
use crate::proto::google::devtools::cloudtrace::v2::{AttributeValue, Span};

/// The attribute that names the policy that kept a trace.
pub const POLICY_KEY: &str = "spansieve.policy";
/// The attribute that says how many traces a kept one stands for.
pub const ADJUSTED_COUNT_KEY: &str = "spansieve.adjusted_count";

/// A span that kept every rule of the API.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSpan {
    /// The project of its name.
    pub project: Arc<str>,
    /// What its names and times mean.
    pub facts: SpanFacts,
    /// As it was sent.
    pub span: Span,
}

/// Ids and times of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanFacts {
    /// The trace of its name.
    pub trace_id: TraceId,
    /// Its id; never 0.
    pub id: u64,
    /// Its parent's id; 0: none.
    pub parent_id: u64,
    /// Nanoseconds since the epoch.
    pub start_ns: i64,
    /// Nanoseconds since the epoch; not before `start_ns`.
    pub end_ns: i64,
}

impl SpanFacts {
    /// From start to end.
    #[must_use]
    pub fn duration_ns(&self) -> i64 {
        self.end_ns.saturating_sub(self.start_ns)
    }
}

impl StoredSpan {
    /// The display name.
    #[must_use]
    pub fn display_name(&self) -> &str {
        self.span.display_name.as_ref().map_or("", |name| &name.value)
    }

    /// The attribute `key`.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        let AttributeValue { value } = self.span.attributes.as_ref()?.attribute_map.get(key)?;
        value.as_ref()
    }

    /// The attribute `key`, if it is a string.
    #[must_use]
    pub fn string_attribute(&self, key: &str) -> Option<&str> {
        match self.attribute(key)? {
            Value::StringValue(text) => Some(&text.value),
            _ => None,
        }
    }

    /// The attribute `key`, if it is a whole number.
    #[must_use]
    pub fn int_attribute(&self, key: &str) -> Option<i64> {
        match self.attribute(key)? {
            Value::IntValue(number) => Some(*number),
            _ => None,
        }
    }

    /// The service that the span is of.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        self.string_attribute("service.name")
    }

    /// The policy that kept the trace.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        self.string_attribute(POLICY_KEY)
    }

    /// How many traces the trace stands for. Cloud Trace has no doubles: a fraction comes as a string.
    #[must_use]
    pub fn adjusted_count(&self) -> Option<f64> {
        match self.attribute(ADJUSTED_COUNT_KEY)? {
            Value::IntValue(count) => Some(*count as f64),
            Value::StringValue(text) => text.value.parse().ok().filter(|count: &f64| count.is_finite()),
            Value::BoolValue(_) => None,
        }
    }

    /// Whether the span failed: by its status or, because some instrumentation forgets the status, by an HTTP 5xx or
    /// a gRPC code that means a server's fault
    /// (<https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>, "gRPC status").
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.span.status.as_ref().is_some_and(|status| status.code != 0)
            || HTTP_STATUS_KEYS.iter().any(|key| self.int_attribute(key).is_some_and(|code| code >= 500))
            || self.int_attribute("rpc.grpc.status_code").is_some_and(|code| GRPC_FAULT_CODES.contains(&code))
            || self.string_attribute("rpc.response.status_code").is_some_and(|code| GRPC_FAULT_NAMES.contains(&code))
    }
}

/// Present, older, and as Cloud Trace's exporters rename the older.
const HTTP_STATUS_KEYS: [&str; 3] = ["http.response.status_code", "http.status_code", "/http/status_code"];
const GRPC_FAULT_CODES: [i64; 6] = [2, 4, 12, 13, 14, 15];
const GRPC_FAULT_NAMES: [&str; 6] =
    ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"];

#[cfg(test)]
mod tests;
