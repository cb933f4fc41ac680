use tokio::net::TcpListener;

use super::*;
use crate::google::testing::{HANG, Metadata, answer, slowly, value, variables};

/// Returns the project if these environment variables are set, or the places that were searched.
async fn project(set: &[(&str, &str)]) -> Result<String, Vec<String>> {
    ambient_project(&variables(set)).await.map_err(|error| error.looked_at)
}

#[tokio::test]
async fn the_ambient_project_comes_from_the_first_place_that_has_one() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let key = write("key.json", r#"{"type": "service_account", "project_id": "of-key", "quota_project_id": "x"}"#);
    write(".config/gcloud/application_default_credentials.json", r#"{"quota_project_id": "of-login"}"#);
    let home = directory.path().to_str().unwrap();
    let server = Metadata::start(vec![value("of-metadata\n")]).await;
    let metadata = ("GCE_METADATA_HOST", server.host.as_str());

    let variable = ("GOOGLE_CLOUD_PROJECT", "of-variable");
    let credentials = ("GOOGLE_APPLICATION_CREDENTIALS", key.as_str());
    assert_eq!(project(&[variable, credentials, metadata]).await.unwrap(), "of-variable");
    assert_eq!(project(&[credentials, ("HOME", home), metadata]).await.unwrap(), "of-key");
    assert_eq!(project(&[("HOME", home), metadata]).await.unwrap(), "of-login");
    assert!(server.requests().is_empty());
    assert_eq!(project(&[("HOME", "/nonexistent"), metadata]).await.unwrap(), "of-metadata");
    let request = server.requests()[0].clone();
    assert!(request.starts_with("get /computemetadata/v1/project/project-id "), "{request}");
    assert!(request.contains("metadata-flavor: google") && request.contains(&format!("host: {}", server.host)));
}

#[tokio::test]
async fn a_missing_project_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("adc.json");
    let path = file.to_str().unwrap();
    let flavor = "Metadata-Flavor: Google\r\n";
    // Each case: the file, the answer of the metadata server, and the results for both.
    let cases = [
        (r#"{"type": "authorized_user"}"#, answer("404 Not Found", flavor, ""), "names no project", "status 404"),
        ("no json", answer("200 OK", "", "somebody"), "expected", "not a metadata server"),
        (r#"{"project_id": ""}"#, value(" \n"), "names no project", "an empty answer"),
        ("{}", value(&"x".repeat(9000)), "names no project", "length limit exceeded"),
    ];
    for (text, reply, of_file, of_metadata) in cases {
        std::fs::write(&file, text).unwrap();
        let server = Metadata::start(vec![reply]).await;
        let variables = [("GOOGLE_APPLICATION_CREDENTIALS", path), ("GCE_METADATA_HOST", server.host.as_str())];
        let looked_at = project(&variables).await.unwrap_err();
        assert_eq!(looked_at[0], "GOOGLE_CLOUD_PROJECT is not set");
        assert!(looked_at[1].starts_with(path) && looked_at[1].contains(of_file), "{looked_at:?}");
        assert!(looked_at[2].contains(&server.host) && looked_at[2].contains(of_metadata), "{looked_at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_metadata_server_that_is_late_is_asked_again_for_a_while() {
    slowly(async {
        let busy = answer("503 Service Unavailable", "", "");
        let server = Metadata::start(vec![busy, HANG.to_owned(), value("p")]).await;
        assert_eq!(project(&[("GCE_METADATA_HOST", &server.host)]).await.unwrap(), "p");

        let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
        let start = Instant::now();
        let looked_at = project(&[("GCE_METADATA_HOST", &unused)]).await.unwrap_err();
        assert!(looked_at.last().unwrap().contains("refused"), "{looked_at:?}");
        assert!(start.elapsed() >= METADATA_PATIENCE && start.elapsed() < METADATA_PATIENCE + Duration::from_secs(4));
    })
    .await;
}
