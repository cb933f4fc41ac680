//! Every way to refuse a whole request, with what each protocol says of it.

use std::ops::Range;
use std::time::Duration;

use http::{Method, StatusCode};
use thiserror::Error;
use tonic::Code;

use super::AcceptError;
use super::auth::Denial;
use super::heads::{FIELDS_MAX, HEAD_BYTES_MAX};
use super::inflate::InflateError;
use super::signals::Signal;
use crate::journal::AppendError;
use crate::otlp::json::JsonError;
use crate::otlp::wire::WireError;

/// When to come back after a refusal that passes: long enough for a decision round to free memory, and shorter than
/// any exporter's patience (10 s by default). At random within it, lest all come back at once.
const RETRY_AFTER_MS: Range<u64> = 1000..2000;

/// From the head of a request to the end of its body. Three times the default timeout of OTLP exporters: who needs
/// longer has gone away, and must not hold memory meanwhile.
pub(super) const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// How long a body may take however little of it comes: the default timeout of OTLP exporters, and longer than TCP
/// needs to recover from lost packets.
pub(super) const BODY_GRACE: Duration = Duration::from_secs(10);

/// Each so many bytes of a body give it a second more: a tenth of a slow line. Slower ones only hold memory.
pub(super) const BODY_BYTES_PER_SECOND_MIN: u64 = 64 << 10;

/// Why a request was refused as a whole; the text is what the sender reads.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    #[error("the request is larger than {limit} bytes (otlp.max_request_bytes)")]
    TooLarge { limit: usize },
    #[error("the memory budget is used up; retry later")]
    NoRoom,
    #[error("{0}")]
    NeverFits(AcceptError),
    #[error("spansieve is overloaded; retry later")]
    Overloaded,
    #[error("a request has at most {FIELDS_MAX} header fields, of {HEAD_BYTES_MAX} bytes together")]
    Fields,
    #[error("the request did not come in time")]
    Late,
    #[error("{0}; retry later")]
    Journal(#[from] AppendError),
    #[error("spansieve is stopping; retry")]
    Stopping,
    #[error("{0}")]
    Denied(#[from] Denial),
    #[error(
        "the request body came too slowly: {} s, and one more for each {BODY_BYTES_PER_SECOND_MIN} bytes, up to {} s",
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
    #[error("a Compressed-Flag of {0}")]
    Flag(u8),
    #[error("a unary call has exactly one message")]
    Cardinality,
    #[error("only traces are taken here, no {}; {}", .0.name(), .0.remedy())]
    Signal(Signal),
    #[error("there is no method {0:?}; traces go to opentelemetry.proto.collector.trace.v1.TraceService/Export")]
    Procedure(String),
    #[error("there is nothing at {0:?}; traces go to POST /v1/traces")]
    Path(String),
    #[error("this is not the address for it: {0}")]
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
    /// The status of an HTTP answer (OTLP specification, OTLP/HTTP Response; RFC 9110, 15.5).
    pub(super) fn http_status(&self) -> StatusCode {
        match self {
            Refusal::TooLarge { .. } | Refusal::NeverFits(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::NoRoom | Refusal::Overloaded | Refusal::Journal(AppendError::Full | AppendError::Slow) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Refusal::Stopping | Refusal::Journal(AppendError::Disk) => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Denied(denial) => denial.statuses().0,
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

    /// The status of a gRPC answer. Sources: OTLP specification, OTLP/gRPC Failures (what is bad data and what may
    /// be retried); gRPC `doc/statuscodes.md` (size, cardinality, decompression, unknown methods) and
    /// `doc/compression.md` (unknown codings, a flag without a coding).
    pub(super) fn code(&self) -> Code {
        match self {
            Refusal::TooLarge { .. }
            | Refusal::Fields
            | Refusal::NeverFits(_)
            | Refusal::NoRoom
            | Refusal::Overloaded
            | Refusal::Journal(AppendError::Full | AppendError::Slow) => Code::ResourceExhausted,
            Refusal::Stopping | Refusal::Journal(AppendError::Disk) => Code::Unavailable,
            Refusal::Denied(denial) => denial.statuses().1,
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

    /// When to retry, if that can help. `RESOURCE_EXHAUSTED` without it is final (OTLP specification, Failures).
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let retryable = matches!(
            self,
            Refusal::NoRoom
                | Refusal::Overloaded
                | Refusal::Stopping
                | Refusal::Journal(_)
                | Refusal::Denied(Denial::NoKeys)
        );
        retryable.then(|| Duration::from_millis(fastrand::u64(RETRY_AFTER_MS)))
    }

    /// The metric label `outcome`.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Refusal::TooLarge { .. } | Refusal::NeverFits(_) => "too_large",
            Refusal::NoRoom => "busy",
            Refusal::Overloaded => "overloaded",
            Refusal::Journal(_) => "journal",
            Refusal::Stopping => "stopping",
            Refusal::Denied(_) => "denied",
            Refusal::Slow | Refusal::Late => "timeout",
            Refusal::Coding(..) | Refusal::MediaType(_) | Refusal::MessageFormat(_) => "unsupported",
            _ => "invalid",
        }
    }
}

/// Refuses any method but `allowed`, which `allow` lists.
pub(super) fn check_method(method: &Method, allowed: &[Method], allow: &'static str) -> Result<(), Refusal> {
    if allowed.contains(method) { Ok(()) } else { Err(Refusal::Method { allow }) }
}

/// What of a sender's text is quoted back.
const QUOTE_CHARS_MAX: usize = 100;

/// The start of `text`, for a refusal that names it.
pub(super) fn quote(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().take(QUOTE_CHARS_MAX).collect()
}
