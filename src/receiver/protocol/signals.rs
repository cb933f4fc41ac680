//! Signals that are not accepted: metrics, logs and profiles. The answer tells the sender, and the log tells the
//! operator.

use std::time::Duration;

use http::HeaderMap;
use http::header::USER_AGENT;
use tokio::time::Instant;

use crate::receiver::admission::refusal::quote;
use crate::telemetry::Metrics;
use crate::telemetry::log::Throttle;
pub(in crate::receiver) use crate::telemetry::metrics::OtherSignal as Signal;

/// Throttles of one log line a minute for each signal. Senders repeat a refused signal for as long as they run.
static LINES: [Throttle; 3] = [const { Throttle::new(1, Duration::from_secs(60)) }; 3];

impl Signal {
    /// Returns the signal that is posted to `path` (OTLP specification, OTLP/HTTP Request).
    pub(in crate::receiver) fn at(path: &str) -> Option<Self> {
        match path {
            "/v1/metrics" => Some(Signal::Metrics),
            "/v1/logs" => Some(Signal::Logs),
            "/v1/profiles" | "/v1development/profiles" => Some(Signal::Profiles),
            _ => None,
        }
    }

    /// Returns the signal of the gRPC method at `path`.
    pub(super) fn of_method(path: &str) -> Option<Self> {
        let service = path.strip_prefix("/opentelemetry.proto.collector.")?;
        Self::ALL
            .into_iter()
            .find(|signal| service.strip_prefix(signal.as_str()).is_some_and(|rest| rest.starts_with('.')))
    }

    /// Returns advice on how to keep a sender from sending the signal (OpenTelemetry specification, Environment
    /// Variables).
    pub(in crate::receiver) fn remedy(self) -> &'static str {
        match self {
            Signal::Metrics => "set OTEL_METRICS_EXPORTER=none at the sender, or set another endpoint for them",
            Signal::Logs => "set OTEL_LOGS_EXPORTER=none at the sender, or set another endpoint for them",
            Signal::Profiles => "turn them off at the sender, or set another endpoint for them",
        }
    }

    /// Counts a request with these headers. Logs it at most once a minute.
    pub(super) fn notice(self, headers: &HeaderMap, metrics: &Metrics) {
        metrics.other_signal(self);
        if let Some(others) = LINES[self as usize].pass(Instant::now()) {
            let sender = headers.get(USER_AGENT).map_or_else(|| "unknown".to_owned(), |name| quote(name.as_bytes()));
            let (signal, remedy) = (self.as_str(), self.remedy());
            tracing::warn!(sender, others, "A sender of {signal} is refused. Only traces are accepted: {remedy}.");
        }
    }
}

#[cfg(test)]
mod tests;
