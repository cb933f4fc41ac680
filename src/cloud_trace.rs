//! Google Cloud Trace v2 as a sink: the span encoder and the client.

pub mod client;
pub mod encode;
