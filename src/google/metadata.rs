//! The metadata server: what a machine of Google Cloud knows about itself
//! (<https://cloud.google.com/compute/docs/metadata/querying-metadata>).

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};

use super::{Variables, causes};

const HOST_VARIABLE: &str = "GCE_METADATA_HOST";
const HOST: &str = "metadata.google.internal";
const FLAVOR: &str = "metadata-flavor";
/// The server is next door; where there is none, looking up its name may take long.
const TIMEOUT: Duration = Duration::from_secs(3);
/// A project id has at most 30 characters (old ones a domain more), an account's e-mail address less than 200.
const BODY_BYTES_MAX: usize = 1024;

/// The metadata server of this machine.
#[derive(Clone, Debug)]
pub struct MetadataServer {
    host: String,
}

impl fmt::Display for MetadataServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metadata server {}", self.host)
    }
}

/// What was found instead of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In words.
    pub found: String,
    /// It may be different in a moment: the server is there, or is about to be.
    pub may_pass: bool,
}

impl Failure {
    fn lasting(found: impl Into<String>) -> Self {
        Failure { found: found.into(), may_pass: false }
    }

    fn passing(found: impl Into<String>) -> Self {
        Failure { found: found.into(), may_pass: true }
    }
}

impl MetadataServer {
    /// The usual one, or that of `GCE_METADATA_HOST`.
    pub fn of_environment(variables: Variables<'_>) -> Self {
        let host = variables(HOST_VARIABLE).filter(|host| !host.is_empty());
        MetadataServer { host: host.unwrap_or_else(|| HOST.to_owned()) }
    }

    /// The id of the project that this machine belongs to.
    ///
    /// # Errors
    /// What was found instead.
    pub async fn project(&self) -> Result<String, Failure> {
        self.text("/computeMetadata/v1/project/project-id").await
    }

    /// The e-mail address of the service account that this machine runs as.
    ///
    /// # Errors
    /// What was found instead.
    pub async fn account(&self) -> Result<String, Failure> {
        self.text("/computeMetadata/v1/instance/service-accounts/default/email").await
    }

    /// The region of a Cloud Run instance: `projects/{number}/regions/{region}`.
    ///
    /// # Errors
    /// What was found instead.
    pub async fn region(&self) -> Result<String, Failure> {
        self.text("/computeMetadata/v1/instance/region").await
    }

    /// The zone of a virtual machine: `projects/{number}/zones/{zone}`.
    ///
    /// # Errors
    /// What was found instead.
    pub async fn zone(&self) -> Result<String, Failure> {
        self.text("/computeMetadata/v1/instance/zone").await
    }

    async fn text(&self, path: &str) -> Result<String, Failure> {
        let answer = tokio::time::timeout(TIMEOUT, self.get(path)).await;
        let response = answer.unwrap_or_else(|_| Err(Failure::passing(format!("no answer within {TIMEOUT:?}"))))?;
        let status = response.status();
        if status != StatusCode::OK {
            let may_pass = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            return Err(Failure { found: format!("status {status}"), may_pass });
        }
        // Any other server that answers under this name is none of ours.
        if response.headers().get(FLAVOR).is_none_or(|flavor| flavor != "Google") {
            return Err(Failure::lasting("not a metadata server"));
        }
        let text = String::from_utf8_lossy(response.body()).trim().to_owned();
        if text.is_empty() { Err(Failure::lasting("an empty answer")) } else { Ok(text) }
    }

    /// One GET, plain HTTP/1.1. Never through a proxy: the server is on this machine's own link.
    async fn get(&self, path: &str) -> Result<Response<Bytes>, Failure> {
        let address = if self.host.contains(':') { self.host.clone() } else { format!("{}:80", self.host) };
        // Without the name this is no machine of Google Cloud.
        let mut addresses = lookup_host(address).await.map_err(|error| Failure::lasting(error.to_string()))?;
        let address = addresses.next().ok_or_else(|| Failure::lasting("the name has no address"))?;
        let stream = TcpStream::connect(address).await.map_err(|error| Failure::passing(error.to_string()))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| Failure::passing(causes(&error)))?;
        // It ends with the response; an error of the connection is the request's too.
        tokio::spawn(connection);
        let request = Request::get(path)
            .header(http::header::HOST, &self.host)
            .header(FLAVOR, "Google")
            .body(Empty::<Bytes>::new())
            .map_err(|error| Failure::lasting(causes(&error)))?;
        let response = sender.send_request(request).await.map_err(|error| Failure::passing(causes(&error)))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
        Ok(Response::from_parts(parts, body.map_err(|error| Failure::lasting(causes(&*error)))?.to_bytes()))
    }
}
