//! Google's ID tokens: who sends, signed by Google (OpenID Connect Core 1.0, 3.1.3.7; RFC 7519).
//!
//! Only RS256 is taken, whatever a token says of itself (RFC 8725, 3.1): there is nothing to confuse it with.

mod keys;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use thiserror::Error;

pub use self::keys::{Keys, KeysError};

/// Where Google publishes its keys (<https://accounts.google.com/.well-known/openid-configuration>, `jwks_uri`).
pub const CERTS_URL: &str = "https://www.googleapis.com/oauth2/v3/certs";

/// The one algorithm that Google signs with (<https://accounts.google.com/.well-known/openid-configuration>).
const ALGORITHM: &str = "RS256";

/// Who signs Google's tokens (<https://cloud.google.com/docs/authentication/get-id-token>, `iss`; the short form is older).
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];

/// What Cloud Run puts in the place of a signature that it has checked
/// (<https://cloud.google.com/run/docs/troubleshooting#signature-removed>).
const REMOVED_SIGNATURE: &str = "SIGNATURE_REMOVED_BY_GOOGLE";

/// How far a sender's clock and Google's may be apart from ours, in seconds.
pub const CLOCK_SKEW_S: u64 = 30;

/// Of a token, in bytes: Google's have some 900.
pub const ID_TOKEN_BYTES_MAX: usize = 8 << 10;

/// What of an account is repeated to its owner and in the log.
const ACCOUNT_CHARS_MAX: usize = 100;

/// Whose tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Senders {
    /// What a token must be made for; one of them.
    pub audiences: Vec<String>,
    /// The accounts that may send, each by its e-mail address or its unique number (the claims `email` and `sub`; not every
    /// way to a token puts the first into it).
    pub accounts: Vec<String>,
}

/// Why a token is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// It is no token in the compact form (RFC 7515, 3.1), or lacks what Google's have.
    #[error("the ID token is malformed")]
    Malformed,
    /// It is signed in another way, or not at all.
    #[error("the ID token is not signed with {ALGORITHM}")]
    Algorithm,
    /// Google has no such key, or no longer.
    #[error("the ID token is signed with a key that is none of Google's")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("the signature of the ID token is wrong")]
    Signature,
    /// There is none: Cloud Run has checked the token and takes its signature away, lest it is used again.
    #[error(
        "Cloud Run has removed the signature of the ID token: it checks senders itself, or leave that to Spansieve"
    )]
    Removed,
    /// Somebody else than Google says so.
    #[error("the ID token is not issued by {}", ISSUERS[0])]
    Issuer,
    /// It is for another service.
    #[error("the ID token is for another audience than those of otlp.auth.google.audiences")]
    Audience,
    /// Its time is over.
    #[error("the ID token has expired")]
    Expired,
    /// Its time has not begun.
    #[error("the ID token is of the future: compare the clocks")]
    Future,
    /// The address is listed, but Google has not verified that it is the sender's.
    #[error(
        "the account {0:?} is listed, but the ID token does not say email_verified: true: verify the address with \
         Google, or list the account's unique number in otlp.auth.google.service_accounts"
    )]
    Unverified(String),
    /// The sender is known, and may not send.
    #[error("the account {0:?} is not in otlp.auth.google.service_accounts")]
    Account(String),
}

/// A token as it was read; nothing of it is true before [`IdToken::verify`].
#[derive(Debug)]
pub struct IdToken<'a> {
    key_id: String,
    claims: Claims,
    /// Header and claims as they were sent.
    signed: &'a str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood (RFC 7515, 4.1.11); there are none that we do.
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

/// One or several (RFC 7519, 4.1.3).
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
    /// Whether `text` has the form of a token: three parts.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.bytes().filter(|&byte| byte == b'.').count() == 2
    }

    /// Reads a token.
    ///
    /// # Errors
    /// It is malformed, or signed with anything but RS256.
    pub fn read(text: &'a str) -> Result<Self, Rejection> {
        let is_short = text.len() <= ID_TOKEN_BYTES_MAX;
        let (signed, signature) = text.rsplit_once('.').filter(|_| is_short).ok_or(Rejection::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Rejection::Malformed)?;
        let header: Header = json(header)?;
        if header.alg != ALGORITHM {
            return Err(Rejection::Algorithm);
        }
        if header.crit.is_some() {
            return Err(Rejection::Malformed);
        }
        if signature == REMOVED_SIGNATURE {
            return Err(Rejection::Removed);
        }
        let key_id = header.kid.ok_or(Rejection::Malformed)?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| Rejection::Malformed)?;
        Ok(IdToken { key_id, claims: json(claims)?, signed, signature })
    }

    /// The key that it says to be signed with.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Whether Google says with it, at `now_s` seconds after 1970, that one of the `senders` sends; and until when.
    ///
    /// # Errors
    /// What is wrong with it. The account is looked at last: only who is known is told that.
    pub fn verify(&self, keys: &Keys, senders: &Senders, now_s: u64) -> Result<u64, Rejection> {
        let key = keys.find(&self.key_id).ok_or(Rejection::UnknownKey)?;
        if !key.has_signed(self.signed.as_bytes(), &self.signature) {
            return Err(Rejection::Signature);
        }
        let Claims { iss, aud, exp, iat, nbf, .. } = &self.claims;
        let until_s = exp.saturating_add(CLOCK_SKEW_S);
        let from_s = nbf.unwrap_or(*iat).max(*iat).saturating_sub(CLOCK_SKEW_S);
        if !ISSUERS.contains(&iss.as_str()) {
            return Err(Rejection::Issuer);
        }
        if !aud.is_in(&senders.audiences) {
            return Err(Rejection::Audience);
        }
        if now_s >= until_s {
            return Err(Rejection::Expired);
        }
        if now_s < from_s {
            return Err(Rejection::Future);
        }
        if senders.accounts.iter().any(|account| self.claims.is(account)) {
            return Ok(until_s);
        }
        let account = self.claims.email.as_ref().unwrap_or(&self.claims.sub);
        // A listed number is not an address.
        let is_listed = account.contains('@') && senders.accounts.contains(account);
        let account = account.chars().take(ACCOUNT_CHARS_MAX).collect();
        Err(if is_listed { Rejection::Unverified(account) } else { Rejection::Account(account) })
    }
}

impl Claims {
    /// Whether Google says that this is the sender's account.
    fn is(&self, account: &str) -> bool {
        let email = self.email.as_deref().filter(|_| self.email_verified == Some(true));
        email == Some(account) || self.sub == account
    }
}

/// A part of a token.
fn json<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, Rejection> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejection::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| Rejection::Malformed)
}

#[cfg(test)]
pub(crate) mod tests;
