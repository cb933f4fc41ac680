//! The encoder for Google Cloud Trace v2 and its settings.

pub mod encode;
pub mod settings;
