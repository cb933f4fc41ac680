//! What an operator can do about a failure, as far as it has nothing to do with Google: proxies, TLS and servers of any kind.

use http::StatusCode;
use tonic::Code;

use super::failure::{Failure, Origin};

/// What TLS and HTTP/2 call the faults of a server, and what to do about each.
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
        "what answers at export.endpoint does not speak gRPC in plaintext: name the port of gRPC, or write https://",
    ),
    ("InvalidContentType", "the endpoint does not speak TLS: write http:// in export.endpoint"),
];

/// What to do about `failure`, if it comes from a proxy or from TLS, or is about the size of a message.
#[must_use]
pub fn general(failure: &Failure) -> Option<String> {
    match failure.origin() {
        Origin::Http(status) => Some(http(status).to_owned()),
        Origin::Connection => {
            let message = failure.status().message();
            let fault = CONNECTION_FAULTS.iter().find(|(fault, _)| message.contains(fault));
            fault.map(|(_, advice)| (*advice).to_owned())
        }
        Origin::Sink if failure.is_size() => {
            Some("set export.batch.max_bytes below the limit of the sink, or raise that".to_owned())
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
        401 | 407 => "the proxy before the sink asks for other credentials: see export.headers",
        403 => "let the proxy before the sink pass POST requests of this daemon",
        404 | 405 | 415 => {
            "export.endpoint must be the sink, or a proxy that passes gRPC to it over HTTP/2 (nginx: grpc_pass)"
        }
        429 => "raise the rate that the proxy before the sink allows",
        502..=504 => "the proxy does not reach the sink behind it: they are tried again by themselves",
        _ => "see the log of the proxy before the sink, and check export.endpoint: gRPC over HTTP/2 is spoken to it",
    }
}

/// What to do about `code`, said by a sink of any kind.
#[must_use]
pub fn any_server(code: Code) -> Option<String> {
    let advice = match code {
        Code::PermissionDenied => "let the sink accept what the daemon writes: its access rules, or export.headers",
        Code::Unauthenticated => "give the sink the credentials that it asks for in export.headers",
        Code::NotFound => "check export.endpoint, and the tenant in export.headers",
        Code::FailedPrecondition => "see the log of the sink: it is not ready for spans",
        Code::Unimplemented => {
            "check export.endpoint and export.api: what answers there knows no such call (OTLP over gRPC is on port \
             4317 as a rule)"
        }
        Code::ResourceExhausted => "raise the limits of the sink, or keep fewer traces",
        _ => return None,
    };
    Some(advice.to_owned())
}
