use serde_json::json;

use super::*;
use crate::google::testing::{Metadata, answer};
use crate::trust::id_token::tests::signer::{ACCOUNT, AUDIENCE, Signer};

#[tokio::test]
async fn a_token_is_verified_once_and_remembered_by_its_hash() {
    let signer = Signer::new("a", false);
    let keys = json!({"keys": [signer.jwk()]}).to_string();
    let server = Metadata::start(vec![answer("200 OK", "", &keys)]).await;
    let settings = GoogleIdTokens {
        audiences: vec![AUDIENCE.to_owned()],
        service_accounts: vec![ACCOUNT.to_owned()],
        certs_url: format!("http://{}/", server.host),
    };
    let google = Google::new(&settings).unwrap();
    let check = async |token: &str| google.check(token, TokenHash::of(token.as_bytes())).await;
    let good = signer.token(now_s(), &json!({}));
    let bad = signer.token(now_s(), &json!({"aud": "another"}));
    for _ in 0..2 {
        assert_eq!(check(&good).await, Ok(()));
        assert!(check(&bad).await.is_err());
        assert_eq!(google.verified.read().until_s.len(), 1, "only valid tokens are remembered");
    }
    let hash = TokenHash::of(good.as_bytes());
    // A remembered token is not verified again. Only its hash is compared.
    assert_eq!(google.check("not.a.token", hash).await, Ok(()));
    assert!(format!("{google:?}").find(&good[..20]).is_none());
}

#[test]
fn a_remembered_token_ends_with_its_time_and_its_key() {
    let token = |n: usize| TokenHash::of(n.to_string().as_bytes());
    let mut verified = Verified::default();
    verified.add(token(1), 100, 1, 50);
    assert!(verified.has(&token(1), 1, 99));
    assert!(!verified.has(&token(1), 1, 100), "the token has expired");
    assert!(!verified.has(&token(1), 2, 99), "the keys have changed");
    assert!(!verified.has(&token(2), 1, 99));
    verified.add(token(2), 100, 2, 50);
    assert_eq!(verified.until_s.len(), 1, "tokens of earlier keys are forgotten");
    for n in 0..VERIFIED_MAX + 10 {
        verified.add(token(n), 200, 2, 50);
    }
    assert_eq!(verified.until_s.len(), VERIFIED_MAX);
    verified.add(token(0), 300, 2, 250);
    assert_eq!(verified.until_s.len(), 1, "expired tokens make room");
}
