//! Static bearer tokens. They are held as hashes only, so that nothing can print them.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;

/// Tokens at once: each is compared with that of every request.
pub const TOKENS_MAX: usize = 64;

/// Of a token, in bytes: a header of its size still leaves room for others.
pub const TOKEN_BYTES_MAX: usize = 4096;

/// Of a token, in characters: fewer can be guessed.
pub const TOKEN_CHARS_STRONG: usize = 16;

/// The SHA-256 of a token. Equal lengths whatever the token, and what a comparison gives away of it is no help in
/// finding the token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of `token`.
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        TokenHash(Sha256::digest(token).into())
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash")
    }
}

/// Why text is no token, or no file of them. It does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// There is nothing.
    #[error("there is no token in it")]
    Empty,
    /// It could not be sent (RFC 6750, 2.1).
    #[error("a token is made of letters, digits and `-._~+/`, with `=` at its end")]
    Characters,
    /// It is longer than [`TOKEN_BYTES_MAX`].
    #[error("a token has at most {TOKEN_BYTES_MAX} characters")]
    Long,
    /// There are more than [`TOKENS_MAX`].
    #[error("there are more than {TOKENS_MAX} tokens in it")]
    Many,
}

/// The tokens that are good at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    hashes: Vec<TokenHash>,
    has_weak: bool,
}

impl Tokens {
    /// The tokens of a file: one a line. Empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// One of them is no token, or there is none.
    pub fn parse(file: &[u8]) -> Result<Self, TokenError> {
        let mut tokens = Tokens::default();
        let lines = file.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")) {
            tokens.add(line)?;
        }
        if tokens.is_empty() { Err(TokenError::Empty) } else { Ok(tokens) }
    }

    /// Adds one.
    ///
    /// # Errors
    /// It is no token, or one too many.
    pub fn add(&mut self, token: &[u8]) -> Result<(), TokenError> {
        if token.is_empty() {
            return Err(TokenError::Empty);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Long);
        }
        if !is_token(token) {
            return Err(TokenError::Characters);
        }
        if self.hashes.len() == TOKENS_MAX {
            return Err(TokenError::Many);
        }
        self.has_weak |= token.len() < TOKEN_CHARS_STRONG;
        self.hashes.push(TokenHash::of(token));
        Ok(())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Whether one is shorter than [`TOKEN_CHARS_STRONG`].
    #[must_use]
    pub fn has_weak(&self) -> bool {
        self.has_weak
    }

    /// Whether `token` is one of them. Takes the same time whichever it is, or none.
    #[must_use]
    pub fn contains(&self, token: &TokenHash) -> bool {
        let none = Choice::from(0);
        self.hashes.iter().fold(none, |found, hash| found | hash.0.ct_eq(&token.0)).into()
    }
}

/// The syntax `b64token` (RFC 6750, 2.1).
fn is_token(token: &[u8]) -> bool {
    let end = token.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    let is_legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    end > 0 && token[..end].iter().all(is_legal)
}

#[cfg(test)]
mod tests;
