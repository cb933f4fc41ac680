//! What is wrong with a regular expression.

use thiserror::Error;

/// Longer pieces of an expression are cut in messages.
const SHOWN_CHARS_MAX: usize = 40;

/// An expression that cannot be used: what is wrong, in the words of Go's `regexp`, and what to write.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}: `{piece}`")]
pub struct PatternError {
    message: &'static str,
    piece: String,
    /// What to write instead.
    pub help: &'static str,
    /// Where the piece begins, in bytes.
    pub offset: usize,
}

impl PatternError {
    pub(super) fn new(message: &'static str, piece: &str, help: &'static str, offset: usize) -> Self {
        let shown: String = piece.chars().take(SHOWN_CHARS_MAX).collect();
        let dots = if shown.len() < piece.len() { "..." } else { "" };
        PatternError { message, piece: shown + dots, help, offset }
    }

    /// The engine cannot compile `text`; `size_limit` is the limit that it is beyond.
    pub(super) fn not_compiled(text: &str, size_limit: Option<usize>) -> Self {
        let (message, help) = match size_limit {
            Some(_) => (
                "the expression takes more than 1 MiB when it is compiled",
                "lower the counts in braces or write `*` or `+`, and ASCII classes such as `\\w` in place of `\\pL`",
            ),
            None => ("the expression cannot be compiled", "write several simpler ones"),
        };
        PatternError::new(message, text, help, 0)
    }
}
