//! The project that the daemon runs in, for spans whose resource names none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;

const PROJECT_VARIABLE: &str = "GOOGLE_CLOUD_PROJECT";
const CREDENTIALS_VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
const METADATA_VARIABLE: &str = "GCE_METADATA_HOST";
/// gcloud's credentials, below the home directory (<https://google.aip.dev/auth/4113>).
const GCLOUD_FILE: &str = ".config/gcloud/application_default_credentials.json";

const METADATA_HOST: &str = "metadata.google.internal";
const METADATA_PATH: &str = "/computeMetadata/v1/project/project-id";
const METADATA_FLAVOR: &str = "metadata-flavor";
/// The server is next door; where there is none, looking up its name may take long.
const METADATA_TIMEOUT: Duration = Duration::from_secs(3);
/// A project id has at most 30 characters, old ones a domain more.
const METADATA_BYTES_MAX: usize = 1024;

/// Nothing says which project this is.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("no Google Cloud project found ({}); set cloud_trace.project", looked_at.join("; "))]
pub struct AmbientProjectError {
    /// The places in order, each with what was found there.
    pub looked_at: Vec<String>,
}

/// The project of the environment: `GOOGLE_CLOUD_PROJECT`, the one that the application default credentials file
/// belongs to, or the metadata server's, in this order.
///
/// # Errors
/// None of them has one; the error says what was found where.
pub async fn ambient_project() -> Result<String, AmbientProjectError> {
    find(|name| std::env::var(name).ok().filter(|value| !value.is_empty())).await
}

pub(super) async fn find(variable: impl Fn(&str) -> Option<String>) -> Result<String, AmbientProjectError> {
    let mut looked_at = Vec::new();
    match variable(PROJECT_VARIABLE) {
        Some(project) => return Ok(project),
        None => looked_at.push(format!("{PROJECT_VARIABLE} is not set")),
    }
    match variable(CREDENTIALS_VARIABLE)
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(GCLOUD_FILE)))
    {
        Some(path) => match credentials_project(&path) {
            Ok(project) => return Ok(project),
            Err(found) => looked_at.push(format!("{}: {found}", path.display())),
        },
        None => looked_at.push(format!("{CREDENTIALS_VARIABLE} is not set")),
    }
    let host = variable(METADATA_VARIABLE).unwrap_or_else(|| METADATA_HOST.to_owned());
    match tokio::time::timeout(METADATA_TIMEOUT, metadata_project(&host)).await {
        Ok(Ok(project)) => return Ok(project),
        Ok(Err(found)) => looked_at.push(format!("metadata server {host}: {found}")),
        Err(_) => looked_at.push(format!("metadata server {host}: no answer within {METADATA_TIMEOUT:?}")),
    }
    Err(AmbientProjectError { looked_at })
}

/// The project of a credentials file: a service account's own, or the one that a user's calls are charged to.
fn credentials_project(path: &Path) -> Result<String, String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let file: serde_json::Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let field = |name| file.get(name)?.as_str().filter(|value| !value.is_empty()).map(str::to_owned);
    field("project_id").or_else(|| field("quota_project_id")).ok_or_else(|| "names no project".to_owned())
}

async fn metadata_project(host: &str) -> Result<String, String> {
    let response = get(host, METADATA_PATH).await.map_err(|error| crate::google::causes(&*error))?;
    if response.status() != StatusCode::OK {
        return Err(format!("status {}", response.status()));
    }
    // Any other server that answers under this name is none of ours.
    if response.headers().get(METADATA_FLAVOR).is_none_or(|flavor| flavor != "Google") {
        return Err("not a metadata server".to_owned());
    }
    let body = Limited::new(response.into_body(), METADATA_BYTES_MAX).collect().await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    let project = String::from_utf8_lossy(&body).trim().to_owned();
    if project.is_empty() { Err("an empty project id".to_owned()) } else { Ok(project) }
}

/// One GET, plain HTTP/1.1, as the metadata server wants it
/// (<https://cloud.google.com/compute/docs/metadata/querying-metadata>).
async fn get(
    host: &str,
    path: &str,
) -> Result<Response<hyper::body::Incoming>, Box<dyn std::error::Error + Send + Sync>> {
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the response; an error of the connection is the request's too.
    tokio::spawn(connection);
    let request = Request::get(path)
        .header(http::header::HOST, host)
        .header(METADATA_FLAVOR, "Google")
        .body(Empty::<Bytes>::new())?;
    Ok(sender.send_request(request).await?)
}
