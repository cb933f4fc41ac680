//! The client of a daemon's API, for the commands that ask a running daemon.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode, Uri};
use reqwest::{Client, Response, redirect};
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::output::{self, print_error};
use crate::api::answers::ErrorAnswer;
use crate::google::causes;
use crate::segment::file::read_regular;
use crate::settings::diagnostic::{printable_start, printable_text};
use crate::terminal::Paint;
use crate::trust::token::TOKEN_BYTES_MAX;

/// The time for the connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// The time for a whole answer. The daemon answers within milliseconds, unless it is overloaded.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);
/// The most bytes of an answer: a configuration and the counts of its policies take far less.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// The most bytes of a file with a token and comments.
const TOKEN_FILE_BYTES_MAX: usize = 64 << 10;
/// Characters of a foreign answer that an error quotes.
const QUOTE_CHARS_MAX: usize = 200;

/// The arguments that name a running daemon.
#[derive(Clone, Debug, clap::Args)]
pub struct DaemonArgs {
    /// The URL of the daemon's API (api.listen), such as http://127.0.0.1:8090
    #[arg(long, value_name = "URL")]
    pub from: String,
    /// A file with the token that the daemon asks for; - is standard input
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// The reason why a daemon gives no answer. The text says what to do.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The argument `--from` is not the URL of a daemon.
    #[error("--from {0}: write http://HOST:PORT or https://HOST, the address of the daemon's api.listen")]
    Url(String),
    /// The token cannot be read.
    #[error("--token-file {}: {cause}", path.display())]
    Token {
        /// The file as the operator named it.
        path: PathBuf,
        /// The problem.
        cause: String,
    },
    /// There is no connection, or it broke.
    #[error("cannot reach {url}: {cause}; is the daemon running, and is this the address of its api.listen?")]
    Unreachable {
        /// The URL of the daemon.
        url: String,
        /// The problem.
        cause: String,
    },
    /// The daemon did not answer in time.
    #[error("{url} did not answer within {} s", ANSWER_TIME_MAX.as_secs())]
    Late {
        /// The URL of the daemon.
        url: String,
    },
    /// The daemon has sent nothing on its stream for too long.
    #[error("{url} has sent nothing for {} s, not even an empty line", silence.as_secs())]
    Silent {
        /// The URL of the daemon.
        url: String,
        /// The time without a byte.
        silence: Duration,
    },
    /// The daemon has ended its stream.
    #[error("{url} has ended the stream: it stops, or this client read too slowly")]
    Ended {
        /// The URL of the daemon.
        url: String,
    },
    /// The daemon needs another token.
    #[error(
        "{url} denies access: {message}; name a file with a valid token: --token-file FILE (api.auth or otlp.auth)"
    )]
    Denied {
        /// The URL of the daemon.
        url: String,
        /// The words of the daemon.
        message: String,
    },
    /// The daemon does not serve the API at this address.
    #[error("{url} does not serve the API: {message}")]
    NotServed {
        /// The URL of the daemon.
        url: String,
        /// The words of the daemon.
        message: String,
    },
    /// The daemon refuses the request.
    #[error("{url} refuses the request: {message}")]
    Refused {
        /// The URL of the daemon.
        url: String,
        /// The words of the daemon.
        message: String,
    },
    /// The answer is not one of a daemon.
    #[error("the answer of {url} is not from Spansieve's API: {what}")]
    Foreign {
        /// The URL.
        url: String,
        /// The difference from an answer of the API.
        what: String,
    },
    /// The daemon has no such policy.
    #[error("{url} has no policy {name} that decides: {help}")]
    NoPolicy {
        /// The URL of the daemon.
        url: String,
        /// The name.
        name: String,
        /// What to ask instead.
        help: String,
    },
    /// Standard output cannot be written, or its reader has closed it.
    #[error("cannot write to standard output: {0}")]
    Print(io::Error),
    /// The system does not give what a runtime needs.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        ClientError::Print(error)
    }
}

