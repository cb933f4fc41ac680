//! Readers of single values: a node becomes a typed, checked value, or the fault says what to write instead.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Files;
use super::document::{Kind, Node, Scalar, Value};
use super::keys::closest;
use super::limits::{
    ATTRIBUTE_KEY_BYTES_MAX, ATTRIBUTE_VALUE_BYTES_MAX, CLAIM_BYTES_MAX, HEADER_BYTES_MAX, Limit, PATH_BYTES_MAX,
    POLICY_NAME_BYTES_MAX, PROJECT_BYTES_MAX, URL_BYTES_MAX, VALUE_BYTES_MAX,
};
use super::problem::{Fault, quote};
use super::settings::{AttributeValue, Endpoint, Size};
use super::units::{self, display_bytes, display_duration};
use crate::condition::{Number, Pattern};
use crate::trust::FILE_BYTES_MAX;
use crate::trust::pem::{self, PemError};
use http::{HeaderName, HeaderValue, Uri};

/// What a reader gives.
pub(super) type Read<T> = Result<T, Fault>;

fn expected(what: &str, node: &Node) -> Fault {
    let found = match &node.value {
        Value::Scalar(Scalar { kind: Kind::Null, .. }) => "nothing".to_owned(),
        // Quotes are what is wrong with a number in quotes.
        Value::Scalar(Scalar { text, kind: Kind::Text, .. }) if Kind::of_plain(text) != Kind::Text => {
            quote(&format!("\"{text}\""))
        }
        Value::Scalar(Scalar { text, .. }) => quote(text),
        Value::Seq(_) => "a list".to_owned(),
        Value::Map(_) | Value::Broken => "a section".to_owned(),
    };
    Fault::new(format!("expected {what}, found {found}"))
}

/// A mapping, or what was found in its place.
pub(super) fn not_a_section(node: &Node) -> Fault {
    expected("a section of `key: value` lines", node)
}

/// A list, or what was found in its place.
pub(super) fn not_a_list(node: &Node) -> Fault {
    let fault = expected("a list", node);
    match &node.value {
        Value::Scalar(scalar) => fault.help(format!("write {}", quote(&format!("[{}]", scalar.text)))),
        _ => fault,
    }
}

/// A scalar as it was written. Names such as `404` need no quotes.
fn text<'a>(what: &str, node: &'a Node) -> Read<&'a str> {
    match &node.value {
        Value::Scalar(scalar) if scalar.kind != Kind::Null => Ok(&scalar.text),
        _ => Err(expected(what, node)),
    }
}

/// The type of a scalar where a string makes no sense. Quotes around a reference to the environment (which lists and
/// sections within brackets need) do not make it a string.
fn kind(node: &Node) -> Kind {
    match &node.value {
        Value::Scalar(Scalar { text, expanded: true, .. }) => Kind::of_plain(text),
        Value::Scalar(scalar) => scalar.kind,
        _ => Kind::Text,
    }
}

/// `value`, which was written as `text`, if it is in range; `None` is out of every range.
fn within<T: PartialOrd + Copy>(
    value: Option<T>,
    text: &str,
    limit: &Limit<T>,
    display: impl Fn(T) -> String,
) -> Read<T> {
    value.filter(|value| (limit.min..=limit.max).contains(value)).ok_or_else(|| {
        let (min, max) = (display(limit.min), display(limit.max));
        out_of_range(text).help(format!("from {min} to {max}: {}", limit.why))
    })
}

fn out_of_range(text: &str) -> Fault {
    Fault::new(format!("{} is out of range", quote(text)))
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node) -> Read<bool> {
    match kind(node) {
        Kind::Bool(value) => Ok(value),
        _ => Err(expected("true or false", node).help("write `true` or `false`, without quotes")),
    }
}

/// A whole number.
pub(super) fn integer(node: &Node, limit: &Limit<u64>) -> Read<u64> {
    match kind(node) {
        Kind::Int(value) => within(u64::try_from(value).ok(), &value.to_string(), limit, |value| value.to_string()),
        _ => Err(expected("a whole number", node).help("digits only, without quotes and without a unit")),
    }
}

