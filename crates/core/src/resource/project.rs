//! The Google Cloud project that a resource names.

use std::sync::Arc;

use super::{ResourceAttributes, value};
use crate::otlp::view::AnyValue;

/// The key that Google's Telemetry API reads.
const KEY: &str = "gcp.project_id";
/// The key that Google's Go exporter reads.
const OLD_KEY: &str = "gcp.project.id";

/// Maximum length of a project id.
const BYTES_MAX: usize = 128;

impl ResourceAttributes {
    /// Returns the project that the attributes name. A value that cannot be a project id is ignored, so that it does
    /// not make an API call fail: the allowed characters are enough for `example.com:project-1`, and none of them
    /// breaks the resource name of a span.
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

    /// Sets the project to `project`, under the key of the Telemetry API only. Removes the other key.
    pub fn set_project(&mut self, project: &str) {
        self.remove(OLD_KEY.as_bytes());
        self.remove(KEY.as_bytes());
        self.set(KEY.as_bytes(), value::string(project));
    }
}
