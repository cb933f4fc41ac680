//! The sink Google Cloud Trace v2: the client, and the span encoder of the core.

pub mod client;

pub use spansieve_core::cloud_trace::{encode, settings};
