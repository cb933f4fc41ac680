//! Names that senders choose, as values of a metric label.

pub use crate::tail::services::{NAME_BYTES_MAX, OTHER, legible};
