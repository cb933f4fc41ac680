//! `until`: the time from which a policy no longer counts.

use prost_types::Timestamp;

use crate::settings::diagnostic::{SettingError, quote};
use crate::settings::node::Node;
use crate::settings::values::{self, Read};

/// Reads a time with its zone (RFC 3339, section 5.6), in seconds since 1970.
///
/// # Errors
/// It is not such a time, or it is before 1970.
pub fn unix_seconds(node: &Node) -> Read<u64> {
    let text = values::text("a time", node)?;
    let fault = || {
        let fault = SettingError::new(format!("{} is not a time with a zone", quote(text)));
        fault.help("write a time such as `2026-12-01T00:00:00Z` or `2026-12-01T01:00:00+01:00`")
    };
    // Without a zone, the parser would take the time as UTC, and a date as midnight.
    let (_, time) = text.split_once(['T', 't']).ok_or_else(fault)?;
    let has_zone = time.ends_with(['Z', 'z']) || time.contains(['+', '-']);
    let time: Timestamp = text.parse().map_err(|_| fault())?;
    u64::try_from(time.seconds).ok().filter(|_| has_zone).ok_or_else(fault)
}

/// Returns a time in UTC, as the configuration writes it.
#[must_use]
pub fn display_unix_seconds(seconds: u64) -> String {
    Timestamp { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: 0 }.to_string()
}
