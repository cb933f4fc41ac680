//! A span as the store returns it: decoded, with its facts and the attributes that the emulator needs.

use std::sync::{Arc, LazyLock};

use crate::condition::{Condition, Field, HTTP_STATUS_KEYS, Test};
use crate::otlp::TraceId;
use crate::otlp::view::AnyValue;
use crate::proto::google::devtools::cloudtrace::v2::attribute_value::Value;
use crate::proto::google::devtools::cloudtrace::v2::{AttributeValue, Span};

/// The key of the attribute with the name of the policy that kept the trace.
pub const POLICY_KEY: &str = "spansieve.policy";
/// The key of the attribute with the trace's adjusted count.
pub const ADJUSTED_COUNT_KEY: &str = "spansieve.adjusted_count";

/// A valid span, which breaks no rule of the API.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSpan {
    /// The project in the span's name.
    pub project: Arc<str>,
    /// The ids and times, decoded.
    pub facts: SpanFacts,
    /// The span as the client sent it.
    pub span: Span,
}

/// Ids and times of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanFacts {
    /// The trace id in the span's name.
    pub trace_id: TraceId,
    /// The span id; never 0.
    pub id: u64,
    /// The parent's span id; 0 means that the span has no parent.
    pub parent_id: u64,
    /// The start, in nanoseconds since the epoch.
    pub start_ns: i64,
    /// The end, in nanoseconds since the epoch; not before `start_ns`.
    pub end_ns: i64,
}

impl SpanFacts {
    /// Returns the nanoseconds from start to end.
    #[must_use]
    pub fn duration_ns(&self) -> i64 {
        self.end_ns.saturating_sub(self.start_ns)
    }
}

impl StoredSpan {
    /// Returns the display name.
    #[must_use]
    pub fn display_name(&self) -> &str {
        self.span.display_name.as_ref().map_or("", |name| &name.value)
    }

    /// Returns the value of the attribute `key`.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        let AttributeValue { value } = self.span.attributes.as_ref()?.attribute_map.get(key)?;
        value.as_ref()
    }

    /// Returns the value of the attribute `key` if it is a string.
    #[must_use]
    pub fn string_attribute(&self, key: &str) -> Option<&str> {
        match self.attribute(key)? {
            Value::StringValue(text) => Some(&text.value),
            _ => None,
        }
    }

    /// Returns the service that made the span (`service.name`).
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        self.string_attribute("service.name")
    }

    /// Returns the policy that kept the trace.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        self.string_attribute(POLICY_KEY)
    }

    /// Returns the adjusted count. It is a string if it is not an integer, because Cloud Trace has no doubles.
    #[must_use]
    pub fn adjusted_count(&self) -> Option<f64> {
        match self.attribute(ADJUSTED_COUNT_KEY)? {
            Value::IntValue(count) => Some(*count as f64),
            Value::StringValue(text) => text.value.parse().ok().filter(|count: &f64| count.is_finite()),
            Value::BoolValue(_) => None,
        }
    }

    /// Returns true if the span failed according to its status, or to an attribute that makes the policy `error` keep
    /// the trace. The attributes count because some instrumentation does not set the status.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.span.status.as_ref().is_some_and(|status| status.code != 0)
            || ATTRIBUTE_FAILURES.iter().any(|test| self.passes(test))
    }

    /// Returns true if the attribute of `test` passes. The HTTP status is also found under its label in Cloud Trace.
    fn passes(&self, Test { field, check }: &Test) -> bool {
        let Field::SpanAttribute(key) = field else { return false };
        let label = HTTP_STATUS_KEYS.contains(&key.as_str()).then_some(HTTP_STATUS_LABEL);
        let mut values = std::iter::once(key.as_str()).chain(label).filter_map(|key| self.attribute(key));
        values.any(|value| check.passes(any_value(value)))
    }
}

/// The key that Cloud Trace's exporters use for the HTTP status.
const HTTP_STATUS_LABEL: &str = "/http/status_code";

/// The attribute tests of the policy `error`. They are taken from its condition, so that the page shows as an error
/// what the policy keeps as an error.
static ATTRIBUTE_FAILURES: LazyLock<Vec<Test>> = LazyLock::new(|| match Condition::failed(false, true, true) {
    Condition::Any(parts) => {
        parts.into_iter().filter_map(|part| if let Condition::Test(test) = part { Some(test) } else { None }).collect()
    }
    _ => Vec::new(),
});

/// Converts a stored value for use in conditions. Doubles are stored as strings.
fn any_value(value: &Value) -> AnyValue<'_> {
    match value {
        Value::StringValue(text) => AnyValue::String(text.value.as_bytes()),
        Value::IntValue(number) => AnyValue::Int(*number),
        Value::BoolValue(bool) => AnyValue::Bool(*bool),
    }
}

#[cfg(test)]
mod tests;