/// A number, whole or not, as it is written.
pub(super) fn number(node: &Node) -> Read<Number> {
    match kind(node) {
        Kind::Int(value) => Ok(Number::Int(value)),
        Kind::Float(value) if value.is_finite() => Ok(Number::Double(value)),
        _ => Err(expected("a number", node).help("digits, without quotes and without a unit")),
    }
}

/// A number, whole or not.
pub(super) fn decimal(node: &Node, limit: &Limit<f64>) -> Read<f64> {
    let value = match number(node)? {
        Number::Int(value) => value as f64,
        Number::Double(value) => value,
    };
    within(Some(value), &value.to_string(), limit, |value| value.to_string())
}

/// A duration with its unit.
pub(super) fn duration(node: &Node, limit: &Limit<Duration>) -> Read<Duration> {
    let text = text("a duration", node)?;
    within(Some(units::duration(text)?), text, limit, display_duration)
}

/// A whole number of things in memory.
pub(super) fn count(node: &Node, limit: &Limit<u64>) -> Read<usize> {
    integer(node, limit).and_then(in_memory)
}

/// A number of bytes in memory.
pub(super) fn byte_count(node: &Node, limit: &Limit<u64>) -> Read<usize> {
    bytes(node, limit).and_then(in_memory)
}

fn in_memory(value: u64) -> Read<usize> {
    usize::try_from(value).map_err(|_| Fault::new(format!("{value} is too much for this machine")))
}

/// A number of bytes.
pub(super) fn bytes(node: &Node, limit: &Limit<u64>) -> Read<u64> {
    let text = text("a size", node)?;
    within(Some(units::bytes(text)?), text, limit, display_bytes)
}

/// A number of bytes, or a percentage.
pub(super) fn size(node: &Node, limit: &Limit<u64>, percents: &RangeInclusive<f64>) -> Read<Size> {
    match units::percent(text("a size or a percentage", node)?) {
        Some(percent) => percent_within(percent, percents).map(Size::Percent),
        None => bytes(node, limit).map(Size::Bytes),
    }
}

/// A percentage, 0 to 100; `%` may follow.
pub(super) fn percentage(node: &Node) -> Read<f64> {
    percentage_within(node, &(0.0..=100.0))
}

/// A percentage; `%` may follow.
pub(super) fn percentage_within(node: &Node, percents: &RangeInclusive<f64>) -> Read<f64> {
    let percent = match kind(node) {
        Kind::Int(value) => value as f64,
        Kind::Float(value) => value,
        _ => units::percent(text("a percentage", node)?)
            .ok_or_else(|| expected("a percentage", node).help("write a number from 0 to 100, without quotes"))?,
    };
    percent_within(percent, percents)
}

fn percent_within(percent: f64, percents: &RangeInclusive<f64>) -> Read<f64> {
    if percents.contains(&percent) {
        return Ok(percent);
    }
    Err(out_of_range(&format!("{percent}%")).help(format!("from {}% to {}%", percents.start(), percents.end())))
}

/// One of `choices`, by name. `what` is the thing that is named.
pub(super) fn choice<T: Copy>(node: &Node, what: &str, choices: &[(&str, T)]) -> Read<T> {
    choice_of_text(text(what, node)?, what, choices)
}

/// As [`choice`], in upper and lower case, where the Collector takes both.
pub(super) fn choice_in_any_case<T: Copy>(node: &Node, what: &str, choices: &[(&str, T)]) -> Read<T> {
    choice_of_text(&text(what, node)?.to_lowercase(), what, choices)
}

fn choice_of_text<T: Copy>(text: &str, what: &str, choices: &[(&str, T)]) -> Read<T> {
    let names = choices.iter().map(|(name, _)| *name);
    choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let fault = Fault::new(format!("unknown {what} {}", quote(text)));
        let known = list(names.clone());
        match closest(text, names) {
            Some(name) => fault.help(format!("did you mean `{name}`? Known: {known}")),
            None => fault.help(format!("known: {known}")),
        }
    })
}

/// As [`choice`]; what the Collector has and Spansieve has not is told apart from a slip of the pen.
pub(super) fn supported_choice<T: Copy>(
    node: &Node,
    what: &str,
    choices: &[(&str, T)],
    unsupported: &[&str],
) -> Read<T> {
    let text = text(what, node)?;
    if !unsupported.contains(&text) {
        return choice(node, what, choices);
    }
    let fault = Fault::new(format!("the {what} `{text}` of the Collector is not supported"));
    Err(fault.help(format!("supported: {}", list(choices.iter().map(|(name, _)| name)))))
}

