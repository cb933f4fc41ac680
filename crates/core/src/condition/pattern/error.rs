//! Errors of regular expressions.

use thiserror::Error;

/// The most characters of an expression that a message shows.
const SHOWN_CHARS_MAX: usize = 40;

/// An error in a regular expression. The message is worded as in Go's `regexp`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}: `{piece}`")]
pub struct PatternError {
    message: &'static str,
    piece: String,
    /// Advice to the operator: the text to write instead.
    pub help: &'static str,
    /// The offset at which the wrong piece begins in the expression, in bytes.
    pub offset: usize,
}

impl PatternError {
    pub(super) fn new(message: &'static str, piece: &str, help: &'static str, offset: usize) -> Self {
        let shown: String = piece.chars().take(SHOWN_CHARS_MAX).collect();
        let dots = if shown.len() < piece.len() { "..." } else { "" };
        PatternError { message, piece: shown + dots, help, offset }
    }

    /// Makes the error for a `text` that the engine cannot compile. `size_limit` is the limit that it exceeds, if any.
    pub(super) fn not_compiled(text: &str, size_limit: Option<usize>) -> Self {
        let (message, help) = match size_limit {
            Some(_) => (
                "the expression takes more than 1 MiB when it is compiled",
                "lower the counts in braces or write `*` or `+`, and ASCII classes such as `\\w` in place of `\\pL`",
            ),
            None => ("the expression cannot be compiled", "write several simpler expressions"),
        };
        PatternError::new(message, text, help, 0)
    }
}
