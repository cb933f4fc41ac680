use std::sync::atomic::{AtomicUsize, Ordering};

use google_cloud_auth::credentials::{mds, service_account};
use tonic::Code;

use super::*;
use crate::google::testing::{HANG, Metadata, answer, slowly, token, token_for, value, variables};

impl Metadata {
    /// Returns credentials that use this server as their metadata server.
    pub(crate) fn credentials(&self) -> Credentials {
        self.credentials_that_panic(usize::MAX)
    }

    /// Returns the same credentials, but signing in again panics at the attempt number `panics`. The first such attempt
    /// is number 1.
    pub(crate) fn credentials_that_panic(&self, panics: usize) -> Credentials {
        let endpoint = format!("http://{}", self.host);
        let sign_ins = AtomicUsize::new(0);
        let build = move || {
            assert_ne!(sign_ins.fetch_add(1, Ordering::Relaxed), panics, "as the test asked for");
            mds::Builder::default().with_endpoint(&endpoint).build()
        };
        let adc = Adc::locate(&variables(&[("GCE_METADATA_HOST", &self.host)]));
        Credentials::new(adc, AdcFile::default(), build).unwrap()
    }
}

async fn authorization(credentials: &Credentials) -> Result<String, Code> {
    let signature = credentials.signature().await.map_err(|status| status.code())?;
    Ok(signature.headers["authorization"].to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_token_is_fetched_once_and_again_after_it_was_refused() {
    let server = Metadata::start(vec![token("first"), token("second")]).await;
    let credentials = server.credentials();
    for _ in 0..3 {
        assert_eq!(authorization(&credentials).await.unwrap(), "Bearer first");
    }
    let first = credentials.signature().await.unwrap().sign_in;
    credentials.renew(first);
    assert_eq!(authorization(&credentials).await.unwrap(), "Bearer second");
    // Another call took longer and failed with the first token, too.
    credentials.renew(first);
    assert_eq!(authorization(&credentials).await.unwrap(), "Bearer second");
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    let path = "get /computemetadata/v1/instance/service-accounts/default/token ";
    assert!(requests.iter().all(|r| r.starts_with(path) && r.contains("metadata-flavor: google")), "{requests:?}");
}

#[tokio::test]
async fn a_missing_token_is_retryable_and_the_next_call_tries_again_after_a_permanent_failure() {
    let forbidden = answer("403 Forbidden", "", "no such account yet");
    let server = Metadata::start(vec![forbidden, token("granted")]).await;
    let credentials = server.credentials();
    let status = credentials.signature().await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let places = ["no access token: GOOGLE_APPLICATION_CREDENTIALS is not set; ", "HOME", &server.host, "403"];
    assert!(places.iter().all(|place| status.message().contains(place)), "{status:?}");
    assert_eq!(authorization(&credentials).await.unwrap(), "Bearer granted");

    let overloaded = Metadata::start(vec![answer("503 Service Unavailable", "", "")]).await;
    assert_eq!(authorization(&overloaded.credentials()).await, Err(Code::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn a_metadata_server_that_hangs_is_given_up_and_asked_again() {
    slowly(async {
        let server = Metadata::start(vec![HANG.to_owned(), token("late")]).await;
        let credentials = server.credentials();
        let start = Instant::now();
        let mut waits = 0;
        while start.elapsed() < HANG_TIME_MIN {
            assert_eq!(authorization(&credentials).await, Err(Code::Unavailable));
            waits += 1;
        }
        assert_eq!(waits, 6, "each call waits for a while");
        assert_eq!(authorization(&credentials).await.unwrap(), "Bearer late");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn calls_do_not_wait_for_a_renewal_while_the_token_is_good() {
    slowly(async {
        // The library requests the next token at once, because this one is valid for less than four minutes.
        let server = Metadata::start(vec![token_for("first", 200), HANG.to_owned(), token("second")]).await;
        let credentials = server.credentials();
        let start = Instant::now();
        assert_eq!(authorization(&credentials).await.unwrap(), "Bearer first");
        while start.elapsed() < Duration::from_secs(199) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let asked = Instant::now();
            assert_eq!(authorization(&credentials).await.unwrap(), "Bearer first");
            assert_eq!(asked.elapsed(), Duration::ZERO);
        }
        assert_eq!(server.requests().len(), 2, "the renewal hangs");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(authorization(&credentials).await, Err(Code::Unavailable), "the token has expired");
        assert_eq!(authorization(&credentials).await.unwrap(), "Bearer second");
    })
    .await;
}

#[tokio::test]
async fn the_account_is_looked_up_once() {
    let server = Metadata::start(vec![token("t"), value("run@p.iam.gserviceaccount.com\n")]).await;
    let credentials = server.credentials();
    assert_eq!(credentials.identity(), None, "no server was asked yet");
    for _ in 0..2 {
        credentials.sign_in().await.unwrap();
        assert_eq!(credentials.identity().as_deref(), Some("run@p.iam.gserviceaccount.com"));
    }
    assert!(server.requests()[1].starts_with("get /computemetadata/v1/instance/service-accounts/default/email "));

    let nameless = Metadata::start(vec![token("t"), answer("404 Not Found", "", "")]).await;
    let credentials = nameless.credentials();
    credentials.sign_in().await.unwrap();
    assert_eq!(credentials.identity(), None, "a missing account name is not an error");
}

#[tokio::test]
async fn unusable_credentials_are_reported_at_once() {
    let no_key = serde_json::json!({"type": "service_account"});
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key.json");
    let path = path.to_str().unwrap();
    let build = move || service_account::Builder::new(no_key.clone()).build();
    let error = || {
        let adc = Adc::locate(&variables(&[("GOOGLE_APPLICATION_CREDENTIALS", path)]));
        Credentials::new(adc, AdcFile::default(), build.clone()).unwrap_err().to_string()
    };
    let start = format!("application default credentials cannot be used: {path} (GOOGLE_APPLICATION_CREDENTIALS): ");
    assert!(error().starts_with(&format!("{start}No such file")), "{}", error());
    std::fs::write(path, "{}").unwrap();
    assert!(error().starts_with(&start), "{}", error());
    std::fs::remove_file(path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    let not_regular = format!("{start}it is not a regular file");
    assert!(error().starts_with(&not_regular), "the library would hang, so it is not called: {}", error());
}
