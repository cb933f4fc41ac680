//! Readers of single values. A reader returns a typed, checked value, or an error that says what to write instead.

use core::net::SocketAddr;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::FILE_BYTES_MAX;
use super::diagnostic::{SettingError, quote};
use super::node::{Node, NodeValue, ScalarNode, ScalarType};
use super::suggest::did_you_mean;
use super::units::{self, display_bytes, display_duration};
use super::{Files, Limit, Size};

/// The most bytes of an attribute key (Cloud Trace quotas, "Trace API v2": attribute keys).
const ATTRIBUTE_KEY_BYTES_MAX: usize = 512;
/// The most bytes of a path that Linux accepts.
const PATH_BYTES_MAX: usize = 4_095;

/// The words for a section in messages.
pub(super) const A_SECTION: &str = "a section of `key: value` lines";

/// The result of reading a value.
pub type Read<T> = Result<T, SettingError>;

/// Returns the error of a value that does not have the expected form.
pub fn expected(what: &str, node: &Node) -> SettingError {
    let found = match &node.value {
        NodeValue::Scalar(ScalarNode { kind: ScalarType::Null, .. }) => "nothing".to_owned(),
        // If a number or a boolean is in quotes, the quotes are the mistake, so the message shows them.
        NodeValue::Scalar(ScalarNode { text, kind: ScalarType::Text, .. })
            if ScalarType::of_plain(text) != ScalarType::Text =>
        {
            quote(&format!("\"{text}\""))
        }
        NodeValue::Scalar(ScalarNode { text, .. }) => quote(text),
        NodeValue::Seq(_) => "a list".to_owned(),
        NodeValue::Map(_) | NodeValue::Broken => "a section".to_owned(),
    };
    SettingError::new(format!("expected {what}, found {found}"))
}

/// Returns a URL as messages show it, with `***` in place of user, password and query, which may be secrets.
pub fn quote_url(url: &str) -> String {
    let url = url.split_once('?').map_or_else(|| url.to_owned(), |(url, _)| format!("{url}?***"));
    let (scheme, rest) =
        url.split_once("://").map_or(("", url.as_str()), |(_, rest)| url.split_at(url.len() - rest.len()));
    let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, rest)| ("***@", rest));
    quote(&format!("{scheme}{user}{rest}"))
}

/// Returns the error of a node that is not a mapping.
pub fn not_a_section(node: &Node) -> SettingError {
    expected(A_SECTION, node)
}

/// Returns the error of a node that is not a list.
pub(crate) fn not_a_list(node: &Node) -> SettingError {
    let fault = expected("a list", node);
    match &node.value {
        NodeValue::Scalar(scalar) => fault.help(format!("write {}", quote(&format!("[{}]", scalar.text)))),
        _ => fault,
    }
}

/// Returns the text of a scalar as it is written. So a name such as `404` needs no quotes.
pub fn text<'a>(what: &str, node: &'a Node) -> Read<&'a str> {
    match &node.value {
        NodeValue::Scalar(scalar) if scalar.kind != ScalarType::Null => Ok(&scalar.text),
        _ => Err(expected(what, node)),
    }
}

/// Returns the type of a scalar for a setting that cannot be a string. A reference to an environment variable keeps the
/// type of its value even in quotes, because it needs quotes in lists and sections with brackets.
pub fn kind(node: &Node) -> ScalarType {
    match &node.value {
        NodeValue::Scalar(ScalarNode { text, expanded: true, .. }) => ScalarType::of_plain(text),
        NodeValue::Scalar(scalar) => scalar.kind,
        _ => ScalarType::Text,
    }
}

/// Returns `value` if it is in range. `text` is the value as it is written. `None` is out of every range.
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

fn out_of_range(text: &str) -> SettingError {
    SettingError::new(format!("{} is out of range", quote(text)))
}

