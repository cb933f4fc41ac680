//! The `otlp` receivers (opentelemetry-collector `receiver/otlpreceiver/README.md`).

use std::collections::HashSet;

use super::pipelines::{Component, Pipeline};
use super::{Known, Parts, copied, formatted, report_rest, scalar_item};
use crate::import::draft::{Item, Value};
use crate::import::foreign::{Foreign, shown};
use crate::import::report::{Outcome, Report};
use crate::import::scalar;
use crate::settings::units::display_bytes;

/// A protocol of the receiver, and its defaults.
struct Protocol {
    name: &'static str,
    endpoint: &'static str,
    request_key: &'static str,
    /// Bytes of a request without that key.
    request_bytes: u64,
    /// Bytes of a unit of that key, and the key's format here.
    request_unit: (u64, &'static str),
}

const PROTOCOLS: [Protocol; 2] = [
    Protocol {
        name: "grpc",
        endpoint: "localhost:4317",
        request_key: "max_recv_msg_size_mib",
        request_bytes: 4 << 20,
        request_unit: (1 << 20, "{}MiB"),
    },
    Protocol {
        name: "http",
        endpoint: "localhost:4318",
        request_key: "max_request_body_size",
        request_bytes: 20 << 20,
        request_unit: (1, "{}"),
    },
];
/// The largest request that Spansieve takes if its configuration does not say.
const OWN_REQUEST_BYTES: u64 = 16 << 20;

const READ: [&str; 6] = ["endpoint", "max_recv_msg_size_mib", "max_request_body_size", "tls", "auth", "cors"];
const KNOWN: [Known; 15] = [
    ("transport", Outcome::NotNeeded, "Spansieve listens on TCP"),
    ("include_metadata", Outcome::NotNeeded, "requests are not kept with their metadata"),
    ("compression_algorithms", Outcome::NotNeeded, "all encodings of OTLP are taken"),
    ("keepalive", Outcome::NotNeeded, "connections have limits of their own (docs/overload.md)"),
    ("max_concurrent_streams", Outcome::NotNeeded, "connections have limits of their own (docs/overload.md)"),
    ("read_buffer_size", Outcome::NotNeeded, "buffers are part of the memory budget"),
    ("write_buffer_size", Outcome::NotNeeded, "buffers are part of the memory budget"),
    ("read_timeout", Outcome::NotNeeded, "connections have limits of their own (docs/overload.md)"),
    ("read_header_timeout", Outcome::NotNeeded, "connections have limits of their own (docs/overload.md)"),
    ("write_timeout", Outcome::NotNeeded, "connections have limits of their own (docs/overload.md)"),
    ("idle_timeout", Outcome::NotNeeded, "connections have limits of their own (docs/overload.md)"),
    ("metrics_url_path", Outcome::NotNeeded, "Spansieve takes traces only"),
    ("logs_url_path", Outcome::NotNeeded, "Spansieve takes traces only"),
    ("traces_url_path", Outcome::NotCarried, "spans are taken at /v1/traces only"),
    ("response_headers", Outcome::NotCarried, "answers have the headers of the protocol only"),
];
const TLS_READ: [&str; 3] = ["cert_file", "key_file", "client_ca_file"];
const TLS_KNOWN: [Known; 5] = [
    ("reload_interval", Outcome::NotNeeded, "the files are read again every minute"),
    ("client_ca_file_reload", Outcome::NotNeeded, "the files are read again every minute"),
    ("min_version", Outcome::Different, "TLS 1.2 and 1.3 are spoken"),
    ("max_version", Outcome::Different, "TLS 1.2 and 1.3 are spoken"),
    ("cipher_suites", Outcome::Different, "the ciphers are those of the TLS library"),
];

/// Reads the receivers.
pub(super) fn read(pipeline: &Pipeline<'_>, parts: &mut Parts<'_>, report: &mut Report) {
    let mut open = Vec::new();
    for receiver in &pipeline.receivers {
        match receiver.kind {
            "otlp" => open.extend(protocols(&receiver.definition, report)),
            _ => report.not_carried(
                &receiver.definition,
                "Spansieve takes OTLP only",
                "let the senders send OTLP, or leave a Collector with this receiver before Spansieve",
            ),
        }
    }
    if !pipeline.receivers.is_empty() {
        parts.otlp.push(("listen", listen(&open, report)));
    }
    parts.otlp.extend(request_bytes(&open, report).map(|item| ("max_request_bytes", item)));
    parts.otlp.extend(tls(&open, report).map(|item| ("tls", item)));
    parts.otlp.extend(auth(&open, pipeline, report).map(|item| ("auth", item)));
    parts.otlp.extend(cors(&open, report).map(|item| ("cors", item)));
    for (_, section) in &open {
        report_rest(section, &READ, &KNOWN, report);
    }
}

type Open<'a> = (&'static Protocol, Foreign<'a>);

fn protocols<'a>(receiver: &Foreign<'a>, report: &mut Report) -> Vec<Open<'a>> {
    report_rest(receiver, &["protocols"], &[], report);
    let entries = receiver.get("protocols").map(|protocols| protocols.entries()).unwrap_or_default();
    let mut open = Vec::new();
    for (name, section) in entries {
        match PROTOCOLS.iter().find(|protocol| protocol.name == name) {
            Some(protocol) => open.push((protocol, section)),
            None => report.not_carried(&section, "Spansieve speaks gRPC and HTTP", "use `grpc` or `http`"),
        }
    }
    open
}

