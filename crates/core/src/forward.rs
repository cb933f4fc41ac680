//! The encoder for OTLP sinks.

pub mod encode;
