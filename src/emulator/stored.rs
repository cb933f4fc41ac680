//! A span as the store gives it back: decoded, with what the rest of the emulator asks of it.

use std::sync::{Arc, LazyLock};

use crate::condition::{Condition, Field, HTTP_STATUS_KEYS, Test};
use crate::otlp::TraceId;
use crate::otlp::view::AnyValue;
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

    /// Whether the span failed: by its status, or by an attribute that makes the policy `error` keep its trace. Some
    /// instrumentation forgets the status.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.span.status.as_ref().is_some_and(|status| status.code != 0)
            || ATTRIBUTE_FAILURES.iter().any(|test| self.passes(test))
    }

    /// Whether the attribute that `test` is about passes, also under the name that the console has for it.
    fn passes(&self, Test { field, check }: &Test) -> bool {
        let Field::SpanAttribute(key) = field else { return false };
        let label = HTTP_STATUS_KEYS.contains(&key.as_str()).then_some(HTTP_STATUS_LABEL);
        let mut values = std::iter::once(key.as_str()).chain(label).filter_map(|key| self.attribute(key));
        values.any(|value| check.passes(any_value(value)))
    }
}

/// The name under which Cloud Trace's exporters write the HTTP status.
const HTTP_STATUS_LABEL: &str = "/http/status_code";

/// The tests of attributes in the rule of the policy `error`. One rule for both: what is kept as an error is shown as one.
static ATTRIBUTE_FAILURES: LazyLock<Vec<Test>> = LazyLock::new(|| match Condition::failed(false, true, true) {
    Condition::Any(parts) => {
        parts.into_iter().filter_map(|part| if let Condition::Test(test) = part { Some(test) } else { None }).collect()
    }
    _ => Vec::new(),
});

/// A stored value as conditions see it. Doubles are stored as text.
fn any_value(value: &Value) -> AnyValue<'_> {
    match value {
        Value::StringValue(text) => AnyValue::String(text.value.as_bytes()),
        Value::IntValue(number) => AnyValue::Int(*number),
        Value::BoolValue(bool) => AnyValue::Bool(*bool),
    }
}

#[cfg(test)]
mod tests;
