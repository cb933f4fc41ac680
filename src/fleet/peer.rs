//! The client of the instance that takes undecided traces: OTLP over gRPC.

use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use thiserror::Error;
use tonic::Status;

use super::settings::Handoff;
use crate::export::channel::{Channel, ChannelError, ChannelSettings};
use crate::export::failure::Failure;
use crate::export::retry::{self, Action};
use crate::forward::client::{EXPORT, partial_success};
use crate::google::environment;
use crate::google::metadata::MetadataServer;

/// The longest duration of a call. It is shorter than a stop, so that a connection that hangs leaves time for another.
const CALL_DEADLINE: Duration = Duration::from_secs(2);

/// The reason why the other instance did not take a request, or may not have taken it.
#[derive(Clone, Debug, Error)]
pub enum PeerError {
    /// The call failed.
    #[error("{}", .0.status())]
    Call(Failure),
    /// It took the request without some of its spans (`partial_success`).
    #[error("it rejected {rejected_spans} spans: {message}")]
    Rejected {
        /// The number of spans.
        rejected_spans: u32,
        /// The reason that it gave.
        message: String,
    },
    /// There is no ID token.
    #[error("no ID token from the metadata server: {0}")]
    NoIdToken(String),
}

impl PeerError {
    /// Returns the error of a call without an answer by the end of the time for handing over.
    #[must_use]
    pub fn late() -> Self {
        PeerError::Call(Failure::connection(Status::deadline_exceeded("no answer in the time of the stop")))
    }

    /// Returns true if the same request may be taken a moment later: the load balancer may choose another instance.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            PeerError::Call(failure) => {
                matches!(retry::action(failure, retry::usual), Action::Retry | Action::SlowDown)
            }
            PeerError::Rejected { .. } | PeerError::NoIdToken(_) => false,
        }
    }
}

/// The instance that takes undecided traces.
#[derive(Debug)]
pub struct Peer {
    endpoint: String,
    channel: Channel,
    id_token: bool,
}

impl Peer {
    /// Opens a client; it connects at the first call. Needs a tokio runtime.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn open(settings: &Handoff) -> Result<Self, ChannelError> {
        let channel = Channel::open(ChannelSettings {
            ca_pem: settings.tls.ca_pem.clone(),
            headers: settings.headers.clone(),
            ..ChannelSettings::plain(&settings.endpoint, CALL_DEADLINE)
        })?;
        Ok(Peer { endpoint: settings.endpoint.clone(), channel, id_token: settings.id_token })
    }

    /// Returns the address, for people.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns the headers that authenticate the calls of a stop.
    ///
    /// # Errors
    /// [`PeerError::NoIdToken`].
    pub async fn sign_in(&self) -> Result<HeaderMap, PeerError> {
        let mut headers = HeaderMap::new();
        if self.id_token {
            let server = MetadataServer::of_environment(&environment);
            let token = server.id_token(&self.endpoint).await.map_err(|error| PeerError::NoIdToken(error.found))?;
            let value = HeaderValue::try_from(format!("Bearer {token}"));
            let mut value = value.map_err(|_| PeerError::NoIdToken("not a token".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }

    /// Sends an `ExportTraceServiceRequest`. Returns once the other instance has taken all of its spans.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn send(&self, headers: HeaderMap, request: Bytes) -> Result<(), PeerError> {
        let answer = self.channel.unary(EXPORT, headers, request).await.map_err(PeerError::Call)?;
        let written = partial_success(&answer);
        if written.rejected_spans > 0 {
            return Err(PeerError::Rejected { rejected_spans: written.rejected_spans, message: written.message });
        }
        Ok(())
    }
}
