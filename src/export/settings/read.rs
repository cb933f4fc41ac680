//! The parts of the section `export` that depend on each other, and the values that only it has.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Endpoint, Export, ExportApi, ExportTls, PROJECTS};
use crate::resource::settings::AllowedProjects;
use crate::settings::Files;
use crate::settings::diagnostic::{SettingError, quote};
use crate::settings::node::{Node, NodeValue, ScalarNode};
use crate::settings::reader::Section;
use crate::settings::suggest::did_you_mean;
use crate::settings::values::{self, Read};
use crate::trust::pem::{self, PemError};
use spansieve_core::cloud_trace::settings::read_mapping;

/// The project of spans that are written to the embedded Cloud Trace, which has no ambient one.
const EMBEDDED_PROJECT: &str = "local-project";

/// The names of the APIs, and the former one.
pub(super) const API_NAMES: [&str; 4] = ["cloud_trace", "telemetry", "otlp", CLOUD_TRACE_FORMERLY];
const APIS: [(&str, ExportApi); 3] =
    [("cloud_trace", ExportApi::CloudTrace), ("telemetry", ExportApi::Telemetry), ("otlp", ExportApi::Otlp)];
/// The name of the API `cloud_trace` in the first version.
const CLOUD_TRACE_FORMERLY: &str = "v2";
const TELEMETRY_ENDPOINT: &str = "https://telemetry.googleapis.com";
/// The keys that have an effect only with `api: cloud_trace`.
const CLOUD_TRACE_KEYS: [&str; 2] = ["attribute_mapping", "cloud_run_revision"];
/// Bytes of a project id or number: 30 for the id, more for one of a domain.
const PROJECT_BYTES_MAX: usize = 100;
const HEADERS_MAX: usize = 32;
/// Bytes of a header's value. Servers accept some 8 KiB of headers in all.
const HEADER_BYTES_MAX: usize = 4096;

impl Export {
    /// Reads and checks the values that depend on each other.
    pub(super) fn check(&mut self, section: &mut Section<'_>) {
        api(section, &mut self.api);
        endpoint(section, self);
        headers(section, &mut self.headers);
        let allowed = section.list("allowed_projects", &PROJECTS, allowed_project);
        self.allowed_projects = match allowed.iter().any(|project| project == ANY_PROJECT) {
            true => AllowedProjects::Any,
            false => AllowedProjects::Listed(allowed),
        };
        self.check_tls(section);
        read_mapping(section, "attribute_mapping", &mut self.attribute_mapping);
        if let Some((at, _)) = section.entry("destination_project_quota").filter(|_| self.api == ExportApi::Otlp) {
            let fault =
                SettingError::new("`destination_project_quota` has no effect: only Google counts calls by project");
            section.warn(at, fault.help("leave it out, or write `api: cloud_trace` or `api: telemetry`"));
        }
        if self.endpoint == Endpoint::Embedded {
            self.project.get_or_insert_with(|| EMBEDDED_PROJECT.to_owned());
        }
    }

    fn check_tls(&self, section: &mut Section<'_>) {
        let at = section.entry("tls").and_then(|(_, node)| node.position_of("ca_file"));
        if let (Some(_), false, Some(at)) = (&self.tls.ca_pem, matches!(self.endpoint, Endpoint::Tls(_)), at) {
            let fault = SettingError::new("`ca_file` has no effect: the endpoint has no TLS");
            section.warn(at, fault.help("leave it out, or write an endpoint that begins with `https://`"));
        }
    }
}

impl ExportTls {
    /// Reads the file of certificates.
    pub(super) fn read_file(&mut self, section: &mut Section<'_>) {
        let files = section.files();
        // Empty means none, so that `${env:CA_FILE:-}` can be written.
        section.set("ca_file", &mut self.ca_pem, |node| {
            if node.is_null() { Ok(None) } else { certificates(node, files).map(Some) }
        });
    }
}

fn api(section: &mut Section<'_>, api: &mut ExportApi) {
    match section.entry("api") {
        Some((_, node)) if node.is_text(CLOUD_TRACE_FORMERLY) => {
            *api = ExportApi::CloudTrace;
            let fault = SettingError::new("the API `v2` is now called `cloud_trace`");
            section.warn(node.at, fault.help("write `api: cloud_trace`; the old name is still taken"));
        }
        _ => section.set("api", api, |node| values::choice(node, "API", &APIS)),
    }
}

