use std::sync::Arc;

use google_cloud_auth::credentials::{mds, service_account};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic::Code;

use super::*;
use crate::google::project::find;

/// A metadata server that gives the answers in turn, each to one request, and keeps the requests.
pub(crate) struct Metadata {
    host: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Metadata {
    pub(crate) async fn start(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                kept.lock().push(String::from_utf8(request).unwrap().to_lowercase());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Metadata { host, requests }
    }

    pub(crate) fn credentials(&self) -> Credentials {
        let endpoint = format!("http://{}", self.host);
        Credentials::new(move || mds::Builder::default().with_endpoint(&endpoint).build()).unwrap()
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

pub(crate) fn token(name: &str) -> String {
    let body = format!(r#"{{"access_token":"{name}","expires_in":3600,"token_type":"Bearer"}}"#);
    answer("200 OK", "Metadata-Flavor: Google\r\nContent-Type: application/json\r\n", &body)
}

async fn authorization(credentials: &Credentials) -> Result<String, Code> {
    let headers = credentials.headers().await.map_err(|status| status.code())?;
    Ok(headers["authorization"].to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_token_is_fetched_once_and_again_when_it_was_refused() {
    let server = Metadata::start(vec![token("first"), token("second")]).await;
    let credentials = server.credentials();
    for _ in 0..3 {
        assert_eq!(authorization(&credentials).await.unwrap(), "Bearer first");
    }
    credentials.renew();
    assert_eq!(authorization(&credentials).await.unwrap(), "Bearer second");
    let requests = server.requests.lock().clone();
    assert_eq!(requests.len(), 2);
    let path = "get /computemetadata/v1/instance/service-accounts/default/token ";
    assert!(requests.iter().all(|r| r.starts_with(path) && r.contains("metadata-flavor: google")), "{requests:?}");
}

#[tokio::test]
async fn no_token_is_retryable_and_a_permanent_failure_does_not_last() {
    let forbidden = answer("403 Forbidden", "", "no such account yet");
    let server = Metadata::start(vec![forbidden, token("granted")]).await;
    let credentials = server.credentials();
    let status = credentials.headers().await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().starts_with("no access token: ") && status.message().contains("403"), "{status:?}");
    assert_eq!(authorization(&credentials).await.unwrap(), "Bearer granted");

    let overloaded = Metadata::start(vec![answer("503 Service Unavailable", "", "")]).await;
    assert_eq!(authorization(&overloaded.credentials()).await, Err(Code::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn a_metadata_server_that_hangs_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = Metadata { host: listener.local_addr().unwrap().to_string(), requests: Arc::default() };
    assert_eq!(authorization(&silent.credentials()).await, Err(Code::Unavailable));
}

#[tokio::test]
async fn credentials_that_cannot_be_used_are_told_at_once() {
    let no_key = serde_json::json!({"type": "service_account"});
    let error = Credentials::new(move || service_account::Builder::new(no_key.clone()).build()).unwrap_err();
    assert!(error.to_string().starts_with("application default credentials cannot be used: "), "{error}");
}

/// Looks for the project with these variables set.
async fn project(variables: &[(&str, &str)]) -> Result<String, Vec<String>> {
    let get = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    find(get).await.map_err(|error| error.looked_at)
}

#[tokio::test]
async fn the_ambient_project_is_found_in_order() {
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
    let good = answer("200 OK", "Metadata-Flavor: Google\r\n", "of-metadata\n");
    let server = Metadata::start(vec![good]).await;
    let metadata = ("GCE_METADATA_HOST", server.host.as_str());

    let variable = ("GOOGLE_CLOUD_PROJECT", "of-variable");
    let credentials = ("GOOGLE_APPLICATION_CREDENTIALS", key.as_str());
    assert_eq!(project(&[variable, credentials, metadata]).await.unwrap(), "of-variable");
    assert_eq!(project(&[credentials, ("HOME", home), metadata]).await.unwrap(), "of-key");
    assert_eq!(project(&[("HOME", home), metadata]).await.unwrap(), "of-login");
    assert!(server.requests.lock().is_empty());
    assert_eq!(project(&[("HOME", "/nonexistent"), metadata]).await.unwrap(), "of-metadata");
    let request = server.requests.lock()[0].clone();
    assert!(request.starts_with("get /computemetadata/v1/project/project-id "), "{request}");
    assert!(request.contains("metadata-flavor: google") && request.contains(&format!("host: {}", server.host)));
}

#[tokio::test]
async fn a_missing_project_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("adc.json");
    let path = file.to_str().unwrap();
    let flavor = "Metadata-Flavor: Google\r\n";
    // What the file says, what the metadata server answers, and what is said of both.
    let cases = [
        (r#"{"type": "authorized_user"}"#, answer("404 Not Found", flavor, ""), "names no project", "status 404"),
        ("no json", answer("200 OK", "", "somebody"), "expected", "not a metadata server"),
        (r#"{"project_id": ""}"#, answer("200 OK", flavor, " \n"), "names no project", "an empty project id"),
        ("{}", answer("200 OK", flavor, &"x".repeat(2000)), "names no project", "length limit exceeded"),
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
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let looked_at = project(&[("GCE_METADATA_HOST", &nobody)]).await.unwrap_err();
    assert!(looked_at[2].contains("refused"), "{looked_at:?}");
}
