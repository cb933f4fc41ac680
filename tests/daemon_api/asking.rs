//! Helpers: a daemon with the API, requests to it, and the commands of the program.

use std::process::{Command, Stdio};

use serde_json::Value;
use spansieve::daemon::Daemon;

use crate::support::{self, CONFIG};

/// The configuration of the tests, with the API on an address of its own.
pub(crate) fn config() -> String {
    format!("{CONFIG}api: {{listen: \"127.0.0.1:0\"}}\n")
}

pub(crate) async fn start() -> Daemon {
    support::start(&config()).await
}

/// Asks with GET. Returns the status, the content type and the body.
pub(crate) async fn get(url: &str) -> (u16, String, String) {
    let response = client().get(url).send().await.unwrap();
    let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    (response.status().as_u16(), content_type, String::from_utf8(body(response).await).unwrap())
}

pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn body(mut response: reqwest::Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        body.extend_from_slice(&chunk);
    }
    body
}

/// Asks the daemon for a JSON document.
pub(crate) async fn document(daemon: &Daemon, path: &str) -> Value {
    let (status, content_type, body) = get(&format!("{}{path}", daemon.api_url().unwrap())).await;
    assert_eq!((status, content_type.as_str()), (200, "application/json"), "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// The output of a command.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the program to its end, beside the runtime.
pub(crate) async fn spansieve(args: &[&str]) -> Printed {
    spansieve_to(args, Stdio::piped()).await
}

/// Runs the program to its end, with this standard output.
pub(crate) async fn spansieve_to(args: &[&str], stdout: Stdio) -> Printed {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spansieve"));
    command.args(args).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Printed { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Returns a file with this text.
pub(crate) fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}
