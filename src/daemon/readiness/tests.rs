use super::*;
use crate::google::testing::{Metadata, answer, slowly, token, value};

#[tokio::test(start_paused = true)]
async fn the_daemon_is_ready_once_it_has_a_token_and_gives_the_reason_until_then() {
    slowly(async {
        let unavailable = answer("503 Service Unavailable", "", "");
        let forbidden = answer("403 Forbidden", "", "no account");
        let server = Metadata::start(vec![unavailable, forbidden, token("t"), value("a@p")]).await;
        let health = Arc::new(Health::default());
        let task = tokio::spawn(sign_in(server.credentials(), Arc::clone(&health)));
        for found in ["503", "403"] {
            let said = || health.waits_for().is_some_and(|missing| missing.contains(found));
            while !said() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert!(
                !health.is_ready() && health.waits_for().unwrap().contains("GOOGLE_APPLICATION_CREDENTIALS is not set")
            );
        }
        task.await.unwrap();
        assert!(health.is_ready());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_signing_in_is_a_failed_attempt() {
    slowly(async {
        let forbidden = answer("403 Forbidden", "", "no account");
        let server = Metadata::start(vec![forbidden, token("t"), value("a@p")]).await;
        let health = Arc::new(Health::default());
        let task = tokio::spawn(sign_in(server.credentials_that_panic(1), Arc::clone(&health)));
        while health.waits_for().is_none_or(|missing| !missing.contains("panicked")) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        task.await.unwrap();
        assert!(health.is_ready());
    })
    .await;
}
