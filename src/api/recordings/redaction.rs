//! The attributes that a recording leaves out, or has only as a hash.

use std::fmt::Write;

use ring::hmac;
use ring::rand::SystemRandom;
use thiserror::Error;

use crate::api::settings::{KEYS_MAX, RecordingSettings};
use crate::otlp::redact::{AttributeChange, RedactError, redact};

/// The bytes of a hash that are recorded: enough to tell billions of values apart.
const HASH_BYTES: usize = 8;
/// The most bytes of a key in a query.
const KEY_BYTES_MAX: usize = 1_024;

/// The reason why a query does not say what to leave out.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum QueryError {
    /// The query has an unknown key.
    #[error("a query has the keys redact and hash, each as often as needed; {0:?} is neither")]
    Key(String),
    /// An attribute's key is empty or too long.
    #[error("the key of an attribute has 1 to {KEY_BYTES_MAX} bytes")]
    Attribute,
    /// The query has too many values.
    #[error("a query has at most {KEYS_MAX} values")]
    Values,
    /// The system gives no random numbers.
    #[error("the system gives no random key for hashes; retry later")]
    Random,
}

/// The attributes that are left out, and those that are hashed. The hashes have a random key of their own for each
/// recording, which is forgotten with it. So a reader of the recording cannot compute the hash of a guessed value. A client
/// that can also send spans to the daemon can: it sends the guess while it records, and finds its hash in the recording.
#[derive(Clone, Debug)]
pub struct Redaction {
    redacted: Vec<String>,
    hashed: Vec<String>,
    key: hmac::Key,
}

impl Redaction {
    /// Reads the query of a request. The keys in the settings are always among the result.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn parse(query: &str, settings: &RecordingSettings) -> Result<Self, QueryError> {
        let (mut redacted, mut hashed) = (settings.redact.clone(), settings.hash.clone());
        for (number, (key, value)) in form_urlencoded::parse(query.as_bytes()).enumerate() {
            if number >= KEYS_MAX {
                return Err(QueryError::Values);
            }
            let keys = match key.as_ref() {
                "redact" => &mut redacted,
                "hash" => &mut hashed,
                _ => return Err(QueryError::Key(key.chars().take(100).collect())),
            };
            if value.is_empty() || value.len() > KEY_BYTES_MAX {
                return Err(QueryError::Attribute);
            }
            keys.push(value.into_owned());
        }
        hashed.retain(|key| !redacted.contains(key));
        for keys in [&mut redacted, &mut hashed] {
            keys.sort_unstable();
            keys.dedup();
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| QueryError::Random)?;
        Ok(Redaction { redacted, hashed, key })
    }

    /// Returns true if requests stay as they are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.redacted.is_empty() && self.hashed.is_empty()
    }

    /// Returns the keys of the attributes that are left out, sorted.
    #[must_use]
    pub fn redacted(&self) -> &[String] {
        &self.redacted
    }

    /// Returns the keys of the attributes that are hashed, sorted.
    #[must_use]
    pub fn hashed(&self) -> &[String] {
        &self.hashed
    }

    /// Appends the request `body` to `out`, with its attributes changed. A hash can be longer than the value, so the
    /// request must not grow beyond `bytes_max`.
    ///
    /// # Errors
    /// The bytes are not a request, or the request becomes too large. `out` may have a part of it then.
    pub fn apply(&self, body: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), RedactError> {
        let is_in = |keys: &[String], key: &[u8]| keys.iter().any(|known| known.as_bytes() == key);
        let mut change = |key: &[u8], value: &[u8]| {
            if is_in(&self.redacted, key) {
                AttributeChange::LeftOut
            } else if is_in(&self.hashed, key) {
                AttributeChange::Replaced(self.hash(value))
            } else {
                AttributeChange::Stays
            }
        };
        redact(body, &mut change, bytes_max, out)
    }

    /// Returns the hash of a value in hexadecimal digits.
    fn hash(&self, value: &[u8]) -> String {
        let tag = hmac::sign(&self.key, value);
        let mut digits = String::with_capacity(2 * HASH_BYTES);
        // Writing to a string does not fail.
        tag.as_ref().iter().take(HASH_BYTES).for_each(|byte| _ = write!(digits, "{byte:02x}"));
        digits
    }
}
