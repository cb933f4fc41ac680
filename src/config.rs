//! YAML to validated settings: every problem at once, each with line, column, snippet and what to write instead.
//!
//! Reads no clock and opens no socket.

pub mod settings;

pub use settings::Settings;