/// A daemon to ask.
#[derive(Debug)]
pub struct DaemonClient {
    client: Client,
    url: String,
    token: Option<HeaderValue>,
}

impl DaemonClient {
    /// Returns a client for the daemon that the arguments name.
    ///
    /// # Errors
    /// The URL or the file with the token cannot be used.
    pub fn new(args: &DaemonArgs) -> Result<Self, ClientError> {
        let url = base_url(&args.from)?;
        let token = args.token_file.as_deref().map(read_token).transpose()?;
        // The client needs a default provider for the process. An error means that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder().connect_timeout(CONNECT_TIME_MAX).redirect(redirect::Policy::none());
        // A daemon without TLS is on this machine or on a private network, so it is asked without a proxy.
        let builder = if url.starts_with("https:") { builder } else { builder.no_proxy() };
        match builder.build() {
            Ok(client) => Ok(DaemonClient { client, url, token }),
            Err(error) => Err(ClientError::Unreachable { url, cause: causes(&error) }),
        }
    }

    /// Returns the URL of the daemon.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the document at `path`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn document<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let answer = async {
            let response = self.get(path, "json").await?;
            self.body(response).await
        };
        let body = tokio::time::timeout(ANSWER_TIME_MAX, answer).await;
        let body = body.unwrap_or_else(|_| Err(ClientError::Late { url: self.url.clone() }))?;
        serde_json::from_slice(&body).map_err(|error| self.foreign(format!("its JSON has another form ({error})")))
    }

    /// Asks for `path`. Returns the response if its status is a success and its content type contains `form`.
    async fn get(&self, path: &str, form: &str) -> Result<Response, ClientError> {
        let request = self.client.get(format!("{}{path}", self.url));
        let request = match &self.token {
            Some(token) => request.header(AUTHORIZATION, token.clone()),
            None => request,
        };
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let has_form = content_type(&response).contains(form);
        match response.status() {
            StatusCode::OK if has_form => Ok(response),
            status => Err(self.refusal(status, response).await),
        }
    }

    /// Opens the stream of JSON documents at `path`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub(super) async fn open(&self, path: &str) -> Result<Response, ClientError> {
        self.open_as(path, "json").await
    }

    /// Opens the stream at `path`, whose content type contains `form`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub(super) async fn open_as(&self, path: &str, form: &str) -> Result<Response, ClientError> {
        let response = tokio::time::timeout(ANSWER_TIME_MAX, self.get(path, form)).await;
        response.unwrap_or_else(|_| Err(ClientError::Late { url: self.url.clone() }))
    }

    pub(super) fn silent(&self, silence: Duration) -> ClientError {
        ClientError::Silent { url: self.url.clone(), silence }
    }

    pub(super) fn ended(&self) -> ClientError {
        ClientError::Ended { url: self.url.clone() }
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(self.foreign(format!("it has more than {ANSWER_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Returns the reason for an answer that is not a document.
    async fn refusal(&self, status: StatusCode, response: Response) -> ClientError {
        let content_type = content_type(&response);
        let (is_json, is_text) = (content_type.contains("json"), content_type.starts_with("text/plain"));
        let body = match tokio::time::timeout(ANSWER_TIME_MAX, self.body(response)).await {
            Ok(Ok(body)) => body,
            Ok(Err(error)) => return error,
            Err(_) => return ClientError::Late { url: self.url.clone() },
        };
        let url = self.url.clone();
        let message = match serde_json::from_slice::<ErrorAnswer>(&body) {
            Ok(answer) if is_json => quote(answer.error.as_bytes()),
            _ if is_text && status == StatusCode::NOT_FOUND && is_from_spansieve(&body) => {
                return ClientError::NotServed { url, message: quote(&body) };
            }
            _ => {
                let form = if content_type.is_empty() { "no content type" } else { &content_type };
                let hint = if status.is_redirection() { "; a login page in front of it, perhaps" } else { "" };
                return self.foreign(format!("status {}, {}{hint}", status.as_u16(), quote(form.as_bytes())));
            }
        };
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ClientError::Denied { url, message },
            _ => ClientError::Refused { url, message },
        }
    }

    pub(super) fn unreachable(&self, error: reqwest::Error) -> ClientError {
        ClientError::Unreachable { url: self.url.clone(), cause: causes(&error.without_url()) }
    }

    pub(super) fn foreign(&self, what: String) -> ClientError {
        ClientError::Foreign { url: self.url.clone(), what }
    }
}

/// Returns true for the text of a Spansieve that does not serve the API at this address.
fn is_from_spansieve(body: &[u8]) -> bool {
    [&b"this address does not serve it"[..], b"there is nothing at"].iter().any(|start| body.starts_with(start))
}

fn content_type(response: &Response) -> String {
    let value = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_ascii_lowercase()
}

/// Returns the start of a text from elsewhere.
fn quote(text: &[u8]) -> String {
    printable_start(String::from_utf8_lossy(text).trim(), QUOTE_CHARS_MAX)
}

/// Returns the URL without a slash at its end.
fn base_url(from: &str) -> Result<String, ClientError> {
    let error = || ClientError::Url(quote(from.as_bytes()));
    let uri: Uri = from.parse().map_err(|_| error())?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    if !is_http || uri.host().is_none_or(str::is_empty) || uri.query().is_some() {
        return Err(error());
    }
    Ok(from.trim_end_matches('/').to_owned())
}

/// Reads the first token of a file: the first line that is neither empty nor a comment.
fn read_token(path: &Path) -> Result<HeaderValue, ClientError> {
    let error = |cause: String| ClientError::Token { path: path.to_owned(), cause };
    let bytes = if path == Path::new("-") { stdin() } else { read_regular(path, TOKEN_FILE_BYTES_MAX) };
    let text = String::from_utf8(bytes.map_err(|cause| error(cause.to_string()))?);
    let text = text.map_err(|_| error("it is not text".to_owned()))?;
    let token = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let token = token.ok_or_else(|| error("there is no token in it".to_owned()))?;
    let value = HeaderValue::from_str(&format!("Bearer {token}")).ok().filter(|_| token.len() <= TOKEN_BYTES_MAX);
    let mut value = value.ok_or_else(|| error("its first line is not a token".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn stdin() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "bounded by `take`")]
    io::stdin().take(TOKEN_FILE_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Runs `work` to its end and prints its error.
pub(super) fn run(work: impl Future<Output = Result<(), ClientError>>) -> ExitCode {
    finished(work).err().unwrap_or(ExitCode::SUCCESS)
}

/// Runs `work` to its end. Prints its error, and returns `None` then.
pub(super) fn wait<T>(work: impl Future<Output = Result<T, ClientError>>) -> Option<T> {
    finished(work).ok()
}

/// Runs `work` to its end. Prints its error, and returns the exit code for it then.
fn finished<T>(work: impl Future<Output = Result<T, ClientError>>) -> Result<T, ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(ClientError::Runtime(error)),
    };
    match result {
        Ok(value) => Ok(value),
        Err(ClientError::Print(error)) => Err(output::exit_code(Err(error), ExitCode::SUCCESS)),
        Err(error) => {
            print_error(&format!("error: {}\n", printable_text(&error.to_string())));
            Err(ExitCode::FAILURE)
        }
    }
}

/// Returns the style of a verdict or an answer: green for what is kept, red for what is dropped, yellow for the rest.
pub(super) fn style(word: &str) -> &'static str {
    match word {
        "kept" | "keeps" => Paint::GREEN,
        "dropped" | "drops" => Paint::RED,
        _ => Paint::YELLOW,
    }
}

#[cfg(test)]
mod tests;