/// Names, separated by commas.
pub(super) fn list<T: Display>(names: impl Iterator<Item = T>) -> String {
    names.map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}

/// Text that is not empty, holds no control characters and is not too long.
fn name(node: &Node, what: &str, bytes_max: usize) -> Read<String> {
    let name = text(what, node)?;
    if name.trim().is_empty() {
        return Err(Fault::new(format!("{what} must not be empty")));
    }
    if name.len() > bytes_max || name.chars().any(char::is_control) {
        return Err(Fault::new(format!("{what} must be at most {bytes_max} bytes, without control characters")));
    }
    Ok(name.to_owned())
}

/// The name of a policy.
pub(super) fn policy_name(node: &Node) -> Read<String> {
    name(node, "a policy name", POLICY_NAME_BYTES_MAX)
}

/// A string that spans are searched for, as it was written.
pub(super) fn searched(node: &Node) -> Read<String> {
    let text = text("a string", node)?;
    if text.len() > VALUE_BYTES_MAX {
        return Err(Fault::new(format!("a value must be at most {VALUE_BYTES_MAX} bytes")));
    }
    Ok(text.to_owned())
}

/// A regular expression.
pub(super) fn pattern(node: &Node) -> Read<Pattern> {
    Pattern::new(&searched(node)?)
        .map_err(|error| Fault::new(format!("not a regular expression: {error}")).help(error.help))
}

/// The key of an attribute.
pub(super) fn attribute_key(node: &Node) -> Read<String> {
    name(node, "an attribute key", ATTRIBUTE_KEY_BYTES_MAX)
}

/// A regular expression with groups, all of which have names.
pub(super) fn named_groups(node: &Node) -> Read<Pattern> {
    let pattern = pattern(node)?;
    let names: Vec<_> = pattern.groups().collect();
    if names.is_empty() || names.contains(&None) {
        let fault = Fault::new("each group of the pattern needs a name, and there must be one");
        return Err(fault.help("write `(?P<name>...)`: the name is the attribute's key; `(?:...)` only groups"));
    }
    Ok(pattern)
}

/// The value of an attribute, by its YAML type.
pub(super) fn attribute_value(node: &Node) -> Read<AttributeValue> {
    if node.is_null() {
        return Err(expected("a value", node));
    }
    let mut text_bytes = 0;
    let value = any_attribute_value(node, &mut text_bytes)?;
    if text_bytes > ATTRIBUTE_VALUE_BYTES_MAX {
        return Err(Fault::new(format!("a value must be at most {ATTRIBUTE_VALUE_BYTES_MAX} bytes")));
    }
    Ok(value)
}

/// A value within others, too. Adds the bytes of its texts.
fn any_attribute_value(node: &Node, text_bytes: &mut usize) -> Read<AttributeValue> {
    match &node.value {
        Value::Scalar(scalar) => {
            *text_bytes += scalar.text.len();
            simple_attribute_value(scalar)
        }
        Value::Seq(_) => {
            let values = node.items().map(|item| any_attribute_value(item, text_bytes));
            values.collect::<Read<_>>().map(AttributeValue::List)
        }
        Value::Map(entries) => {
            let values = entries.iter().map(|(key, node)| {
                *text_bytes += key.name.len();
                Ok((key.name.clone(), any_attribute_value(node, text_bytes)?))
            });
            values.collect::<Read<_>>().map(AttributeValue::Map)
        }
        Value::Broken => Ok(AttributeValue::Nothing),
    }
}

fn simple_attribute_value(Scalar { text, kind, .. }: &Scalar) -> Read<AttributeValue> {
    match kind {
        Kind::Null => Ok(AttributeValue::Nothing),
        Kind::Bool(value) => Ok(AttributeValue::Bool(*value)),
        Kind::Int(value) => Ok(AttributeValue::Int(*value)),
        Kind::Float(value) if value.is_finite() && text.contains(['.', 'e', 'E']) => Ok(AttributeValue::Double(*value)),
        Kind::Float(_) => {
            let fault = Fault::new(format!("{} is a number that cannot be kept as it is", quote(text)));
            Err(fault.help(format!("put it in quotes: {}", quote(&format!("\"{text}\"")))))
        }
        Kind::Text => Ok(AttributeValue::String(text.clone())),
    }
}