/// Reads `true` or `false`.
pub fn boolean(node: &Node) -> Read<bool> {
    match kind(node) {
        ScalarType::Bool(value) => Ok(value),
        _ => Err(expected("true or false", node).help("write `true` or `false`, without quotes")),
    }
}

/// Reads a whole number.
pub fn integer(node: &Node, limit: &Limit<u64>) -> Read<u64> {
    match kind(node) {
        ScalarType::Int(value) => {
            within(u64::try_from(value).ok(), &value.to_string(), limit, |value| value.to_string())
        }
        _ => Err(expected("a whole number", node).help("digits only, without quotes and without a unit")),
    }
}

/// Returns the error of a value that is not a number.
pub(crate) fn not_a_number(node: &Node) -> SettingError {
    expected("a number", node).help("digits, without quotes and without a unit")
}

/// Reads a number, with or without a fraction.
pub(crate) fn decimal(node: &Node, limit: &Limit<f64>) -> Read<f64> {
    let value = match kind(node) {
        ScalarType::Int(value) => value as f64,
        ScalarType::Float(value) if value.is_finite() => value,
        _ => return Err(not_a_number(node)),
    };
    within(Some(value), &value.to_string(), limit, |value| value.to_string())
}

/// Reads a duration with its unit.
pub fn duration(node: &Node, limit: &Limit<Duration>) -> Read<Duration> {
    let text = text("a duration", node)?;
    within(Some(units::duration(text)?), text, limit, display_duration)
}

/// Reads a whole number of objects in memory.
pub fn count(node: &Node, limit: &Limit<u64>) -> Read<usize> {
    integer(node, limit).and_then(narrow)
}

/// Returns `value` as the type of its setting.
pub(crate) fn narrow<T: TryFrom<u64>>(value: u64) -> Read<T> {
    T::try_from(value).map_err(|_| SettingError::new(format!("{value} is too much for this machine")))
}

/// Reads a number of bytes.
pub fn bytes(node: &Node, limit: &Limit<u64>) -> Read<u64> {
    let text = text("a size", node)?;
    within(Some(units::bytes(text)?), text, limit, display_bytes)
}

/// Reads a number of bytes, or a percentage.
pub fn size(node: &Node, limit: &Limit<u64>, percents: &RangeInclusive<f64>) -> Read<Size> {
    let text = text("a size or a percentage", node)?;
    match (units::percent(text), text.parse::<u64>()) {
        (Some(percent), _) => percent_within(percent, percents).map(Size::Percent),
        // So few bytes cannot be meant. The percent sign or the unit is missing.
        (None, Ok(number)) if number < limit.min && number as f64 <= *percents.end() => {
            Err(SettingError::new(format!("`{number}` is {number} bytes"))
                .help(format!("write `{number}%` or `{number}MiB`")))
        }
        (None, _) => bytes(node, limit).map(Size::Bytes),
    }
}

/// Reads a percentage, 0 to 100; `%` may follow.
pub fn percentage(node: &Node) -> Read<f64> {
    percentage_within(node, &(0.0..=100.0))
}

/// Reads a percentage; `%` may follow.
pub(crate) fn percentage_within(node: &Node, percents: &RangeInclusive<f64>) -> Read<f64> {
    let percent = match kind(node) {
        ScalarType::Int(value) => value as f64,
        ScalarType::Float(value) => value,
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

/// Reads one of `choices` by its name. `what` is the word for a choice in messages.
pub fn choice<T: Copy>(node: &Node, what: &str, choices: &[(&str, T)]) -> Read<T> {
    choice_of_text(text(what, node)?, what, choices)
}

/// Reads one of `choices` in upper or lower case. The Collector accepts both for some keys.
pub(crate) fn choice_in_any_case<T: Copy>(node: &Node, what: &str, choices: &[(&str, T)]) -> Read<T> {
    choice_of_text(&text(what, node)?.to_lowercase(), what, choices)
}

fn choice_of_text<T: Copy>(text: &str, what: &str, choices: &[(&str, T)]) -> Read<T> {
    let names = choices.iter().map(|(name, _)| *name);
    choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let fault = SettingError::new(format!("unknown {what} {}", quote(text)));
        let known = list(names.clone());
        match did_you_mean(text, names) {
            Some(help) => fault.help(format!("{help} Known: {known}")),
            None => fault.help(format!("known: {known}")),
        }
    })
}

