//! Failed calls: what was said, and by whom.
//!
//! Invariant: only what the sink itself said is a verdict on spans. A proxy, a connection, the place where tokens come
//! from and the client of this process judge no span.

use std::fmt;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::sink::cut;
use crate::telemetry::metrics::code_label;

/// Header of a wait that the server asks for (RFC 9110, 10.2.3). The metadata of a status has it in seconds.
pub(super) const RETRY_AFTER: &str = "retry-after";

/// What servers say of a message over their limit, in lower case: grpc-go and gRPC core, grpc-java, .NET, tonic,
/// Google's front end, Spansieve. OTLP would have the client tell it from a quota by the `RetryInfo` of a quota
/// (<https://opentelemetry.io/docs/specs/otlp/#failures>), but not every server sends one.
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
    /// The sink, by a gRPC status.
    Sink,
    /// A server that does not speak gRPC, such as a proxy before the sink, with this HTTP status.
    Http(StatusCode),
    /// The place where access tokens come from.
    Credentials,
    /// The way there: a connection, a deadline, an answer that broke off, a fault of the client.
    Connection,
}

/// The cause of a failure, as far as the advice for the operator depends on the sink ([`super::sink::Sink::advice`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The sink answered with this code.
    Answer(Code),
    /// The message is over the size limit of the sink.
    TooLarge,
    /// No access token can be obtained. The code is UNAUTHENTICATED if that lasts until something changes.
    NoToken(Code),
    /// No answer came within the deadline of the call.
    Late,
    /// The connection cannot be made, or broke.
    Unreachable,
}

/// A call that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    origin: Origin,
    status: Status,
}

impl Failure {
    /// The sink said `status`.
    #[must_use]
    pub fn sink(status: Status) -> Self {
        Failure { origin: Origin::Sink, status }
    }

    /// There is no token, for the reason in `status`.
    #[must_use]
    pub fn credentials(status: Status) -> Self {
        Failure { origin: Origin::Credentials, status }
    }

    /// No answer came, for the reason in `status`.
    #[must_use]
    pub fn connection(status: Status) -> Self {
        Failure { origin: Origin::Connection, status }
    }

    /// An answer that is not gRPC. Its code is that of gRPC's own table
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

    /// The party that it comes from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The status of gRPC that it has or stands for.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// The code of [`Failure::status`].
    #[must_use]
    pub fn code(&self) -> Code {
        self.status.code()
    }

    /// Returns the cause of the failure; `None` if a server before the sink answered in its place.
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

    /// Whether the message is over a limit of the sink or of a proxy: only smaller messages help.
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

/// What a server says, unless something else is known.
impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Failure::sink(status)
    }
}

/// The code and the reason, cut to what a log line can bear.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", code_label(self.code()), cut(self.status.message()))
    }
}

/// Of the headers of an answer, what a status keeps.
pub(super) fn wait_of(headers: &HeaderMap) -> MetadataMap {
    let wait = wait_s(headers).map(|wait| (header::RETRY_AFTER, HeaderValue::from(wait)));
    MetadataMap::from_headers(wait.into_iter().collect())
}

/// The seconds of `Retry-After`, or from the answer's `Date` to the time that it names: the server has one clock for both,
/// which may differ from that of this machine.
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