/// A Google Cloud project id or number
/// (cloud.google.com/resource-manager/docs/creating-managing-projects; ids of a domain carry `.` and `:`).
pub(super) fn project(node: &Node) -> Read<String> {
    let project = name(node, "a project", PROJECT_BYTES_MAX)?;
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | ':');
    if project.chars().all(legal) {
        return Ok(project);
    }
    let fault = Fault::new(format!("{} is no project id", quote(&project)));
    Err(fault.help("write the id such as `my-project-123`, or the number: lower case, without `projects/`"))
}

/// Stands for every project.
pub(super) const ANY_PROJECT: &str = "*";

/// A project, or [`ANY_PROJECT`].
pub(super) fn allowed_project(node: &Node) -> Read<String> {
    if text("a project", node)? == ANY_PROJECT { Ok(ANY_PROJECT.to_owned()) } else { project(node) }
}

/// What [`file`] calls one with certificates or a key.
pub(super) const PEM_FILE: &str = "a PEM file";

/// The path and the contents of a file that a setting names.
pub(super) fn file(node: &Node, files: Files<'_>, what: &str) -> Read<(PathBuf, Vec<u8>)> {
    let path = text(&format!("the path of {what}"), node)?;
    let name = quote(path);
    let bytes = files(Path::new(path)).map_err(|error| Fault::new(format!("cannot read {name}: {error}")))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(Fault::new(format!("{name} has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok((PathBuf::from(path), bytes))
}

/// What is wrong with the contents of a file.
pub(super) fn file_fault(path: &Path, error: &impl Display) -> Fault {
    Fault::new(format!("{}: {error}", quote(&path.to_string_lossy())))
}

/// The path of a file with certificates: its text, all of them found to be usable.
pub(super) fn certificates(node: &Node, files: Files<'_>) -> Read<String> {
    let (path, bytes) = file(node, files, PEM_FILE)?;
    pem::authorities(&bytes).map_err(|error| file_fault(&path, &error))?;
    String::from_utf8(bytes).map_err(|_| file_fault(&path, &PemError::NoCertificate))
}

/// An address to listen on: `host:port`.
pub(super) fn address(node: &Node) -> Read<String> {
    let address = text("an address", node)?;
    let fault = || Fault::new(format!("{} is no address to listen on", quote(address)));
    match address.rsplit_once(':') {
        Some(("", port)) if is_port(port) => Err(fault().help(format!("write the host too: `0.0.0.0:{port}`"))),
        Some((host, port)) if is_host(host) && is_port(port) => Ok(address.to_owned()),
        _ => Err(fault().help("write `host:port`, such as `0.0.0.0:4317` or `[::1]:4317`")),
    }
}

/// The name of a host, without a port.
pub(super) fn host_name(node: &Node) -> Read<String> {
    let host = text("a host", node)?;
    let fault = || Fault::new(format!("{} is not the name of a host", quote(host)));
    match host.rsplit_once(':') {
        Some((host, port)) if is_host(host) && is_port(port) => {
            Err(fault().help(format!("leave the port out: `{host}`")))
        }
        None if is_host(host) => Ok(host.to_owned()),
        _ => Err(fault().help("write it as it stands in the address of the page, such as `traces.internal`")),
    }
}

/// A secret token as it is written: no fault repeats it. `None` if it is empty.
pub(super) fn token(node: &Node) -> Read<Option<&[u8]>> {
    match &node.value {
        Value::Scalar(Scalar { text, .. }) if node.is_null() || text.is_empty() => Ok(None),
        Value::Scalar(Scalar { text, .. }) => Ok(Some(text.as_bytes())),
        _ => Err(expected("a token", node)),
    }
}

/// What an ID token says in one of its claims.
pub(super) fn claim(node: &Node) -> Read<String> {
    name(node, "a claim", CLAIM_BYTES_MAX)
}

/// An account of Google's: its e-mail address, or its unique number.
pub(super) fn account(node: &Node) -> Read<String> {
    let account = name(node, "an account", CLAIM_BYTES_MAX)?;
    let is_number = account.bytes().all(|byte| byte.is_ascii_digit());
    let is_address =
        account.split_once('@').is_some_and(|(name, host)| is_host(host) && !name.is_empty() && !name.contains('*'));
    if is_number || is_address {
        return Ok(account);
    }
    let fault = Fault::new(format!("{} is no account", quote(&account)));
    Err(fault.help("write each one's e-mail address, such as `name@project.iam.gserviceaccount.com`, or unique number"))
}

/// An origin of scripts, in which one `*` may stand for any text.
pub(super) fn origin(node: &Node) -> Read<String> {
    let origin = name(node, "an origin", URL_BYTES_MAX)?;
    let fault = || Fault::new(format!("{} is not an origin", quote(&origin)));
    if origin.matches('*').count() > 1 {
        return Err(fault().help("an origin has one `*` at most"));
    }
    let is_special = origin.contains('*') || origin == "null";
    match origin.split_once("://") {
        _ if is_special => Ok(origin),
        Some((scheme, host)) if !scheme.is_empty() && !host.is_empty() && !host.contains('/') => Ok(origin),
        _ => Err(fault().help("write scheme, host and port if any, such as `https://shop.example` or `http://localhost:3000`, without a path")),
    }
}

/// The name of a header that scripts may send, or `*`.
pub(super) fn cors_header(node: &Node) -> Read<String> {
    let header = name(node, "a header", URL_BYTES_MAX)?;
    match header == "*" || HeaderName::from_bytes(header.as_bytes()).is_ok() {
        true => Ok(header),
        false => Err(Fault::new(format!("{} is not the name of a header", quote(&header)))),
    }
}

/// Where keys are fetched: without TLS only from this machine, as anybody on the way could send others.
pub(super) fn certs_url(node: &Node) -> Read<String> {
    let url = name(node, "a URL", URL_BYTES_MAX)?;
    let fault = || Fault::new(format!("{} is no URL of keys", quote(&url)));
    let uri = url.parse::<Uri>().map_err(|_| fault().help("write `https://host/path`"))?;
    let host = uri.host().unwrap_or_default();
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => Ok(url),
        Some("http") if ["127.0.0.1", "[::1]", "localhost"].contains(&host) => Ok(url),
        Some("http") => {
            Err(fault().help("write `https://`: without TLS anybody on the way could send keys of their own"))
        }
        _ => Err(fault().help("write `https://host/path`")),
    }
}

/// A directory; it need not exist yet.
pub(super) fn directory(node: &Node) -> Read<PathBuf> {
    name(node, "a directory", PATH_BYTES_MAX).map(PathBuf::from)
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
    let fault = || Fault::new(format!("{} is no endpoint", quote(url)));
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
    Err(match closest(url, std::iter::once("embedded")) {
        Some(name) => fault().help(format!("did you mean `{name}`?")),
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
    let no_name = |_| Fault::new(format!("{} is no header name", quote(name))).help("letters, digits, `-` and `_`");
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(no_name)?;
    if PROTOCOL_HEADERS.contains(&header.as_str()) || header.as_str().starts_with("grpc-") {
        return Err(Fault::new(format!("the header {} is the protocol's own", quote(name))).help("remove it"));
    }
    Ok(header)
}

/// The value of a header, which may be a secret: no fault repeats it.
pub(super) fn header_value(node: &Node) -> Read<HeaderValue> {
    let Value::Scalar(Scalar { text, .. }) = &node.value else { return Err(expected("a header's value", node)) };
    if text.is_empty() || text.len() > HEADER_BYTES_MAX {
        return Err(Fault::new(format!("a header's value has from 1 to {HEADER_BYTES_MAX} bytes")));
    }
    let not_ascii = || Fault::new("a header's value must be printable ASCII").help("without a line break at its end");
    // gRPC over HTTP/2, "ASCII-Value".
    let is_ascii = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let mut value = HeaderValue::from_str(text).ok().filter(|_| is_ascii).ok_or_else(not_ascii)?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

/// An IP address (version 6 in brackets) or a name of at most 253 characters (RFC 1035, section 2.3.4).
fn is_host(host: &str) -> bool {
    if host.starts_with('[') {
        return format!("{host}:0").parse::<SocketAddr>().is_ok();
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    host.len() <= 253 && host.starts_with(|c: char| c.is_ascii_alphanumeric()) && host.chars().all(legal)
}
