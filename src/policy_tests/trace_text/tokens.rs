//! The words of a line, with their places.

use super::{TraceTextError, error};
use crate::settings::diagnostic::SettingError;

/// A word of a line. Quotes and brackets keep spaces together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    /// The place in the whole text.
    pub(super) offset: usize,
    /// The number of spaces before the word.
    pub(super) gap: usize,
}

impl Token<'_> {
    /// Returns the error of this word.
    pub(super) fn error(&self, fault: SettingError) -> TraceTextError {
        error(self.offset, self.text.chars().count(), fault)
    }

    /// Returns the error of the end of this word.
    pub(super) fn error_after(&self, fault: SettingError) -> TraceTextError {
        error(self.offset + self.text.len(), 1, fault)
    }
}

/// Splits `line`, which begins at `offset` of the text, into words.
pub(super) fn tokens(line: &str, offset: usize) -> Result<Vec<Token<'_>>, TraceTextError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < line.len() {
        let rest = &line[at..];
        let gap = rest.len() - rest.trim_start().len();
        let start = at + gap;
        let len = word_len(&line[start..]).map_err(|fault| error(offset + start, 1, fault))?;
        if len == 0 {
            break;
        }
        tokens.push(Token { text: &line[start..start + len], offset: offset + start, gap });
        at = start + len;
    }
    Ok(tokens)
}

/// Returns true if `text` is one word, without spaces.
pub(in crate::policy_tests) fn is_word(text: &str) -> bool {
    word_len(text).is_ok_and(|len| len == text.len())
}

/// Returns the length of the first word of `text`: up to a space outside of quotes and brackets.
fn word_len(text: &str) -> Result<usize, SettingError> {
    let (mut quoted, mut escaped) = (false, false);
    let mut closers = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            // Brackets are part of names such as `GET /{id}`, and balanced there.
            '[' => closers.push(']'),
            '{' => closers.push('}'),
            ']' | '}' if closers.last() == Some(&c) => _ = closers.pop(),
            c if c.is_whitespace() && closers.is_empty() => return Ok(at),
            _ => {}
        }
    }
    match closers.last() {
        _ if quoted => Err(SettingError::new("a quotation mark is missing")
            .help("write `\"` at the end of the text, or `\\\"` within")),
        Some(closer) => {
            Err(SettingError::new(format!("`{closer}` is missing")).help("close the bracket, or quote the text"))
        }
        None => Ok(text.len()),
    }
}
