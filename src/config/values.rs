//! Readers of values that belong to one section.

use http::{HeaderName, HeaderValue};

use super::Files;
use super::limits::{HEADER_BYTES_MAX, PROJECT_BYTES_MAX};
use super::settings::Endpoint;
use crate::settings::diagnostic::{SettingError, quote};
use crate::settings::node::{Node, NodeValue, ScalarNode};
use crate::settings::suggest::did_you_mean;
pub(super) use crate::settings::values::*;
use crate::trust::pem::{self, PemError};

/// A Google Cloud project id or number
/// (cloud.google.com/resource-manager/docs/creating-managing-projects; ids of a domain carry `.` and `:`).
pub(super) fn project(node: &Node) -> Read<String> {
    let project = name(node, "a project", PROJECT_BYTES_MAX)?;
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | ':');
    if project.chars().all(legal) {
        return Ok(project);
    }
    let fault = SettingError::new(format!("{} is no project id", quote(&project)));
    Err(fault.help("write the id such as `my-project-123`, or the number: lower case, without `projects/`"))
}

/// Stands for every project.
pub(super) const ANY_PROJECT: &str = "*";

/// A project, or [`ANY_PROJECT`].
pub(super) fn allowed_project(node: &Node) -> Read<String> {
    if text("a project", node)? == ANY_PROJECT { Ok(ANY_PROJECT.to_owned()) } else { project(node) }
}

/// The name of a host, without a port.
pub(super) fn host_name(node: &Node) -> Read<String> {
    let host = text("a host", node)?;
    let fault = || SettingError::new(format!("{} is not the name of a host", quote(host)));
    match host.rsplit_once(':') {
        Some((host, port)) if is_host(host) && is_port(port) => {
            Err(fault().help(format!("leave the port out: `{host}`")))
        }
        None if is_host(host) => Ok(host.to_owned()),
        _ => Err(fault().help("write it as it stands in the address of the page, such as `traces.internal`")),
    }
}

/// Whether both addresses cannot be listened on at once.
pub(super) fn collide(a: &str, b: &str) -> bool {
    let (Some((a_host, a_port)), Some((b_host, b_port))) = (a.rsplit_once(':'), b.rsplit_once(':')) else {
        return false;
    };
    let any = ["0.0.0.0", "[::]"];
    a_port == b_port && a_port != "0" && (a_host == b_host || any.contains(&a_host) || any.contains(&b_host))
}

/// `embedded`, `https://host[:port]` or `http://host:port`.
pub(super) fn endpoint(node: &Node) -> Read<Endpoint> {
    let url = text("an endpoint", node)?;
    let is_address = |rest: &str| rest.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && is_port(port));
    let fault = || SettingError::new(format!("{} is no endpoint", quote(url)));
    if url == "embedded" {
        return Ok(Endpoint::Embedded);
    }
    if let Some(rest) = url.strip_prefix("https://") {
        return if is_host(rest) || is_address(rest) {
            Ok(Endpoint::Tls(url.to_owned()))
        } else {
            Err(fault().help("write `https://host` or `https://host:port`, without a path"))
        };
    }
    if let Some(rest) = url.strip_prefix("http://") {
        if rest.split(['/', ':']).next().is_some_and(|host| host.ends_with(".googleapis.com")) {
            let host = rest.split(['/', ':']).next().unwrap_or_default();
            return Err(fault().help(format!("Google's APIs want TLS: write `https://{host}`")));
        }
        return if is_address(rest) {
            Ok(Endpoint::Plaintext(url.to_owned()))
        } else {
            Err(fault().help("write `http://host:port`, without a path"))
        };
    }
    Err(match did_you_mean(url, std::iter::once("embedded")) {
        Some(help) => fault().help(help),
        None => fault().help("write `embedded`, `https://cloudtrace.googleapis.com` or `http://host:port`"),
    })
}

/// Headers that the protocol sets itself, besides those that begin with `grpc-` (gRPC over HTTP/2, "Requests", and RFC
/// 9113, 8.2.2).
const PROTOCOL_HEADERS: [&str; 10] = [
    "connection",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// The name of a header that may be set.
pub(super) fn header_name(name: &str) -> Read<HeaderName> {
    let no_name =
        |_| SettingError::new(format!("{} is no header name", quote(name))).help("letters, digits, `-` and `_`");
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(no_name)?;
    if PROTOCOL_HEADERS.contains(&header.as_str()) || header.as_str().starts_with("grpc-") {
        return Err(SettingError::new(format!("the header {} is the protocol's own", quote(name))).help("remove it"));
    }
    Ok(header)
}

/// The value of a header, which may be a secret: no fault repeats it.
pub(super) fn header_value(node: &Node) -> Read<HeaderValue> {
    let NodeValue::Scalar(ScalarNode { text, .. }) = &node.value else {
        return Err(expected("a header's value", node));
    };
    if text.is_empty() || text.len() > HEADER_BYTES_MAX {
        return Err(SettingError::new(format!("a header's value has from 1 to {HEADER_BYTES_MAX} bytes")));
    }
    let not_ascii =
        || SettingError::new("a header's value must be printable ASCII").help("without a line break at its end");
    // gRPC over HTTP/2, "ASCII-Value".
    let is_ascii = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let mut value = HeaderValue::from_str(text).ok().filter(|_| is_ascii).ok_or_else(not_ascii)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The path of a file with certificates: its text, all of them found to be usable.
pub(super) fn certificates(node: &Node, files: Files<'_>) -> Read<String> {
    let (path, bytes) = file(node, files, PEM_FILE)?;
    pem::authorities(&bytes).map_err(|error| file_fault(&path, &error))?;
    String::from_utf8(bytes).map_err(|_| file_fault(&path, &PemError::NoCertificate))
}
