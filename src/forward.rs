//! The encoder and the client for OTLP sinks: Google's Telemetry API, or any other endpoint that accepts OTLP.

mod advice;
pub mod client;
#[cfg(test)]
mod tests;

pub use spansieve_core::forward::encode;
