//! The real program as a process that can be killed.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use tempfile::NamedTempFile;

/// Returns a file with this configuration.
pub fn config_file(text: &str) -> NamedTempFile {
    let file = NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// Returns the command `spansieve run` with this configuration.
pub fn spansieve(config: &NamedTempFile) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spansieve"));
    command.args(["run", "--config", config.path().to_str().unwrap()]).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Returns the body of the answer of the program at `uri` if its status is a success.
pub async fn get(uri: &str, path: &str) -> Option<String> {
    let client = HttpClient::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let response = client.get(format!("{uri}{path}").parse().unwrap()).await.ok()?;
    let is_ok = response.status().is_success();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    is_ok.then(|| String::from_utf8(body.into()).unwrap())
}

/// A process of the program. It is killed when it is dropped.
pub struct Program {
    child: Child,
    pub uri: String,
    _config: NamedTempFile,
}

impl Program {
    /// Starts the program with a configuration that listens on `uri`, and waits until it answers.
    pub async fn start(uri: String, config: &str) -> Self {
        Self::start_logging(uri, config, Stdio::null()).await
    }

    /// Does the same, with the log written to `log`.
    pub async fn start_logging(uri: String, config: &str, log: impl Into<Stdio>) -> Self {
        let config = config_file(config);
        let child = spansieve(&config).stderr(log).spawn().unwrap();
        let program = Program { child, uri, _config: config };
        program.eventually("it answers", |_| true).await;
        program
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the body of the answer if its status is a success.
    pub async fn get(&self, path: &str) -> Option<String> {
        get(&self.uri, path).await
    }

    pub async fn scrape(&self) -> Option<String> {
        self.get("/metrics").await
    }

    /// Waits until `condition` holds for the metrics; returns them.
    pub async fn eventually(&self, expected: &str, condition: impl Fn(&str) -> bool) -> String {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(text) = self.scrape().await.filter(|text| condition(text)) {
                return text;
            }
            assert!(tokio::time::Instant::now() < deadline, "never happened: {expected}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the resident anonymous memory of the process (`RssAnon`).
    pub fn resident_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    /// Sends a signal and waits for the process to end; returns its exit code.
    pub fn signal(mut self, name: &str) -> Option<i32> {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // An error means that the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
