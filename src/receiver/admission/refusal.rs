//! All ways to refuse a whole request, each with its answer in both protocols.

use std::ops::Range;
use std::time::Duration;

use http::{Method, StatusCode};
use thiserror::Error;
use tonic::Code;

use super::auth::AccessError;
use super::heads::{FIELDS_MAX, HEAD_BYTES_MAX};
use crate::journal::JournalError;
use crate::otlp::json::JsonError;
use crate::otlp::wire::WireError;
use crate::receiver::AcceptError;
use crate::receiver::body::inflate::InflateError;
use crate::receiver::protocol::signals::Signal;
use crate::settings::diagnostic::printable_start;
use crate::telemetry::metrics::Outcome;

/// Delay that a retryable refusal asks for. It is long enough for a decision round to free memory, and shorter than the
/// timeout of any exporter (10 s by default). It is random, so that senders do not all retry at once.
const RETRY_AFTER_MS: Range<u64> = 1000..2000;

/// Time from the head of a request to the end of its body: three times the default timeout of OTLP exporters. A sender
/// that needs longer has given up, and must not hold memory meanwhile.
pub(super) const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// Time that a body may take even if little of it arrives: the default timeout of OTLP exporters. It is longer than TCP
/// needs to recover from lost packets.
pub(in crate::receiver) const BODY_GRACE: Duration = Duration::from_secs(10);

/// Bytes of a body that extend its time by one second: a tenth of a slow line. A slower body only occupies memory.
pub(super) const BODY_BYTES_PER_SECOND_MIN: u64 = 64 << 10;

