//! Regular expressions of policies.

use std::fmt::Display;
use std::io::Write;

use regex::bytes::{Regex, RegexBuilder};
use thiserror::Error;

use crate::otlp::view::AnyValue;

/// Bytes that one compiled expression may take: some thousand states. More is a mistake, or meant to harm.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// A sign, a zero, a point, 323 more zeros and 17 digits: no number is longer.
const NUMBER_BYTES_MAX: usize = 343;

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

    /// Whether it is found in a string, or in the text of a boolean, an integer or a double
    /// ([`Check::MatchesText`](super::Check::MatchesText)).
    #[must_use]
    pub fn is_match_text(&self, value: AnyValue<'_>) -> bool {
        match value {
            AnyValue::String(text) => self.is_match(text),
            AnyValue::Bool(value) => self.is_match(if value { b"true" } else { b"false" }),
            AnyValue::Int(value) => self.is_match_number(value),
            AnyValue::Double(value) => self.is_match_number(value),
            AnyValue::Empty | AnyValue::Array(_) | AnyValue::KeyValues(_) | AnyValue::Bytes(_) => false,
        }
    }

    fn is_match_number(&self, number: impl Display) -> bool {
        let mut buffer = [0; NUMBER_BYTES_MAX];
        let mut free = buffer.as_mut_slice();
        // Every number fits; one that did not would not match.
        let written = write!(free, "{number}").map(|()| NUMBER_BYTES_MAX - free.len());
        written.is_ok_and(|length| self.is_match(&buffer[..length]))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

#[cfg(test)]
mod tests;
