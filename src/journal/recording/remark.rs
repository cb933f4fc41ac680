//! The remarks of a recording about itself.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The most bytes of the body of a remark. The daemon writes a few hundred keys of at most `KEY_BYTES_MAX` bytes.
pub const REMARK_BYTES_MAX: u32 = 1 << 20;

/// The most keys of attributes that [`Remarks`] remembers.
const KEY_COUNT_MAX: usize = 1_000;

/// The most bytes of a key that [`Remarks`] remembers: the daemon takes no longer ones.
const KEY_BYTES_MAX: usize = 1_024;

/// A remark: a record between the requests. Empty fields are left out. A remark without fields only shows that the
/// daemon is still sending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Remark {
    /// Requests that came since the last remark and were not recorded.
    #[serde(skip_serializing_if = "is_zero")]
    pub requests_left_out: u64,
    /// Keys of attributes that are left out of all requests that follow.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redacted: Vec<String>,
    /// Keys of attributes whose values are hashed in all requests that follow.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hashed: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Remark {
    /// Returns the body of the record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Does not fail: there is no map with keys that are not strings.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads the body of a record. What another version of the program has written, and this one does not know, is
    /// ignored.
    #[must_use]
    pub fn decode(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }

    /// Returns true if the remark says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Remark::default()
    }
}

/// All remarks of a recording together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Requests that came and were not recorded.
    pub requests_left_out: u64,
    /// Keys of attributes that are left out of some requests.
    pub redacted: BTreeSet<String>,
    /// The number of requests in which they are left out.
    pub redacted_requests: u64,
    /// Keys of attributes whose values are hashed in some requests.
    pub hashed: BTreeSet<String>,
    /// The number of requests in which they are hashed.
    pub hashed_requests: u64,
}

impl Remarks {
    /// Adds a remark.
    pub fn add(&mut self, remark: Remark) {
        self.requests_left_out = self.requests_left_out.saturating_add(remark.requests_left_out);
        for (all, keys) in [(&mut self.redacted, remark.redacted), (&mut self.hashed, remark.hashed)] {
            let room = KEY_COUNT_MAX.saturating_sub(all.len());
            all.extend(keys.into_iter().filter(|key| key.len() <= KEY_BYTES_MAX).take(room));
        }
    }

    /// Counts a request that follows the remarks so far.
    pub(super) fn count_request(&mut self) {
        self.redacted_requests += u64::from(!self.redacted.is_empty());
        self.hashed_requests += u64::from(!self.hashed.is_empty());
    }

    /// Adds the remarks of another recording.
    pub fn add_all(&mut self, other: &Remarks) {
        self.redacted_requests += other.redacted_requests;
        self.hashed_requests += other.hashed_requests;
        self.add(Remark {
            requests_left_out: other.requests_left_out,
            redacted: other.redacted.iter().cloned().collect(),
            hashed: other.hashed.iter().cloned().collect(),
        });
    }
}