/// Returns the addresses. A port is named once, as each address speaks both protocols.
fn listen(open: &[Open<'_>], report: &mut Report) -> Item {
    let mut items = Vec::new();
    let mut seen = HashSet::new();
    for (protocol, section) in open {
        let unix = section.get("transport").filter(|transport| transport.text().is_some_and(|text| text != "tcp"));
        if let Some(transport) = unix {
            for part in section.filled("endpoint").iter().chain([&transport]) {
                report.not_carried(part, "Spansieve listens on TCP only", "give the receiver a `host:port`");
            }
            continue;
        }
        let written = section.filled("endpoint");
        let item = match &written {
            Some(endpoint) => address(endpoint, report),
            None => Some(Item::text(protocol.endpoint).from(section).remark("the Collector's default")),
        };
        let text = |item: &Item| if let Value::Scalar(text) = &item.value { text.clone() } else { String::new() };
        items.extend(item.filter(|item| {
            let text = text(item);
            let is_new = seen.insert(text);
            if let Some(again) = written.as_ref().filter(|_| !is_new) {
                report.not_needed(again, "the address is listed already: each address speaks both protocols");
            }
            is_new
        }));
    }
    // Without this key Spansieve would listen on all addresses of the machine, and the file may have meant fewer.
    let local = || PROTOCOLS.iter().map(|protocol| Item::text(protocol.endpoint)).collect();
    Item::list(items).unit().or(Item::list(local()).remark("no address could be carried"))
}

fn address(endpoint: &Foreign<'_>, report: &mut Report) -> Option<Item> {
    match endpoint.text() {
        Some(text) if text.starts_with(':') => {
            let text = scalar::references(text).map(|text| Item::text(&format!("0.0.0.0{text}")).from(endpoint));
            text.map_err(|reason| report.not_carried(endpoint, reason, "write the value itself")).ok()
        }
        _ => scalar_item(endpoint, report),
    }
}

/// Returns the bytes of the largest request of a protocol, the value that says so, and its format here.
fn limit<'a>((protocol, section): &Open<'a>) -> (u64, Option<Foreign<'a>>, &'static str) {
    let (unit, format) = protocol.request_unit;
    let written = section.filled(protocol.request_key);
    let bytes = match &written {
        // A reference has no number yet, and goes before all others.
        Some(value) => value.count().map_or(u64::MAX, |count| count.saturating_mul(unit)),
        None => protocol.request_bytes,
    };
    (bytes, written, format)
}