/// Returns names, separated by commas.
pub fn list<T: Display>(names: impl Iterator<Item = T>) -> String {
    names.map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}

/// Reads text that is not empty, has no control characters and is not too long.
pub fn name(node: &Node, what: &str, bytes_max: usize) -> Read<String> {
    let name = text(what, node)?;
    if name.trim().is_empty() {
        return Err(SettingError::new(format!("{what} must not be empty")));
    }
    if name.len() > bytes_max || name.chars().any(char::is_control) {
        return Err(SettingError::new(format!("{what} must be at most {bytes_max} bytes, without control characters")));
    }
    Ok(name.to_owned())
}

/// Reads the key of an attribute.
pub(crate) fn attribute_key(node: &Node) -> Read<String> {
    name(node, "an attribute key", ATTRIBUTE_KEY_BYTES_MAX)
}

/// The words for a file with certificates or a key in the messages of [`file()`].
pub const PEM_FILE: &str = "a PEM file";

/// Returns the path and the contents of a file that a setting names.
pub fn file(node: &Node, files: Files<'_>, what: &str) -> Read<(PathBuf, Vec<u8>)> {
    let path = text(&format!("the path of {what}"), node)?;
    let name = quote(path);
    let bytes = files(Path::new(path)).map_err(|error| SettingError::new(format!("cannot read {name}: {error}")))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(SettingError::new(format!("{name} has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok((PathBuf::from(path), bytes))
}

/// Returns the error of a file with wrong contents.
pub fn file_fault(path: &Path, error: &impl Display) -> SettingError {
    SettingError::new(format!("{}: {error}", quote(&path.to_string_lossy())))
}

/// Reads an address to listen on: `host:port`.
pub fn address(node: &Node) -> Read<String> {
    let address = text("an address", node)?;
    let fault = || SettingError::new(format!("{} is not a valid listen address", quote(address)));
    match address.rsplit_once(':') {
        Some(("", port)) if is_port(port) => Err(fault().help(format!("write the host too: `0.0.0.0:{port}`"))),
        Some((host, port)) if is_host(host) && is_port(port) => Ok(address.to_owned()),
        None if is_port(address) => Err(fault().help(format!("write the host too: `0.0.0.0:{address}`"))),
        _ => Err(fault().help("write `host:port`, such as `0.0.0.0:4317` or `[::1]:4317`")),
    }
}

/// Reads a directory, which need not exist yet.
pub fn directory(node: &Node) -> Read<PathBuf> {
    name(node, "a directory", PATH_BYTES_MAX).map(PathBuf::from)
}

/// Returns the host and the port of `host[:port]`; `None` if it is not valid. See [`is_host`].
pub fn host_and_port(address: &str) -> Option<(&str, Option<u16>)> {
    if is_host(address) {
        return Some((address, None));
    }
    let (host, port) = address.rsplit_once(':').filter(|(host, port)| is_host(host) && is_port(port))?;
    Some((host, Some(port.parse().ok()?)))
}

/// Returns true if `port` is a port number.
pub fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

/// Returns true if `host` is an IP address (version 6 in brackets) or a name of at most 253 characters (RFC 1035,
/// section 2.3.4).
pub fn is_host(host: &str) -> bool {
    if host.starts_with('[') {
        return format!("{host}:0").parse::<SocketAddr>().is_ok();
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    host.len() <= 253 && host.starts_with(|c: char| c.is_ascii_alphanumeric()) && host.chars().all(legal)
}
