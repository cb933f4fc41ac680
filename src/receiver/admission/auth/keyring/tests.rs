use serde_json::json;

use super::*;
use crate::google::testing::{Metadata, answer, slowly};
use crate::trust::id_token::tests::signer::Signer;

fn key_set(ids: &[&'static str], max_age_s: u64) -> String {
    let keys: Vec<_> = ids.iter().map(|id| Signer::new(id, false).jwk()).collect();
    answer("200 OK", &format!("Cache-Control: public, max-age={max_age_s}\r\n"), &json!({ "keys": keys }).to_string())
}

fn failure() -> String {
    answer("503 Service Unavailable", "", "")
}

async fn keyring(answers: Vec<String>) -> (Keyring, Metadata) {
    let server = Metadata::start(answers).await;
    (Keyring::new(Certs::at(&format!("http://{}/certs", server.host)).unwrap()), server)
}

async fn found(keyring: &Keyring, id: &str) -> Result<u64, AccessError> {
    keyring.keys_for(id).await.map(|(_, generation)| generation)
}

const UNKNOWN: Result<u64, AccessError> = Err(AccessError::IdToken(IdTokenError::UnknownKey));

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_fetched_at_most_once_per_interval() {
    let (keyring, server) = keyring(vec![key_set(&["a"], 600), key_set(&["a", "b"], 600), key_set(&["b"], 600)]).await;
    slowly(async {
        assert_eq!(found(&keyring, "a").await, Ok(1));
        assert_eq!(found(&keyring, "a").await, Ok(1));
        assert_eq!(found(&keyring, "b").await, UNKNOWN, "the last fetch was just now");
        assert_eq!(server.requests().len(), 1);
        sleep(ASK_INTERVAL).await;
        // All concurrent requests for the key wait for a single fetch.
        let answers = tokio::join!(found(&keyring, "b"), found(&keyring, "b"), found(&keyring, "a"));
        assert_eq!(answers, (Ok(2), Ok(2), Ok(1)), "the old keys stay in use meanwhile");
        for _ in 0..10 {
            assert_eq!(found(&keyring, "made up").await, UNKNOWN);
        }
        assert_eq!(server.requests().len(), 2);
        sleep(ASK_INTERVAL).await;
        assert_eq!(found(&keyring, "made up").await, UNKNOWN);
        assert_eq!(found(&keyring, "a").await, UNKNOWN, "the key was withdrawn");
        assert_eq!(found(&keyring, "b").await, Ok(3));
        assert_eq!(server.requests().len(), 3);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_keys_a_token_cannot_be_verified() {
    let (keyring, server) = keyring(vec![failure(), failure(), key_set(&["a"], 600), failure()]).await;
    slowly(async {
        assert_eq!(found(&keyring, "a").await, Err(AccessError::NoKeys));
        assert_eq!(found(&keyring, "a").await, Err(AccessError::NoKeys));
        assert_eq!(server.requests().len(), 1);
        sleep(FIRST_INTERVAL).await;
        assert_eq!(found(&keyring, "a").await, Err(AccessError::NoKeys));
        sleep(FIRST_INTERVAL).await;
        assert_eq!(found(&keyring, "a").await, Ok(1));
        sleep(ASK_INTERVAL).await;
        assert_eq!(found(&keyring, "b").await, Err(AccessError::NoKeys), "it may be a new key");
        assert_eq!(found(&keyring, "a").await, Ok(1), "a failure removes no key");
        assert_eq!(server.requests().len(), 4);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn keys_are_renewed_when_they_are_old_and_not_kept_for_ever() {
    let answers = [key_set(&["a"], 600), key_set(&["a"], 0), key_set(&["a"], 600)];
    let failures = std::iter::repeat_with(failure).take(100);
    let (keyring, server) = keyring(answers.into_iter().chain(failures).collect()).await;
    let test = async {
        sleep(Duration::from_secs(590)).await;
        assert_eq!(server.requests().len(), 1);
        sleep(Duration::from_secs(20)).await;
        assert_eq!(server.requests().len(), 2);
        // A maximum age of 0 s counts as a minute.
        sleep(MAX_AGE_MIN + Duration::from_secs(10)).await;
        assert_eq!(server.requests().len(), 3);
        assert_eq!(keyring.generation(), 1, "the keys are still the same");
        // The clock advances in one step, so that the fetches of the day are only one.
        tokio::time::advance(KEEP_TIME_MAX - Duration::from_secs(60)).await;
        assert_eq!(found(&keyring, "a").await, Ok(1), "failures for a day");
        sleep(Duration::from_secs(120)).await;
        assert_eq!(found(&keyring, "a").await, Err(AccessError::NoKeys), "failures for more than a day");
    };
    slowly(async {
        tokio::select! {
            () = keyring.renew() => {}
            () = test => {}
        }
    })
    .await;
}
