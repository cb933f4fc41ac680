//! Regular expressions in policies and OTTL conditions.

mod error;
mod everything;
mod go;

use std::borrow::Cow;
use std::fmt::{self, Debug, Display, Formatter};
use std::io::Write;

use regex_automata::meta::{BuildError, Config, Regex};

use super::DoubleText;
use crate::otlp::view::AnyValue;

pub use error::PatternError;

/// The most bytes that a compiled expression may take: enough for about ten thousand states. A larger expression is
/// a mistake or an attack.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// The most bytes in the text of a number: a sign, 17 digits, a point and up to 20 zeros, or the words for a number
/// that is not finite.
const NUMBER_BYTES_MAX: usize = 64;

/// A regular expression in the syntax of Go's `regexp`, which the Collector uses. It is found anywhere in a text. A
/// search takes time in proportion to the length of the text.
#[derive(Clone)]
pub struct Pattern {
    text: Box<str>,
    regex: Regex,
    /// The name of each group, in the order of the opening parentheses. `None` if the group has no name. Empty if a
    /// later group has the same name.
    groups: Vec<Option<String>>,
}

impl Pattern {
    /// Compiles `text`.
    ///
    /// # Errors
    /// `text` is not a valid Go regular expression, or it is too large.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let go::ParsedPattern { hir, groups } = go::parse(text)?;
        let config = Config::new().nfa_size_limit(Some(COMPILED_BYTES_MAX));
        let regex = Regex::builder().configure(config).build_from_hir(&hir);
        let regex = regex.map_err(|error: BuildError| PatternError::not_compiled(text, error.size_limit()))?;
        Ok(Pattern { text: text.into(), regex, groups })
    }

    /// Returns the text of the expression.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the names of the groups, in the order of their opening parentheses; `None` for a group without a name.
    pub fn groups(&self) -> impl Iterator<Item = Option<&str>> {
        self.groups.iter().map(Option::as_deref)
    }

    /// Returns true if the expression is found in `text`.
    #[must_use]
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.regex.is_match(&*as_go_reads(text))
    }

    /// Returns true if `text` is an expression that is found in every text that is not empty. A text with the one
    /// character that a class leaves out, such as a line end, may be an exception. Returns false if `text` is not
    /// valid.
    #[must_use]
    pub fn finds_everything(text: &str) -> bool {
        go::parse(text).is_ok_and(|parsed| everything::is_found_everywhere(&parsed.hir))
    }

    /// Returns the name of each named group, with the part of `text` that the group matches. The part is empty if the
    /// group does not take part in the match. Returns `None` if the expression is not found in `text`.
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

    /// Returns true if the expression is found in a string, or in the text of a boolean, an integer or a double
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
        // Every number fits into the buffer. If one did not fit, it would not match.
        let written = write!(free, "{number}").map(|()| NUMBER_BYTES_MAX - free.len());
        written.is_ok_and(|length| self.is_match(&buffer[..length]))
    }
}

impl Debug for Pattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // The compiled states are left out because their text is very long.
        f.debug_tuple("Pattern").field(&self.text).finish()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Returns `text` as Go's engine reads it: each byte that is not part of a UTF-8 character becomes U+FFFD.
fn as_go_reads(text: &[u8]) -> Cow<'_, [u8]> {
    // The check for ASCII comes first. Most texts are ASCII, and it is several times as fast as the check for UTF-8.
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