/// Returns the largest request that one of the protocols takes.
fn request_bytes(open: &[Open<'_>], report: &mut Report) -> Option<Item> {
    let limits: Vec<_> = open.iter().map(limit).collect();
    // The first one of several equal ones.
    let (bytes, written, format) = limits.iter().rev().max_by_key(|(bytes, _, _)| *bytes)?;
    let others = limits.iter().filter_map(|(_, written, _)| written.as_ref());
    for other in others.filter(|other| written.as_ref().is_none_or(|written| written.id != other.id)) {
        report.different(other, "one limit is for both protocols: the larger one");
    }
    let is_known = *bytes != u64::MAX;
    let default = || Item::yaml(display_bytes(*bytes)).remark("the Collector's default over HTTP");
    match written {
        Some(value) if is_known => Some(Item::yaml(display_bytes(*bytes)).from(value)),
        Some(value) => formatted(value, format, report),
        None => (*bytes > OWN_REQUEST_BYTES && is_known).then(default),
    }
}

/// Returns TLS for all addresses: the certificate of the first protocol that has one, and the authority of client
/// certificates of any of them.
fn tls(open: &[Open<'_>], report: &mut Report) -> Option<Item> {
    let sections: Vec<Foreign<'_>> = open.iter().filter_map(|(_, section)| section.filled("tls")).collect();
    let base = sections.iter().find(|section| section.filled("cert_file").is_some()).or(sections.first())?;
    for section in &sections {
        report_rest(section, &TLS_READ, &TLS_KNOWN, report);
    }
    if sections.len() < open.len() {
        report.different(base, "TLS is on all addresses here, not only on those of this protocol");
    }
    let authority = base.filled(AUTHORITY).or_else(|| sections.iter().find_map(|section| section.filled(AUTHORITY)));
    for other in sections.iter().filter(|other| other.id != base.id) {
        other_certificate(base, other, report);
        other_authority(authority.as_ref(), other, report);
    }
    if let Some(authority) = authority.as_ref().filter(|_| base.filled(AUTHORITY).is_none()) {
        report.different(authority, "senders to all addresses must show a certificate of this authority");
    }
    let own = ["cert_file", "key_file"].into_iter().filter_map(|key| Some((key, base.filled(key)?)));
    whole(base, own.chain(authority.map(|file| (AUTHORITY, file))), report)
}

const AUTHORITY: &str = "client_ca_file";

/// Reports the certificate of another protocol than that of `base`.
fn other_certificate(base: &Foreign<'_>, other: &Foreign<'_>, report: &mut Report) {
    for key in ["cert_file", "key_file"] {
        let Some(file) = other.filled(key) else { continue };
        if base.filled(key).is_some_and(|base| base.text() == file.text()) {
            report.not_needed(&file, "it is the file of the other protocol, which is for all addresses");
        } else {
            let reason = format!("all addresses show the certificate in `{}`", base.path);
            report.not_carried(&file, reason, "use one certificate that has all names by which senders call");
        }
    }
}

/// Reports the `authority` of client certificates if `other` has another one, or none.
fn other_authority(authority: Option<&Foreign<'_>>, other: &Foreign<'_>, report: &mut Report) {
    let Some(authority) = authority else { return };
    match other.filled(AUTHORITY) {
        Some(own) if own.id == authority.id => {}
        Some(own) if own.text() == authority.text() => {
            report.not_needed(&own, "it is the file of the other protocol, which is for all addresses");
        }
        Some(own) => {
            let reason =
                format!("client certificates are checked with `{}`: those of this one are refused", authority.path);
            report.not_carried(&own, reason, "write the authorities of both into one file");
        }
        None => {
            report.different(
                other,
                format!("its senders must show a certificate as well, because of `{}`", authority.path),
            );
        }
    }
}

/// Returns a section that can only be taken out as a whole.
fn whole<'a>(
    part: &Foreign<'_>,
    entries: impl Iterator<Item = (&'static str, Foreign<'a>)>,
    report: &mut Report,
) -> Option<Item> {
    let entries = entries.map(|(key, value)| Ok((key, copied(&value)?)));
    match entries.collect::<Result<Vec<_>, String>>() {
        Ok(entries) if entries.is_empty() => None,
        Ok(entries) => Some(Item::map(entries).from(part)),
        Err(reason) => {
            report.not_carried(part, reason, "write the value itself");
            None
        }
    }
}

fn auth(open: &[Open<'_>], pipeline: &Pipeline<'_>, report: &mut Report) -> Option<Item> {
    let sections: Vec<Foreign<'_>> = open.iter().filter_map(|(_, section)| section.filled("auth")).collect();
    let mut item = None;
    let mut taken = "";
    for section in &sections {
        let id = section.get("authenticator").and_then(|id| id.text()).unwrap_or_default();
        if item.is_some() && id == taken {
            report.not_needed(section, "all addresses ask for the tokens of this authenticator");
            continue;
        }
        let extension = pipeline.extension(id).filter(|extension| extension.kind == "bearertokenauth");
        match extension.filter(|_| item.is_none()).and_then(|extension| bearer(extension, report)) {
            Some(bearer) => {
                (item, taken) = (Some(bearer), id);
                report.read(section);
                if sections.len() < open.len() {
                    report.different(
                        section,
                        "senders to all addresses must send a token, not only those of this protocol",
                    );
                }
            }
            None => lost_authenticator(section, id, item.is_some(), report),
        }
    }
    item
}

fn lost_authenticator(section: &Foreign<'_>, id: &str, has_other: bool, report: &mut Report) {
    let reason = if has_other {
        format!("all addresses ask for the tokens of another authenticator, not for those of `{}`", shown(id))
    } else {
        format!("senders are not asked who they are: the authenticator `{}` has no counterpart", shown(id))
    };
    let help = "docs/security.md: `otlp.auth` (tokens, Google's ID tokens), `otlp.tls` (mutual TLS)";
    report.not_carried(section, reason, help);
}

/// Returns `otlp.auth` for the extension `bearertokenauth`.
fn bearer(extension: &Component<'_>, report: &mut Report) -> Option<Item> {
    let definition = &extension.definition;
    if definition.filled("scheme").is_some_and(|scheme| !scheme.is_text("Bearer")) {
        return None;
    }
    let tokens = ["token", "tokens"].iter().filter_map(|key| definition.filled(key));
    let tokens: Result<Vec<Item>, String> =
        tokens.flat_map(|value| value.one_or_more()).map(|value| copied(&value)).collect();
    let tokens = tokens.ok()?;
    let mut entries = Vec::new();
    if !tokens.is_empty() {
        entries.push(("tokens", Item::list(tokens)));
    }
    entries.extend(definition.filled("filename").and_then(|file| Some(("tokens_file", copied(&file).ok()?))));
    report_rest(definition, &["scheme", "token", "tokens", "filename"], &[], report);
    (!entries.is_empty()).then(|| Item::map(vec![("bearer", Item::map(entries))]).from(definition))
}

fn cors(open: &[Open<'_>], report: &mut Report) -> Option<Item> {
    const KEYS: [&str; 3] = ["allowed_origins", "allowed_headers", "max_age"];
    let mut sections = open.iter().filter_map(|(_, section)| section.filled("cors"));
    let section = sections.next()?;
    for other in sections {
        report.not_carried(
            &other,
            "there is one `otlp.cors` for all addresses, and another one is carried",
            super::LEAVE_OUT,
        );
    }
    report_rest(&section, &KEYS, &[], report);
    whole(&section, KEYS.iter().filter_map(|key| Some((*key, section.filled(key)?))), report)
}
