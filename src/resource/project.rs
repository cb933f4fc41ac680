//! The Google Cloud project that a resource names.

use std::sync::Arc;

use super::{Attributes, value};
use crate::otlp::view::AnyValue;

/// What Google's Telemetry API reads.
const KEY: &str = "gcp.project_id";
/// What Google's Go exporter reads.
const OLD_KEY: &str = "gcp.project.id";

/// What may stand in a project id: enough for `example.com:project-1`, and nothing that would break a span's name.
const BYTES_MAX: usize = 128;

impl Attributes {
    /// The project that the attributes name. One that cannot be a project counts as none, so that it cannot spoil a call.
    #[must_use]
    pub fn project(&self) -> Option<Arc<str>> {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
        [KEY, OLD_KEY].into_iter().find_map(|key| match self.get(key) {
            Some(AnyValue::String(name)) if (1..=BYTES_MAX).contains(&name.len()) && name.iter().all(allowed) => {
                std::str::from_utf8(name).ok().map(Arc::from)
            }
            _ => None,
        })
    }

    /// Names `project`, by the Telemetry API's key alone.
    pub fn set_project(&mut self, project: &str) {
        self.remove(OLD_KEY.as_bytes());
        self.remove(KEY.as_bytes());
        self.set(KEY.as_bytes(), value::string(project));
    }
}
