//! Google's ID tokens, in which Google signs the identity of the sender (OpenID Connect Core 1.0, 3.1.3.7; RFC 7519).
//!
//! Only RS256 is accepted, no matter which algorithm a token names (RFC 8725, 3.1). So a token cannot select another
//! algorithm.

mod keys;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use thiserror::Error;

pub use self::keys::{KeysError, PublicKeys};

/// Address at which Google publishes its keys (<https://accounts.google.com/.well-known/openid-configuration>,
/// `jwks_uri`).
pub const CERTS_URL: &str = "https://www.googleapis.com/oauth2/v3/certs";

/// The only algorithm that Google signs with (<https://accounts.google.com/.well-known/openid-configuration>).
const ALGORITHM: &str = "RS256";

/// Issuers of Google's tokens (<https://cloud.google.com/docs/authentication/get-id-token>, `iss`). The short form is
/// older.
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];

/// Text that Cloud Run puts in the place of a signature that it has checked
/// (<https://cloud.google.com/run/docs/troubleshooting#signature-removed>).
const REMOVED_SIGNATURE: &str = "SIGNATURE_REMOVED_BY_GOOGLE";

/// Largest accepted difference between the local clock and the clock of the token's issuer, in seconds.
pub const CLOCK_SKEW_S: u64 = 30;

/// Largest size of a token, in bytes. Google's tokens have about 900.
pub const ID_TOKEN_BYTES_MAX: usize = 8 << 10;

/// Largest number of characters of an account that are repeated in the answer and in the log.
const ACCOUNT_CHARS_MAX: usize = 100;

/// Senders whose tokens are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Senders {
    /// Accepted audiences. A token must be made for one of them.
    pub audiences: Vec<String>,
    /// Accounts that may send, each by its e-mail address or its unique number (the claims `email` and `sub`). Some
    /// ways to get a token leave out `email`.
    pub accounts: Vec<String>,
}

/// Reason why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdTokenError {
    /// The text is not a token in the compact form (RFC 7515, 3.1), or lacks a claim that Google's tokens have.
    #[error("the ID token is malformed")]
    Malformed,
    /// The token is signed with another algorithm, or not at all.
    #[error("the ID token is not signed with {ALGORITHM}")]
    Algorithm,
    /// Google does not have the key, or has withdrawn it.
    #[error("the ID token is signed with a key that is not one of Google's")]
    UnknownKey,
    /// The key has not made the signature.
    #[error("the signature of the ID token is wrong")]
    Signature,
    /// The token has no signature. Cloud Run has checked the token and removed its signature, so that it cannot be used
    /// again.
    #[error(
        "Cloud Run has checked the ID token and removed its signature: let only one of them, Cloud Run or Spansieve, \
         check senders"
    )]
    Removed,
    /// The issuer is not Google.
    #[error("the ID token is not issued by {}", ISSUERS[0])]
    Issuer,
    /// The token is made for another service.
    #[error("the audience of the ID token is not in otlp.auth.google.audiences")]
    Audience,
    /// The token has expired.
    #[error("the ID token has expired")]
    Expired,
    /// The token is not valid yet.
    #[error("the ID token is not valid yet: compare the clocks")]
    Future,
    /// The address is listed, but Google has not verified that it belongs to the sender.
    #[error(
        "the account {0:?} is listed, but the ID token does not say email_verified: true: verify the address with \
         Google, or list the account's unique number in otlp.auth.google.service_accounts"
    )]
    Unverified(String),
    /// The sender is known, but may not send.
    #[error("the account {0:?} is not in otlp.auth.google.service_accounts")]
    Account(String),
}

/// A token that has been read. Its contents must not be trusted before [`IdToken::verify`].
#[derive(Debug)]
pub struct IdToken<'a> {
    key_id: String,
    claims: Claims,
    /// Header and claims as they were sent: the text that is signed.
    signed: &'a str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct TokenHeader {
    alg: String,
    kid: Option<String>,
    /// Extensions that the receiver must understand (RFC 7515, 4.1.11). It understands none.
    crit: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    exp: u64,
    iat: u64,
    nbf: Option<u64>,
    sub: String,
    email: Option<String>,
    email_verified: Option<bool>,
}

