//! Static bearer tokens. Only their hashes are held, so that no code can print a token.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;

/// Largest number of tokens. The token of each request is compared with all of them.
pub const TOKENS_MAX: usize = 64;

/// Largest size of a token, in bytes. A request head with such a token still has room for other headers.
pub const TOKEN_BYTES_MAX: usize = 4096;

/// Smallest number of characters of a strong token. A shorter one can be guessed.
pub const TOKEN_CHARS_STRONG: usize = 16;

/// The SHA-256 of a token. It has the same length for each token. The timing of a comparison may reveal a part of the
/// hash, but this does not help to find the token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Returns the hash of `token`.
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

/// Reason why a text is not a valid token or token file. The message does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// The text has no token.
    #[error("there is no token in it")]
    Empty,
    /// The token has characters that cannot be sent (RFC 6750, 2.1).
    #[error("a token is made of letters, digits and `-._~+/`, with `=` at its end")]
    Characters,
    /// The token is longer than [`TOKEN_BYTES_MAX`].
    #[error("a token has at most {TOKEN_BYTES_MAX} characters")]
    Long,
    /// The file has more than [`TOKENS_MAX`] tokens.
    #[error("there are more than {TOKENS_MAX} tokens in it")]
    Many,
}

/// The tokens that are valid at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    hashes: Vec<TokenHash>,
    has_weak: bool,
}

impl Tokens {
    /// Reads the tokens of a file, one on each line. Empty lines and lines that begin with `#` are ignored.
    ///
    /// # Errors
    /// A line is not a valid token, or there are no tokens or too many.
    pub fn parse(file: &[u8]) -> Result<Self, TokenError> {
        let mut tokens = Tokens::default();
        let lines = file.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")) {
            tokens.add(line)?;
        }
        if tokens.is_empty() { Err(TokenError::Empty) } else { Ok(tokens) }
    }

    /// Adds a token.
    ///
    /// # Errors
    /// `token` is not a valid token, or there are [`TOKENS_MAX`] already.
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

    /// Returns true if there are no tokens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Returns true if a token is shorter than [`TOKEN_CHARS_STRONG`].
    #[must_use]
    pub fn has_weak(&self) -> bool {
        self.has_weak
    }

    /// Returns true if `token` is one of the tokens. Takes the same time for every hash, in the set or not.
    #[must_use]
    pub fn contains(&self, token: &TokenHash) -> bool {
        let none = Choice::from(0);
        self.hashes.iter().fold(none, |found, hash| found | hash.0.ct_eq(&token.0)).into()
    }
}

/// Returns true if `token` has the syntax `b64token` (RFC 6750, 2.1).
fn is_token(token: &[u8]) -> bool {
    let end = token.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    let is_legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    end > 0 && token[..end].iter().all(is_legal)
}

#[cfg(test)]
mod tests;
