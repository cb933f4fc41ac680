//! OTLP as a sink: Google's Telemetry API, or anything else that takes OTLP. The encoder and the client.

pub mod client;
pub mod encode;
