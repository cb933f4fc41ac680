//! Advice for the operator on failed calls. It comes from the sink. Only the advice on proxies and TLS is the same for
//! every sink.

use http::StatusCode;

use super::failure::{Failure, Origin};
use super::sink::Sink;

/// Words in error messages of TLS and HTTP/2 that name a fault of the server, each with advice.
const CONNECTION_FAULTS: [(&str, &str); 7] = [
    (
        "CaUsedAsEndEntity",
        "the server shows the certificate of an authority (CA:TRUE) as its own: make one with CA:FALSE, such as by \
         `openssl req -x509 -addext basicConstraints=critical,CA:FALSE`, or one that the authority has signed",
    ),
    ("UnknownIssuer", "name the certificate of the authority that signed the server's in export.tls.ca_file"),
    ("NotValidForName", "export.endpoint must have a name that the server's certificate is made for"),
    ("certificate expired", "renew the server's certificate, or set the clock of this machine"),
    ("not valid yet", "set the clock of this machine, or renew the server's certificate"),
    (
        "frame with invalid size",
        "the server at export.endpoint does not speak gRPC in plaintext: name the port of gRPC, or write https://",
    ),
    ("InvalidContentType", "the endpoint does not speak TLS: write http:// in export.endpoint"),
];

/// Returns advice on `failure`, a failed call to `sink` with spans of `project`. Returns `None` if there is nothing to
/// do.
#[must_use]
pub fn advice<S: Sink>(sink: &S, failure: &Failure, project: &str) -> Option<String> {
    transport(failure)
        .map(str::to_owned)
        .or_else(|| failure.cause().and_then(|cause| sink.advice(cause, S::shown_project(project))))
}

/// Returns advice on a failure that comes from a proxy or from TLS. It is the same for every sink.
pub(super) fn transport(failure: &Failure) -> Option<&'static str> {
    match failure.origin() {
        Origin::Http(status) => Some(http(status)),
        Origin::Connection => {
            let message = failure.status().message();
            CONNECTION_FAULTS.iter().find(|(fault, _)| message.contains(fault)).map(|(_, advice)| *advice)
        }
        Origin::Sink | Origin::Credentials => None,
    }
}

fn http(status: StatusCode) -> &'static str {
    match status.as_u16() {
        413 => {
            "raise the proxy's limit of a request above export.batch.max_bytes (nginx: client_max_body_size, 1 MiB by \
             default), or set export.batch.max_bytes below it"
        }
        401 | 407 => "the proxy in front of the sink asks for other credentials: set them in export.headers",
        403 => "let the proxy in front of the sink pass POST requests of this daemon",
        404 | 405 | 415 => {
            "export.endpoint must be the sink, or a proxy that passes gRPC to it over HTTP/2 (nginx: grpc_pass)"
        }
        429 => "raise the rate limit of the proxy in front of the sink",
        502..=504 => {
            "the proxy does not reach the sink behind it: check that the sink is running; the spans are sent again"
        }
        _ => "see the log of the proxy in front of the sink, and check that export.endpoint accepts gRPC over HTTP/2",
    }
}
