//! The encoder and the client for OTLP sinks: Google's Telemetry API, or any other endpoint that accepts OTLP.

mod advice;
pub mod client;
pub mod encode;
