//! The metadata server: facts about a machine of Google Cloud
//! (<https://cloud.google.com/compute/docs/metadata/querying-metadata>).
//!
//! The client stands on hyper, not on `reqwest`: whether a query is worth repeating depends on the step that failed (the
//! name, the connection, the answer), which `reqwest` does not tell apart, and a plain HTTP query needs no TLS set up.

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
/// The time limit for an answer. The server is on this machine's own link. On a machine without one, looking up its
/// name may take long.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The most bytes of a value. An ID token has one to two thousand; a project id or an e-mail address has less than 200.
const BODY_BYTES_MAX: usize = 8 << 10;

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

/// The result of a query without a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    /// The reason, in words.
    pub found: String,
    /// True if the result may change soon, because the server is there or is about to start.
    pub may_pass: bool,
}

impl QueryError {
    fn lasting(found: impl Into<String>) -> Self {
        QueryError { found: found.into(), may_pass: false }
    }

    fn passing(found: impl Into<String>) -> Self {
        QueryError { found: found.into(), may_pass: true }
    }
}

impl MetadataServer {
    /// Returns the metadata server that `GCE_METADATA_HOST` names, or the usual one.
    pub fn of_environment(variables: Variables<'_>) -> Self {
        let host = variables(HOST_VARIABLE).filter(|host| !host.is_empty());
        MetadataServer { host: host.unwrap_or_else(|| HOST.to_owned()) }
    }

    /// Returns the id of the project that this machine belongs to.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn project(&self) -> Result<String, QueryError> {
        self.text("/computeMetadata/v1/project/project-id").await
    }

    /// Returns the e-mail address of the service account that this machine runs as.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn account(&self) -> Result<String, QueryError> {
        self.text("/computeMetadata/v1/instance/service-accounts/default/email").await
    }

    /// Returns the region of a Cloud Run instance: `projects/{number}/regions/{region}`.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn region(&self) -> Result<String, QueryError> {
        self.text("/computeMetadata/v1/instance/region").await
    }

    /// Returns the zone of a virtual machine: `projects/{number}/zones/{zone}`.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn zone(&self) -> Result<String, QueryError> {
        self.text("/computeMetadata/v1/instance/zone").await
    }

    /// Returns an ID token of the service account that this machine runs as, for `audience`
    /// (<https://cloud.google.com/run/docs/authenticating/service-to-service#use_the_metadata_server>).
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn id_token(&self, audience: &str) -> Result<String, QueryError> {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("audience", audience).finish();
        self.text(&format!("/computeMetadata/v1/instance/service-accounts/default/identity?{query}&format=full")).await
    }

    async fn text(&self, path: &str) -> Result<String, QueryError> {
        let answer = tokio::time::timeout(TIMEOUT, self.get(path)).await;
        let response = answer.unwrap_or_else(|_| Err(QueryError::passing(format!("no answer within {TIMEOUT:?}"))))?;
        let status = response.status();
        if status != StatusCode::OK {
            let may_pass = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            return Err(QueryError { found: format!("status {status}"), may_pass });
        }
        // Another server may answer under this name.
        if response.headers().get(FLAVOR).is_none_or(|flavor| flavor != "Google") {
            return Err(QueryError::lasting("not a metadata server"));
        }
        let text = String::from_utf8_lossy(response.body()).trim().to_owned();
        if text.is_empty() { Err(QueryError::lasting("an empty answer")) } else { Ok(text) }
    }

    /// Makes one GET request, in plain HTTP/1.1. Never uses a proxy, because the server is on this machine's own link.
    async fn get(&self, path: &str) -> Result<Response<Bytes>, QueryError> {
        let address = if self.host.contains(':') { self.host.clone() } else { format!("{}:80", self.host) };
        // Without this name, the machine does not belong to Google Cloud.
        let mut addresses = lookup_host(address).await.map_err(|error| QueryError::lasting(error.to_string()))?;
        let address = addresses.next().ok_or_else(|| QueryError::lasting("the name has no address"))?;
        let stream = TcpStream::connect(address).await.map_err(|error| QueryError::passing(error.to_string()))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| QueryError::passing(causes(&error)))?;
        // The task ends with the response. An error of the connection also fails the request.
        tokio::spawn(connection);
        let request = Request::get(path)
            .header(http::header::HOST, &self.host)
            .header(FLAVOR, "Google")
            .body(Empty::<Bytes>::new())
            .map_err(|error| QueryError::lasting(causes(&error)))?;
        let response = sender.send_request(request).await.map_err(|error| QueryError::passing(causes(&error)))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
        Ok(Response::from_parts(parts, body.map_err(|error| QueryError::lasting(causes(&*error)))?.to_bytes()))
    }
}
