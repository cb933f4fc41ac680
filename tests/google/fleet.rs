//! The engine of a fleet takes the access token of the metadata server as its password, as Memorystore does with IAM.

use super::*;
use crate::fleet::secured::Secured;
use spansieve_test_support::authority::Authority;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_the_password_of_the_engine_and_one_that_was_refused_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let Some(engine) = Secured::start(&authority.certificate(&["localhost"], 2100), "token-1") else { return };
    let (current, asked) = (Arc::new(Mutex::new("token-1")), Arc::new(Mutex::new(0)));
    let (issued, times) = (Arc::clone(&current), Arc::clone(&asked));
    let metadata = Http::start(move |path| {
        let is_token = path.starts_with(&format!("{ACCOUNT_PATH}token"));
        *times.lock().unwrap() += i32::from(is_token);
        let body = if is_token { token(*issued.lock().unwrap()) } else { "run@iam.gserviceaccount.com".to_owned() };
        Some(("200 OK", body))
    })
    .await;
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, authority.pem()).unwrap();
    let fleet =
        format!("fleet: {{url: '{}', iam: true, tls: {{ca_file: {}}}}}", engine.url("localhost"), ca_file.display());
    let host = metadata.address.to_string();
    let export = format!("  endpoint: embedded\n  embedded: {{listen: \"127.0.0.1:0\"}}\n{fleet}");
    let program = Program::start(folder.path(), &export, &[("GCE_METADATA_HOST", &host)]);
    let endpoint = program.endpoint().await;
    wait_for(&endpoint, "/metrics", "\nspansieve_fleet_up 1\n").await;

    // The token expires at the engine. The cached one is refused, once, and then there is a new one.
    *current.lock().unwrap() = "token-2";
    engine.expire("token-2").await;
    wait_for(&endpoint, "/metrics", "\nspansieve_fleet_up 0\n").await;
    wait_for(&endpoint, "/metrics", "\nspansieve_fleet_up 1\n").await;
    let text = program.text();
    assert!(*asked.lock().unwrap() >= 2, "{text}");
    assert!(!text.contains("token-1") && !text.contains("token-2"), "{text}");

    // No token is right: the reason says so.
    engine.expire("nobody's").await;
    eventually("the log has the reason", || program.text().contains("roles/memorystore.dbConnectionUser")).await;
}