fn endpoint(section: &mut Section<'_>, export: &mut Export) {
    let api = export.api;
    if api == ExportApi::Telemetry {
        export.endpoint = Endpoint::Tls(TELEMETRY_ENDPOINT.to_owned());
    }
    section.set("endpoint", &mut export.endpoint, endpoint_url);
    match section.entry("endpoint") {
        Some((_, node)) if export.endpoint == Endpoint::Embedded && api != ExportApi::CloudTrace => {
            let fault = SettingError::new("the embedded Cloud Trace takes no OTLP");
            section.error(node.at, fault.help("leave `api` out, or name an endpoint that takes OTLP over gRPC"));
        }
        None if api == ExportApi::Otlp && !section.has("endpoint") => {
            let at = section.entry("api").map_or(section.at(), |(at, _)| at);
            let fault = SettingError::new("`api: otlp` has no endpoint of its own");
            section.error(at, fault.help("add `endpoint: http://host:port` or `endpoint: https://host[:port]`"));
        }
        _ => {}
    }
    for key in CLOUD_TRACE_KEYS.into_iter().filter(|_| api != ExportApi::CloudTrace) {
        if let Some((at, _)) = section.entry(key) {
            let fault = SettingError::new(format!("`{key}` has no effect: OTLP carries attributes as they are"));
            section.warn(at, fault.help("leave it out, or write `api: cloud_trace`"));
        }
    }
}

/// Reads the headers of calls.
pub(crate) fn headers(section: &mut Section<'_>, headers: &mut HeaderMap) {
    for (key, node) in section.own_entries("headers").iter().filter(|(_, node)| !node.has_broken()) {
        let header = header_name(&key.name).map_err(|fault| (key.at, fault)).and_then(|name| {
            if headers.contains_key(&name) {
                return Err((key.at, SettingError::new(format!("the header {} is given twice", quote(&key.name)))));
            }
            header_value(node).map(|value| (name, value)).map_err(|fault| (node.at, fault))
        });
        match header {
            Ok((name, value)) => _ = headers.insert(name, value),
            Err((at, fault)) => section.error(at, fault),
        }
    }
    if let Some((at, _)) = section.entry("headers").filter(|_| headers.len() > HEADERS_MAX) {
        let fault = SettingError::new(format!("{} headers", headers.len()));
        section.error(at, fault.help(format!("at most {HEADERS_MAX}: each call carries all of them")));
    }
}

/// Reads a Google Cloud project id or number
/// (cloud.google.com/resource-manager/docs/creating-managing-projects; ids of a domain carry `.` and `:`).
pub(super) fn project(node: &Node) -> Read<String> {
    let project = values::name(node, "a project", PROJECT_BYTES_MAX)?;
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | ':');
    if project.chars().all(legal) {
        return Ok(project);
    }
    let fault = SettingError::new(format!("{} is not a valid project id", quote(&project)));
    Err(fault.help("write the id such as `my-project-123`, or the number: lower case, without `projects/`"))
}

/// Stands for every project in `allowed_projects`.
const ANY_PROJECT: &str = "*";

/// Reads a project, or [`ANY_PROJECT`].
fn allowed_project(node: &Node) -> Read<String> {
    if values::text("a project", node)? == ANY_PROJECT { Ok(ANY_PROJECT.to_owned()) } else { project(node) }
}

/// Reads `embedded`, `https://host[:port]` or `http://host:port`.
pub(crate) fn endpoint_url(node: &Node) -> Read<Endpoint> {
    let url = values::text("an endpoint", node)?;
    let fault = || SettingError::new(format!("{} is not a valid endpoint", values::quote_url(url)));
    if url == "embedded" {
        return Ok(Endpoint::Embedded);
    }
    if let Some(rest) = url.strip_prefix("https://") {
        return if values::host_and_port(rest).is_some() {
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
        return if values::host_and_port(rest).is_some_and(|(_, port)| port.is_some()) {
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

/// Returns the name of a header that may be set.
fn header_name(name: &str) -> Read<HeaderName> {
    let no_name = |_| {
        SettingError::new(format!("{} is not a valid header name", quote(name))).help("letters, digits, `-` and `_`")
    };
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(no_name)?;
    if PROTOCOL_HEADERS.contains(&header.as_str()) || header.as_str().starts_with("grpc-") {
        return Err(SettingError::new(format!("the header {} is the protocol's own", quote(name))).help("remove it"));
    }
    Ok(header)
}

/// Reads the value of a header. It may be a secret, so no error repeats it.
fn header_value(node: &Node) -> Read<HeaderValue> {
    let NodeValue::Scalar(ScalarNode { text, .. }) = &node.value else {
        return Err(values::expected("a header's value", node));
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

/// Reads the path of a file with certificates, and returns its text. All certificates in it are usable.
fn certificates(node: &Node, files: Files<'_>) -> Read<String> {
    let (path, bytes) = values::file(node, files, values::PEM_FILE)?;
    pem::authorities(&bytes).map_err(|error| values::file_fault(&path, &error))?;
    String::from_utf8(bytes).map_err(|_| values::file_fault(&path, &PemError::NoCertificate))
}
