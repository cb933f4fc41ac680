//! Names that senders choose, as values of a metric label. The number of series is bounded and each name is short and
//! readable, no matter how many names senders send and what the names contain.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::RwLock;

/// Number of names with a series of their own: more services than most projects have, and still few series.
pub const NAMES_MAX: usize = 100;
/// The most bytes of a name as it was sent. Longer names are cut.
pub const NAME_BYTES_MAX: usize = 64;
/// The label of all names after the first [`NAMES_MAX`]. A sender with this very name is counted there, too.
pub const OTHER: &str = "other";

/// The names that were seen since the process began.
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
    /// Returns the label value for a name as it was sent: the name, cut to [`NAME_BYTES_MAX`], with U+FFFD for control
    /// characters and for bytes that are not UTF-8. Returns [`OTHER`] if there are too many names.
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

/// Returns a name that a sender chose as readable text: cut to [`NAME_BYTES_MAX`], with U+FFFD for control characters and
/// for bytes that are not UTF-8.
#[must_use]
pub fn legible(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(&name[..name.len().min(NAME_BYTES_MAX)]);
    name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests;