/// Reason why a whole request was refused. The text is the message to the sender.
#[derive(Debug, Error)]
pub(in crate::receiver) enum Refusal {
    #[error("the request is larger than {limit} bytes (otlp.max_request_bytes)")]
    TooLarge { limit: usize },
    #[error("the memory budget is used up; retry later")]
    NoRoom,
    #[error("{0}")]
    NeverFits(AcceptError),
    #[error("spansieve is overloaded; retry later")]
    Overloaded,
    #[error("as many clients of this address follow the decisions as may; retry later")]
    Streams,
    #[error("a page of another site may not ask the API; set api.auth")]
    ForeignPage,
    #[error(
        "the host {0:?} is not allowed here: a web page could use it to read the API; call http://localhost or an IP \
         address, or set api.auth"
    )]
    Host(String),
    #[error("a request has at most {FIELDS_MAX} header fields, of {HEAD_BYTES_MAX} bytes together")]
    Fields,
    #[error("the request did not arrive in time")]
    Late,
    #[error("{0}; retry later")]
    Journal(#[from] JournalError),
    #[error("spansieve is stopping; retry")]
    Stopping,
    #[error("{0}")]
    Denied(#[from] AccessError),
    #[error(
        "the request body was too slow: it has {} s, plus 1 s for each {BODY_BYTES_PER_SECOND_MIN} bytes, up to {} s",
        BODY_GRACE.as_secs(),
        BODY_TIME_MAX.as_secs()
    )]
    Slow,
    #[error("the request body is shorter than announced")]
    Truncated,
    #[error("{0}")]
    Inflate(InflateError),
    #[error("not an ExportTraceServiceRequest in protobuf: {0}")]
    Protobuf(WireError),
    #[error("not an ExportTraceServiceRequest in JSON: {0}")]
    Json(#[from] JsonError),
    #[error("the compression {0:?} is not supported; use one of: {1}, identity")]
    Coding(String, &'static str),
    #[error("the content type {0:?} is not supported; use application/x-protobuf or application/json")]
    MediaType(String),
    #[error("the gRPC message format {0:?} is not supported; use application/grpc or application/grpc+proto")]
    MessageFormat(String),
    #[error("the Compressed-Flag is set, but grpc-encoding names no compression")]
    FlagWithoutCoding,
    #[error("a Compressed-Flag of {0} is not valid")]
    Flag(u8),
    #[error("a unary call has exactly one message")]
    Cardinality,
    #[error("only traces are accepted here, not {}; {}", .0.as_str(), .0.remedy())]
    Signal(Signal),
    #[error("there is no method {0:?}; traces go to opentelemetry.proto.collector.trace.v1.TraceService/Export")]
    Procedure(String),
    #[error("there is nothing at {0:?}; traces go to POST /v1/traces")]
    Path(String),
    #[error("this address does not serve it: {0}")]
    Elsewhere(&'static str),
    #[error("this path takes {allow} only; traces go to POST /v1/traces")]
    Method { allow: &'static str },
    #[error("gRPC needs HTTP/2")]
    GrpcOverHttp1,
}

impl From<AcceptError> for Refusal {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Wire(error) => Refusal::Protobuf(error),
            AcceptError::NoRoom => Refusal::NoRoom,
            AcceptError::NeverFits { .. } => Refusal::NeverFits(error),
        }
    }
}

impl Refusal {
    /// Returns the status of an HTTP answer (OTLP specification, OTLP/HTTP Response; RFC 9110, 15.5).
    pub(in crate::receiver) fn http_status(&self) -> StatusCode {
        match self {
            Refusal::TooLarge { .. } | Refusal::NeverFits(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::NoRoom
            | Refusal::Overloaded
            | Refusal::Streams
            | Refusal::Journal(JournalError::Full | JournalError::Slow) => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Stopping | Refusal::Journal(JournalError::Disk) => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Denied(denial) => denial.statuses().0,
            Refusal::ForeignPage | Refusal::Host(_) => StatusCode::FORBIDDEN,
            Refusal::Fields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refusal::Slow | Refusal::Late => StatusCode::REQUEST_TIMEOUT,
            Refusal::Coding(..) | Refusal::MediaType(_) | Refusal::MessageFormat(_) => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Refusal::Signal(_) | Refusal::Procedure(_) | Refusal::Path(_) | Refusal::Elsewhere(_) => {
                StatusCode::NOT_FOUND
            }
            Refusal::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::GrpcOverHttp1 => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Refusal::Truncated
            | Refusal::Inflate(_)
            | Refusal::Protobuf(_)
            | Refusal::Json(_)
            | Refusal::FlagWithoutCoding
            | Refusal::Flag(_)
            | Refusal::Cardinality => StatusCode::BAD_REQUEST,
        }
    }

    /// Returns the status of a gRPC answer. Sources: OTLP specification, OTLP/gRPC Failures (bad data and retries);
    /// gRPC `doc/statuscodes.md` (size, cardinality, decompression, unknown methods) and `doc/compression.md` (unknown
    /// codings, a flag without a coding).
    pub(in crate::receiver) fn code(&self) -> Code {
        match self {
            Refusal::TooLarge { .. }
            | Refusal::Fields
            | Refusal::NeverFits(_)
            | Refusal::NoRoom
            | Refusal::Overloaded
            | Refusal::Streams
            | Refusal::Journal(JournalError::Full | JournalError::Slow) => Code::ResourceExhausted,
            Refusal::Stopping | Refusal::Journal(JournalError::Disk) => Code::Unavailable,
            Refusal::Denied(denial) => denial.statuses().1,
            Refusal::ForeignPage | Refusal::Host(_) => Code::PermissionDenied,
            Refusal::Slow | Refusal::Late => Code::DeadlineExceeded,
            Refusal::Protobuf(_) | Refusal::Json(_) | Refusal::MediaType(_) => Code::InvalidArgument,
            Refusal::Truncated | Refusal::Inflate(_) | Refusal::FlagWithoutCoding | Refusal::Flag(_) => Code::Internal,
            Refusal::Coding(..)
            | Refusal::Cardinality
            | Refusal::MessageFormat(_)
            | Refusal::Signal(_)
            | Refusal::Procedure(_)
            | Refusal::Path(_)
            | Refusal::Elsewhere(_)
            | Refusal::Method { .. }
            | Refusal::GrpcOverHttp1 => Code::Unimplemented,
        }
    }

    /// Returns the delay before a retry. `None` if a retry cannot help. `RESOURCE_EXHAUSTED` without a delay is final
    /// (OTLP specification, Failures).
    pub(in crate::receiver) fn retry_after(&self) -> Option<Duration> {
        let retryable = matches!(
            self,
            Refusal::NoRoom
                | Refusal::Overloaded
                | Refusal::Streams
                | Refusal::Stopping
                | Refusal::Journal(_)
                | Refusal::Denied(AccessError::NoKeys)
        );
        retryable.then(|| Duration::from_millis(fastrand::u64(RETRY_AFTER_MS)))
    }

    /// Returns the outcome as metrics name it.
    pub(in crate::receiver) fn outcome(&self) -> Outcome {
        match self {
            Refusal::TooLarge { .. } | Refusal::NeverFits(_) => Outcome::TooLarge,
            Refusal::NoRoom => Outcome::Busy,
            Refusal::Overloaded | Refusal::Streams => Outcome::Overloaded,
            Refusal::Journal(_) => Outcome::Journal,
            Refusal::Stopping => Outcome::Stopping,
            Refusal::Denied(_) | Refusal::ForeignPage | Refusal::Host(_) => Outcome::Denied,
            Refusal::Slow | Refusal::Late => Outcome::Timeout,
            Refusal::Coding(..) | Refusal::MediaType(_) | Refusal::MessageFormat(_) => Outcome::Unsupported,
            _ => Outcome::Invalid,
        }
    }
}

/// Refuses every method that is not in `allowed`. `allow` is the same list for the answer.
pub(in crate::receiver) fn check_method(
    method: &Method,
    allowed: &[Method],
    allow: &'static str,
) -> Result<(), Refusal> {
    if allowed.contains(method) { Ok(()) } else { Err(Refusal::Method { allow }) }
}

/// Largest number of characters of a sender's text that are quoted in an answer.
pub(crate) const QUOTE_CHARS_MAX: usize = 100;

/// Returns the start of `text`, for a refusal that quotes it.
pub(in crate::receiver) fn quote(text: &[u8]) -> String {
    printable_start(&String::from_utf8_lossy(text), QUOTE_CHARS_MAX)
}
