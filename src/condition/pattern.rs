//! Regular expressions of policies.

mod error;
mod go;

use std::borrow::Cow;
use std::fmt::{self, Debug, Display, Formatter};
use std::io::Write;

use regex_automata::meta::{BuildError, Config, Regex};

use super::DoubleText;
use crate::otlp::view::AnyValue;

pub use error::PatternError;

/// Bytes that one compiled expression may take: some ten thousand states. More is a mistake, or meant to harm.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Of a number: a sign, 17 digits, a point and up to 20 zeros, or the words for what is not finite.
const NUMBER_BYTES_MAX: usize = 64;

/// A regular expression as Go's `regexp` has them, which the Collector uses; not anchored. Its time is linear in the
/// text.
#[derive(Clone)]
pub struct Pattern {
    text: Box<str>,
    regex: Regex,
    /// The name of each group.
    groups: Vec<Option<String>>,
}

impl Pattern {
    /// Compiles `text`.
    ///
    /// # Errors
    /// `text` is not a regular expression of Go, or is too large.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let go::Parsed { hir, groups } = go::parse(text)?;
        let config = Config::new().nfa_size_limit(Some(COMPILED_BYTES_MAX));
        let regex = Regex::builder().configure(config).build_from_hir(&hir);
        let regex = regex.map_err(|error: BuildError| PatternError::not_compiled(text, error.size_limit()))?;
        Ok(Pattern { text: text.into(), regex, groups })
    }

    /// The text of the expression.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of its groups, in the order of their opening parentheses; `None` for one without a name.
    pub fn groups(&self) -> impl Iterator<Item = Option<&str>> {
        self.groups.iter().map(Option::as_deref)
    }

    /// Whether it is found in `text`.
    #[must_use]
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.regex.is_match(&*as_go_reads(text))
    }

    /// The names of its groups with what they match of `text`; nothing for a group that took no part. `None` if the
    /// expression is not found in `text`.
    #[must_use]
    pub fn captures(&self, text: &[u8]) -> Option<Vec<(&str, Vec<u8>)>> {
        let text = as_go_reads(text);
        let mut captures = self.regex.create_captures();
        self.regex.captures(&*text, &mut captures);
        captures.get_match()?;
        let part = |index: usize| captures.get_group(index).map_or(&[][..], |span| &text[span.range()]).to_vec();
        let named =
            self.groups.iter().enumerate().filter_map(|(index, name)| Some((name.as_deref()?, part(index + 1))));
        Some(named.filter(|(name, _)| !name.is_empty()).collect())
    }

    /// Whether it is found in a string, or in the text of a boolean, an integer or a double
    /// ([`Check::MatchesText`](super::Check::MatchesText)).
    #[must_use]
    pub fn is_match_text(&self, value: AnyValue<'_>) -> bool {
        match value {
            AnyValue::String(text) => self.is_match(text),
            AnyValue::Bool(value) => self.is_match(if value { b"true" } else { b"false" }),
            AnyValue::Int(value) => self.is_match_number(value),
            AnyValue::Double(value) => self.is_match_number(DoubleText(value)),
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

impl Debug for Pattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // Not the compiled states, which fill pages.
        f.debug_tuple("Pattern").field(&self.text).finish()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// `text` as Go's engine sees it: each byte that is not part of a UTF-8 character is U+FFFD.
fn as_go_reads(text: &[u8]) -> Cow<'_, [u8]> {
    // Most texts are ASCII, which is seen several times as fast.
    if text.is_ascii() || std::str::from_utf8(text).is_ok() {
        return Cow::Borrowed(text);
    }
    let mut read = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        read.extend_from_slice(chunk.valid().as_bytes());
        chunk.invalid().iter().for_each(|_| read.extend_from_slice("\u{fffd}".as_bytes()));
    }
    Cow::Owned(read)
}

#[cfg(test)]
mod tests;
