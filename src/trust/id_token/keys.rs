//! Google's current public keys: a JSON Web Key Set (RFC 7517, 5; RFC 7518, 6.3.1).

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde::Deserialize;
use thiserror::Error;

use super::ALGORITHM;

/// Largest number of keys. Google has two or three.
const KEYS_MAX: usize = 64;

/// Reason why a key set cannot be used.
#[derive(Debug, Error)]
pub enum KeysError {
    /// The text is not JSON, or not a key set.
    #[error("not a JSON Web Key Set: {0}")]
    Json(#[from] serde_json::Error),
    /// The set has no key for RS256.
    #[error("the JSON Web Key Set has no key for {ALGORITHM}")]
    Empty,
}

/// Public keys by their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKeys(Vec<PublicKey>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    id: String,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    kid: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl PublicKeys {
    /// Reads the keys for RS256 in `json`. Other keys are left out (RFC 7517, 5).
    ///
    /// # Errors
    /// `json` is not a key set, or has no key for RS256.
    pub fn parse(json: &[u8]) -> Result<Self, KeysError> {
        let set: KeySet = serde_json::from_slice(json)?;
        let keys: Vec<PublicKey> = set.keys.into_iter().filter_map(key).take(KEYS_MAX).collect();
        if keys.is_empty() { Err(KeysError::Empty) } else { Ok(PublicKeys(keys)) }
    }

    /// Returns true if there is a key with this id.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.find(id).is_some()
    }

    pub(super) fn find(&self, id: &str) -> Option<&PublicKey> {
        self.0.iter().find(|key| key.id == id)
    }
}

impl PublicKey {
    /// Returns true if this key has made `signature` for `message` (RFC 8017, 8.2.2, with SHA-256).
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = RsaPublicKeyComponents { n: &self.modulus, e: &self.exponent };
        key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
    }
}

fn key(jwk: Jwk) -> Option<PublicKey> {
    let signs = jwk.usage.is_none_or(|usage| usage == "sig") && jwk.alg.is_none_or(|alg| alg == ALGORITHM);
    if jwk.kty != "RSA" || !signs {
        return None;
    }
    let number = |text: Option<String>| BASE64_URL_SAFE_NO_PAD.decode(text?).ok();
    Some(PublicKey { id: jwk.kid?, modulus: number(jwk.n)?, exponent: number(jwk.e)? })
}
