//! Names that senders choose as values of a metric label. However many names senders send, and whatever the names contain,
//! the number of series is bounded, and each name is short and readable.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::RwLock;

/// Names with a series of their own: more services than most projects have, and few enough series for each of them.
pub const NAMES_MAX: usize = 100;
/// Bytes of a name, as it was sent; what is longer is cut.
pub const NAME_BYTES_MAX: usize = 64;
/// The label of all names after the first [`NAMES_MAX`]. A sender of this name is among them.
pub const OTHER: &str = "other";

/// The names that have been seen, until the process ends.
#[derive(Debug)]
pub struct SenderNames {
    known: RwLock<HashSet<Arc<str>>>,
    other: Arc<str>,
}

impl Default for SenderNames {
    fn default() -> Self {
        SenderNames { known: RwLock::default(), other: OTHER.into() }
    }
}

impl SenderNames {
    /// The label value for a name as it was sent: the name, cut, with U+FFFD for control characters and for what is no
    /// UTF-8; or [`OTHER`].
    #[must_use]
    pub fn label(&self, name: &[u8]) -> Arc<str> {
        let name = legible(name);
        if let Some(known) = self.known.read().get(&*name) {
            return Arc::clone(known);
        }
        let mut known = self.known.write();
        if known.len() >= NAMES_MAX && !known.contains(&*name) {
            return Arc::clone(&self.other);
        }
        let name: Arc<str> = name.into();
        known.insert(Arc::clone(&name));
        name
    }
}

fn legible(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(&name[..name.len().min(NAME_BYTES_MAX)]);
    name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests;
