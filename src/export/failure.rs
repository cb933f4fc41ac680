//! Failed calls: the failure, and the party that it comes from.
//!
//! Invariant: only the sink itself can refuse spans. A failure of a proxy, of a connection, of the token server or of
//! the client in this process says nothing about the spans.

use std::fmt;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::sink::cut;
use crate::telemetry::metrics::code_label;

/// The header in which a server asks the client to wait (RFC 9110, 10.2.3). The metadata of a status has the wait in
/// seconds.
pub(super) const RETRY_AFTER: &str = "retry-after";

/// Parts of error messages about a message over the size limit, in lower case, from grpc-go and gRPC core, grpc-java,
/// .NET, tonic, Google's front end and Spansieve. According to OTLP
/// (<https://opentelemetry.io/docs/specs/otlp/#failures>), a client recognises a used-up quota by its `RetryInfo`, but
/// not every server sends one.
const SIZE_COMPLAINTS: [&str; 7] = [
    "larger than max",
    "exceeds maximum size",
    "maximum configured message size",
    "message length too large",
    "payload size exceeds",
    "message too large",
    "the request is larger than",
];

/// The party that a failure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The sink. It answered with a gRPC status.
    Sink,
    /// A server that does not speak gRPC, such as a proxy in front of the sink. It answered with this HTTP status.
    Http(StatusCode),
    /// The server that issues access tokens.
    Credentials,
    /// The connection to the sink: it failed, the deadline passed, the answer was incomplete, or the client itself
    /// failed.
    Connection,
}

/// The cause of a failure, as far as the advice of a sink depends on it ([`super::sink::Sink::advice`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The sink answered with this code.
    Answer(Code),
    /// The message is over the size limit of the sink.
    TooLarge,
    /// No access token is available. UNAUTHENTICATED means that there will be none until something is changed.
    NoToken(Code),
    /// No answer came within the deadline of the call.
    Late,
    /// The connection cannot be established, or it broke.
    Unreachable,
}

/// A call that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    origin: Origin,
    status: Status,
}

impl Failure {
    /// Returns the failure of a call that the sink answered with `status`.
    #[must_use]
    pub fn sink(status: Status) -> Self {
        Failure { origin: Origin::Sink, status }
    }

    /// Returns the failure of a call without an access token. `status` has the reason.
    #[must_use]
    pub fn credentials(status: Status) -> Self {
        Failure { origin: Origin::Credentials, status }
    }

    /// Returns the failure of a call that got no answer. `status` has the reason.
    #[must_use]
    pub fn connection(status: Status) -> Self {
        Failure { origin: Origin::Connection, status }
    }

    /// Returns the failure of a call whose answer is not gRPC. The code comes from gRPC's own table
    /// (<https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>).
    #[must_use]
    pub fn http(status: StatusCode, headers: &HeaderMap) -> Self {
        let code = match status.as_u16() {
            400 => Code::Internal,
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::Unimplemented,
            429 | 502..=504 => Code::Unavailable,
            _ => Code::Unknown,
        };
        let server = headers.get(header::SERVER).and_then(|server| server.to_str().ok());
        let server = server.map_or_else(String::new, |server| format!(" (server: {server})"));
        let message = format!("HTTP {status}{server}, an answer that is not gRPC");
        Failure { origin: Origin::Http(status), status: Status::with_metadata(code, message, wait_of(headers)) }
    }

    /// Returns the party that the failure comes from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Returns the gRPC status of the failure. For an answer that is not gRPC, it is the equivalent one.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Returns the code of [`Failure::status`].
    #[must_use]
    pub fn code(&self) -> Code {
        self.status.code()
    }

    /// Returns the cause of the failure, or `None` if a server in front of the sink answered in its place.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self.origin {
            Origin::Http(_) => None,
            Origin::Sink if self.is_size() => Some(Cause::TooLarge),
            Origin::Sink => Some(Cause::Answer(self.code())),
            Origin::Credentials => Some(Cause::NoToken(self.code())),
            Origin::Connection if self.code() == Code::DeadlineExceeded => Some(Cause::Late),
            Origin::Connection => Some(Cause::Unreachable),
        }
    }

    /// Returns true if the message is over the size limit of the sink or of a proxy. Only smaller messages can succeed
    /// then.
    #[must_use]
    pub fn is_size(&self) -> bool {
        match self.origin {
            Origin::Http(status) => status == StatusCode::PAYLOAD_TOO_LARGE,
            Origin::Sink => {
                let codes = [Code::ResourceExhausted, Code::OutOfRange, Code::InvalidArgument];
                let message = self.status.message().to_ascii_lowercase();
                codes.contains(&self.code()) && SIZE_COMPLAINTS.iter().any(|complaint| message.contains(complaint))
            }
            Origin::Credentials | Origin::Connection => false,
        }
    }
}

/// A status without further knowledge counts as the answer of the sink.
impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Failure::sink(status)
    }
}

/// Displays the code and the reason, cut to the length of a log line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", code_label(self.code()), cut(self.status.message()))
    }
}

/// Returns the metadata for a status: only the wait that the server asked for.
pub(super) fn wait_of(headers: &HeaderMap) -> MetadataMap {
    let wait = wait_s(headers).map(|wait| (header::RETRY_AFTER, HeaderValue::from(wait)));
    MetadataMap::from_headers(wait.into_iter().collect())
}

/// Returns the seconds of `Retry-After`. If the header has a time, the wait is counted from the `Date` of the answer.
/// Both come from the server's clock, which may differ from the clock of this machine.
fn wait_s(headers: &HeaderMap) -> Option<u64> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let wait = text(header::RETRY_AFTER)?;
    let until = || {
        let [at, now] = [wait, text(header::DATE)?].map(httpdate::parse_http_date);
        Some(at.ok()?.duration_since(now.ok()?).ok()?.as_secs())
    };
    wait.parse().ok().or_else(until)
}

#[cfg(test)]
mod tests;