/// One audience or several (RFC 7519, 4.1.3).
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn is_in(&self, known: &[String]) -> bool {
        match self {
            Audience::One(audience) => known.contains(audience),
            Audience::Several(audiences) => audiences.iter().any(|audience| known.contains(audience)),
        }
    }
}

impl<'a> IdToken<'a> {
    /// Returns true if `text` has the form of a token: three parts.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.bytes().filter(|&byte| byte == b'.').count() == 2
    }

    /// Reads a token.
    ///
    /// # Errors
    /// The token is malformed, is not signed with RS256, or has no signature any more.
    pub fn read(text: &'a str) -> Result<Self, IdTokenError> {
        let is_short = text.len() <= ID_TOKEN_BYTES_MAX;
        let (signed, signature) = text.rsplit_once('.').filter(|_| is_short).ok_or(IdTokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(IdTokenError::Malformed)?;
        let header: TokenHeader = json(header)?;
        if header.alg != ALGORITHM {
            return Err(IdTokenError::Algorithm);
        }
        if header.crit.is_some() {
            return Err(IdTokenError::Malformed);
        }
        if signature == REMOVED_SIGNATURE {
            return Err(IdTokenError::Removed);
        }
        let key_id = header.kid.ok_or(IdTokenError::Malformed)?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| IdTokenError::Malformed)?;
        Ok(IdToken { key_id, claims: json(claims)?, signed, signature })
    }

    /// Returns the id of the key that the token claims to be signed with.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Verifies at `now_s` seconds since 1970 that the token is from Google and that its account is one of the
    /// `senders`. Returns the time until which the token is accepted, in seconds since 1970.
    ///
    /// # Errors
    /// The reason why the token is not accepted. The account is checked last, so only a known sender learns that it is
    /// not listed.
    pub fn verify(&self, keys: &PublicKeys, senders: &Senders, now_s: u64) -> Result<u64, IdTokenError> {
        let key = keys.find(&self.key_id).ok_or(IdTokenError::UnknownKey)?;
        if !key.has_signed(self.signed.as_bytes(), &self.signature) {
            return Err(IdTokenError::Signature);
        }
        let Claims { iss, aud, exp, iat, nbf, .. } = &self.claims;
        let until_s = exp.saturating_add(CLOCK_SKEW_S);
        let from_s = nbf.unwrap_or(*iat).max(*iat).saturating_sub(CLOCK_SKEW_S);
        if !ISSUERS.contains(&iss.as_str()) {
            return Err(IdTokenError::Issuer);
        }
        if !aud.is_in(&senders.audiences) {
            return Err(IdTokenError::Audience);
        }
        if now_s >= until_s {
            return Err(IdTokenError::Expired);
        }
        if now_s < from_s {
            return Err(IdTokenError::Future);
        }
        if senders.accounts.iter().any(|account| self.claims.is(account)) {
            return Ok(until_s);
        }
        let account = self.claims.email.as_ref().unwrap_or(&self.claims.sub);
        // An `email` without `@` may equal a listed account number, which is not an address.
        let is_listed = account.contains('@') && senders.accounts.contains(account);
        let account = account.chars().take(ACCOUNT_CHARS_MAX).collect();
        Err(if is_listed { IdTokenError::Unverified(account) } else { IdTokenError::Account(account) })
    }
}

impl Claims {
    /// Returns true if Google says that the sender has this account.
    fn is(&self, account: &str) -> bool {
        let email = self.email.as_deref().filter(|_| self.email_verified == Some(true));
        email == Some(account) || self.sub == account
    }
}

/// Decodes a part of a token.
fn json<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, IdTokenError> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| IdTokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| IdTokenError::Malformed)
}

#[cfg(test)]
pub(crate) mod tests;
