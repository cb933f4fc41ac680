//! A scripted metadata server, and time that passes slowly.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Runs `test` in paused time, which advances by a second after every hundred turns of the other tasks. Without this, a
/// paused runtime jumps to the next timer whenever it waits for a socket, and every timeout passes at once.
pub(crate) async fn slowly<T>(test: impl Future<Output = T>) -> T {
    const TURNS: usize = 100;
    // Paused time does not jump while a blocking task runs. The task ends with this function.
    let (_end, ended) = std::sync::mpsc::sync_channel::<()>(0);
    tokio::task::spawn_blocking(move || ended.recv());
    let mut test = std::pin::pin!(test);
    loop {
        let turns = async {
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            result = &mut test => return result,
            () = turns => tokio::time::advance(Duration::from_secs(1)).await,
        }
    }
}

/// The script entry for an answer that never comes.
pub(crate) const HANG: &str = "";

/// A metadata server that gives the answers in turn, one to each request, and records the requests.
pub(crate) struct Metadata {
    pub(crate) host: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Metadata {
    pub(crate) async fn start(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        tokio::spawn(async move {
            let mut hanging = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                kept.lock().push(String::from_utf8(request).unwrap().to_lowercase());
                stream.write_all(answer.as_bytes()).await.unwrap();
                if answer == HANG {
                    hanging.push(stream);
                }
            }
            std::future::pending::<()>().await;
        });
        Metadata { host, requests }
    }

    /// Returns the requests so far, in lower case.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().clone()
    }
}

pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Returns an answer with a value of the metadata server.
pub(crate) fn value(text: &str) -> String {
    answer("200 OK", "Metadata-Flavor: Google\r\n", text)
}

/// Returns an answer with an access token that is valid for `seconds` seconds.
pub(crate) fn token_for(name: &str, seconds: u64) -> String {
    let body = format!(r#"{{"access_token":"{name}","expires_in":{seconds},"token_type":"Bearer"}}"#);
    answer("200 OK", "Metadata-Flavor: Google\r\nContent-Type: application/json\r\n", &body)
}

/// Returns an answer with an access token that is valid for an hour.
pub(crate) fn token(name: &str) -> String {
    token_for(name, 3600)
}

/// Returns an environment with these variables.
pub(crate) fn variables(set: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> + Sync {
    let set: Vec<(String, String)> = set.iter().map(|&(name, value)| (name.into(), value.into())).collect();
    move |name| set.iter().find(|(set, _)| set == name).map(|(_, value)| value.clone())
}
