use base64::prelude::BASE64_URL_SAFE;
use ring::hmac;
use serde_json::{Value, json};

use super::*;

pub(crate) use spansieve_test_support::id_tokens as signer;

use signer::{ACCOUNT, ACCOUNT_NUMBER, AUDIENCE, Signer, claims, merge, unsigned};

const NOW_S: u64 = 1_795_000_000;

fn key_set(keys: &[Value]) -> PublicKeys {
    PublicKeys::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn senders() -> Senders {
    let accounts = vec![ACCOUNT.to_owned(), "42".to_owned()];
    Senders { audiences: vec![AUDIENCE.to_owned(), "other".to_owned()], accounts }
}

fn check(token: &str, now_s: u64) -> Result<u64, IdTokenError> {
    let keys = key_set(&[Signer::new("one", false).jwk()]);
    IdToken::read(token)?.verify(&keys, &senders(), now_s)
}

#[test]
fn the_claims_of_a_signed_token_are_checked() {
    let account = |text: &str| Err(IdTokenError::Account(text.to_owned()));
    let until = Ok(NOW_S + 3600 + CLOCK_SKEW_S);
    let long = "a".repeat(5000);
    let cases = [
        (json!({}), until.clone()),
        (json!({"iss": "accounts.google.com"}), until.clone()),
        (json!({"iss": "https://accounts.google.com.evil.example"}), Err(IdTokenError::Issuer)),
        (json!({"iss": null}), Err(IdTokenError::Malformed)),
        (json!({"aud": "other"}), until.clone()),
        (json!({"aud": ["nobody", "other"]}), until.clone()),
        (json!({"aud": "https://spansieve.example/"}), Err(IdTokenError::Audience)),
        (json!({"aud": []}), Err(IdTokenError::Audience)),
        (json!({"aud": null}), Err(IdTokenError::Malformed)),
        (json!({"exp": NOW_S + 1 - CLOCK_SKEW_S}), Ok(NOW_S + 1)),
        (json!({"exp": NOW_S - CLOCK_SKEW_S}), Err(IdTokenError::Expired)),
        (json!({"exp": null}), Err(IdTokenError::Malformed)),
        (json!({"exp": -1}), Err(IdTokenError::Malformed)),
        (json!({"exp": u64::MAX}), Ok(u64::MAX)),
        (json!({"iat": NOW_S + CLOCK_SKEW_S}), until.clone()),
        (json!({"iat": NOW_S + CLOCK_SKEW_S + 1}), Err(IdTokenError::Future)),
        (json!({"iat": null}), Err(IdTokenError::Malformed)),
        (json!({"nbf": NOW_S + CLOCK_SKEW_S + 1}), Err(IdTokenError::Future)),
        (json!({"nbf": 0}), until.clone()),
        (json!({"email_verified": false}), Err(IdTokenError::Unverified(ACCOUNT.to_owned()))),
        (json!({"email_verified": "true"}), Err(IdTokenError::Malformed)),
        (json!({"email_verified": null}), Err(IdTokenError::Unverified(ACCOUNT.to_owned()))),
        (json!({"email": "somebody@gmail.com"}), account("somebody@gmail.com")),
        (json!({"email": ACCOUNT.to_uppercase()}), account(&ACCOUNT.to_uppercase())),
        (json!({"email": long}), account(&long[..ACCOUNT_CHARS_MAX])),
        (json!({"email": null}), account(ACCOUNT_NUMBER)),
        (json!({"email": null, "sub": "42"}), until.clone()),
        (json!({"email": "42", "email_verified": false}), account("42")),
        (json!({"sub": null}), Err(IdTokenError::Malformed)),
    ];
    let signer = Signer::new("one", false);
    for (change, expected) in cases {
        assert_eq!(check(&signer.token(NOW_S, &change), NOW_S), expected, "{change}");
    }
}

#[test]
fn only_the_named_key_can_sign_a_token() {
    let (signer, other) = (Signer::new("one", false), Signer::new("one", true));
    let good = claims(NOW_S, &json!({}));
    let header = |change: Value| {
        let mut header = signer.header();
        merge(&mut header, &change);
        header
    };
    let token = signer.token(NOW_S, &json!({}));
    let (start, signature) = token.rsplit_once('.').unwrap();
    let public_key = signer.jwk()["n"].as_str().unwrap().to_owned();
    let cases = [
        ("another key under this name", other.token(NOW_S, &json!({})), IdTokenError::Signature),
        ("other claims", format!("{}.{signature}", unsigned(&header(json!({})), &json!({}))), IdTokenError::Malformed),
        (
            "claims of another hour",
            format!("{}.{signature}", unsigned(&header(json!({})), &claims(NOW_S + 1, &json!({})))),
            IdTokenError::Signature,
        ),
        ("no signature", format!("{start}."), IdTokenError::Signature),
        ("a signature cut off", token[..token.len() - 2].to_owned(), IdTokenError::Signature),
        (
            "a signature that Cloud Run has removed",
            format!("{start}.SIGNATURE_REMOVED_BY_GOOGLE"),
            IdTokenError::Removed,
        ),
        ("none", format!("{}.", unsigned(&header(json!({"alg": "none"})), &good)), IdTokenError::Algorithm),
        ("none, signed", signer.sign(&header(json!({"alg": "none"})), &good), IdTokenError::Algorithm),
        (
            "HS256 by the public key",
            hs256(&header(json!({"alg": "HS256"})), &good, &public_key),
            IdTokenError::Algorithm,
        ),
        ("HS256 that says RS256", hs256(&header(json!({})), &good, &public_key), IdTokenError::Signature),
        ("RS512", signer.sign(&header(json!({"alg": "RS512"})), &good), IdTokenError::Algorithm),
        ("lower case", signer.sign(&header(json!({"alg": "rs256"})), &good), IdTokenError::Algorithm),
        ("no algorithm", signer.sign(&header(json!({"alg": null})), &good), IdTokenError::Malformed),
        ("an extension", signer.sign(&header(json!({"crit": ["b64"]})), &good), IdTokenError::Malformed),
        ("another name", signer.sign(&header(json!({"kid": "two"})), &good), IdTokenError::UnknownKey),
        ("no name", signer.sign(&header(json!({"kid": null})), &good), IdTokenError::Malformed),
        (
            "a key of its own",
            other.sign(&header(json!({"kid": "two", "jwk": other.jwk(), "x5u": "https://evil.example"})), &good),
            IdTokenError::UnknownKey,
        ),
    ];
    for (name, token, expected) in cases {
        assert_eq!(check(&token, NOW_S), Err(expected), "{name}");
    }
}

#[test]
fn a_text_that_is_not_a_token_is_malformed() {
    let good = Signer::new("one", false).token(NOW_S, &json!({}));
    assert!(IdToken::is_one(&good));
    let padded = good.split('.').map(|part| BASE64_URL_SAFE.encode(part)).collect::<Vec<_>>().join(".");
    let deep = BASE64_URL_SAFE_NO_PAD.encode("[".repeat(4000));
    let long = format!("{}.{}", "a".repeat(ID_TOKEN_BYTES_MAX), "a.a");
    let cases = ["", ".", "..", "a.b.c", "static-token", &good[1..], &format!("{good}.x"), &padded, &long];
    for token in cases.into_iter().chain([format!("{deep}.{deep}.").as_str()]) {
        assert_eq!(check(token, NOW_S), Err(IdTokenError::Malformed), "{token}");
    }
    for length in 0..good.len() {
        assert!(check(&good[..length], NOW_S).is_err(), "{length}");
    }
}

#[test]
fn only_keys_for_rs256_are_read() {
    let key = Signer::new("one", false).jwk();
    let changed = |change: Value| {
        let mut key = key.clone();
        merge(&mut key, &change);
        key
    };
    let cases = [
        (changed(json!({})), true),
        (changed(json!({"alg": null, "use": null})), true),
        (changed(json!({"alg": "RS512"})), false),
        (changed(json!({"use": "enc"})), false),
        (changed(json!({"kty": "oct"})), false),
        (changed(json!({"kid": null})), false),
        (changed(json!({"n": "***"})), false),
        (changed(json!({"e": null})), false),
    ];
    for (jwk, expected) in cases {
        let parsed = PublicKeys::parse(json!({"keys": [jwk]}).to_string().as_bytes());
        assert_eq!(parsed.is_ok_and(|keys| keys.has("one")), expected, "{jwk}");
    }
    // A key that is too short to be safe verifies no signature.
    let weak = key_set(&[changed(json!({"n": "AQAB"}))]);
    let token = Signer::new("one", false).token(NOW_S, &json!({}));
    assert_eq!(IdToken::read(&token).unwrap().verify(&weak, &senders(), NOW_S), Err(IdTokenError::Signature));
    for bad in ["", "[]", "{}", r#"{"keys": []}"#, "<html>"] {
        assert!(PublicKeys::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

/// Returns a token that is signed with HMAC. It must not be accepted as one of Google's.
fn hs256(header: &Value, claims: &Value, key: &str) -> String {
    let signed = unsigned(header, claims);
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let tag = hmac::sign(&key, signed.as_bytes());
    signed + "." + &BASE64_URL_SAFE_NO_PAD.encode(tag)
}
