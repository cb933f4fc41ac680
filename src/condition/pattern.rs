//! Regular expressions of policies.

use regex::bytes::{Regex, RegexBuilder};
use thiserror::Error;

/// Bytes that one compiled expression may take: some thousand states. More is a mistake, or meant to harm.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// A regular expression over a string's bytes, in RE2's syntax (which the Collector's has as well); not anchored. Its
/// time is linear in the string.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

/// An expression that cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct PatternError(String);

impl Pattern {
    /// Compiles `text`.
    ///
    /// # Errors
    /// `text` is no regular expression, or one that is too large.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let regex = RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
        regex.map(Pattern).map_err(|error| PatternError(error.to_string()))
    }

    /// The text of the expression.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The compiled expression.
    #[must_use]
    pub fn regex(&self) -> &Regex {
        &self.0
    }

    /// Whether it is found in `text`.
    #[must_use]
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}
