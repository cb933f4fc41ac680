//! The sink Google Cloud Trace v2: the span encoder and the client.

pub mod client;
pub mod encode;
pub mod settings;
