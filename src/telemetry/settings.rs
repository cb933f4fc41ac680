//! The section `telemetry` of the configuration.

use crate::settings::kinds::{ADDRESS, Choice, OrNone, Sub, WholeNumber};
use crate::settings::{Limit, section};
use crate::tail::Services;

const SERVICES: Limit<u64> = Limit { min: 1, max: 10_000, why: "each one has about ten series" };

section! {
    /// Spansieve's own metrics and logs.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Telemetry {
        /// A separate address (`host:port`) for `/metrics`, in plaintext and without `otlp.tls`. It also serves `/livez`,
        /// `/readyz` and grpc.health.v1. The addresses of `otlp.listen` then no longer serve `/metrics`. Empty: none.
        pub listen: Option<String> = None, OrNone(ADDRESS);
        /// The most services that metrics tell apart. All later ones are counted together as `other`.
        pub services_max: usize = Services::MAX_DEFAULT, WholeNumber::within(SERVICES);
        /// Spansieve's own logs.
        pub log: Log = Log::default(), Sub;
    }
}

section! {
    /// Spansieve's own logs.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Log {
        /// The least severe level that is logged: `error`, `warn`, `info`, `debug` or `trace`.
        pub level: LogLevel = LogLevel::Info, Choice::of("level", &LEVELS);
        /// `text` is for people, `json` is for Cloud Logging. `auto` is `text` on a terminal and `json` otherwise.
        pub format: LogFormat = LogFormat::Auto, Choice::of("format", &FORMATS);
    }
}

const LEVELS: [(&str, LogLevel); 5] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

const FORMATS: [(&str, LogFormat); 3] =
    [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];

/// A log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Failures that an operator must act on.
    Error,
    /// Conditions that an operator may have to act on.
    Warn,
    /// Events of normal operation.
    Info,
    /// Details for debugging.
    Debug,
    /// All details for debugging.
    Trace,
}

/// A log format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Readable on a terminal, JSON otherwise.
    Auto,
    /// Readable.
    Text,
    /// Cloud Logging's structured JSON.
    Json,
}
