//! ID tokens like Google's, made for tests: signing keys, and tokens signed with them.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

pub const AUDIENCE: &str = "https://spansieve.example";
pub const ACCOUNT: &str = "checkout@shop.iam.gserviceaccount.com";
pub const ACCOUNT_NUMBER: &str = "109876543210987654321";

/// A signing key with its id.
pub struct Signer {
    pub id: &'static str,
    pair: RsaKeyPair,
}

impl Signer {
    /// Returns one of two keys.
    pub fn new(id: &'static str, is_other: bool) -> Self {
        let pem: &[u8] = match is_other {
            false => include_bytes!("../../../tests/fixtures/test-only-key.pem"),
            true => include_bytes!("../../../tests/fixtures/test-only-key-2.pem"),
        };
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).unwrap();
        Signer { id, pair: RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap() }
    }

    /// Returns the public key in the form of Google's key set (JWK).
    pub fn jwk(&self) -> Value {
        let RsaPublicKeyComponents::<Vec<u8>> { n, e } = self.pair.public().into();
        let number = |bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        json!({
            "kty": "RSA", "alg": "RS256", "use": "sig", "kid": self.id,
            "n": number(n), "e": number(e),
        })
    }

    pub fn header(&self) -> Value {
        json!({"alg": "RS256", "kid": self.id, "typ": "JWT"})
    }

    /// Returns a signed token.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        signed + "." + &BASE64_URL_SAFE_NO_PAD.encode(signature)
    }

    /// Returns a token that is valid at `now_s`, with the claims of `change`.
    pub fn token(&self, now_s: u64, change: &Value) -> String {
        self.sign(&self.header(), &claims(now_s, change))
    }
}

/// Returns header and claims, encoded but not signed.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// Returns Google's claims about [`ACCOUNT`] for the hour from `now_s`. `change` replaces claims; null removes one.
pub fn claims(now_s: u64, change: &Value) -> Value {
    let mut claims = json!({
        "iss": "https://accounts.google.com", "aud": AUDIENCE, "azp": ACCOUNT_NUMBER, "sub": ACCOUNT_NUMBER,
        "email": ACCOUNT, "email_verified": true, "iat": now_s, "exp": now_s + 3600,
    });
    merge(&mut claims, change);
    claims
}

/// Replaces the keys of `change` in `value`; null removes a key.
pub fn merge(value: &mut Value, change: &Value) {
    let object = value.as_object_mut().unwrap();
    for (key, value) in change.as_object().into_iter().flatten() {
        if value.is_null() {
            object.remove(key);
        } else {
            object.insert(key.clone(), value.clone());
        }
    }
}
