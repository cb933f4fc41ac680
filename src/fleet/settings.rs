//! The section `fleet` of the configuration.

use std::time::Duration;

use http::HeaderMap;

use crate::export::settings::{Endpoint, ExportTls, read_endpoint, read_headers};
use crate::settings::diagnostic::{SettingError, quote};
use crate::settings::kinds::{Bool, ByHand, DurationKind, OrNone, ParsedText, Sub, SubIf};
use crate::settings::node::{Node, NodeValue, ScalarNode};
use crate::settings::reader::Section;
use crate::settings::setting::Shape;
use crate::settings::values::{self, Read};
use crate::settings::{Limit, section};

section! {
    /// Other instances of the same service.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Fleet {
        /// The Valkey, or Redis from 6.2 on, through which the instances decide as one ([fleet.md](fleet.md)):
        /// `redis://host[:port][/db]`, or `rediss://host[:port][/db]` with TLS. Empty: each instance decides by itself.
        pub url: String = String::new(), ByHand::of(Shape::Text("string")).default("");
        /// The name that the instances of one fleet share. Fleets with different names do not see one another, also on the
        /// same server.
        pub name: String = DEFAULT_NAME.to_owned(), ParsedText { word: "string", read: fleet_name };
        /// The user that signs in to the server. Absent or empty: its default user.
        pub username: Option<String> = None, OrNone(ParsedText { word: "string", read: user_name });
        /// The password, such as `${env:FLEET_PASSWORD}`. Absent or empty: none.
        pub password: Option<Password> = None, ByHand::of(Shape::Secret(Box::new(Shape::OrNothing(Box::new(Shape::Text("string"))))));
        /// True if the password is an access token of Google's application default credentials, as Memorystore takes it with
        /// IAM authentication.
        pub iam: bool = false, Bool;
        /// TLS to a server with `rediss://`.
        pub tls: ExportTls = ExportTls::default(), Sub;
        /// The time that the owner of a trace waits for summaries that are on their way, after the wait of the trace is over.
        pub grace: Duration = Duration::from_millis(500), DurationKind(GRACE);
        /// The instance that takes undecided traces when this process stops. Off without this section, or with an empty
        /// `endpoint`.
        pub handoff: Option<Handoff> = None, SubIf(Handoff::has_endpoint);
    }
    check: Fleet::check;
}

const DEFAULT_NAME: &str = "spansieve";
const NAME_BYTES_MAX: usize = 64;
const USERNAME_BYTES_MAX: usize = 128;
const PASSWORD_BYTES_MAX: usize = 4096;
const GRACE: Limit<Duration> =
    Limit { min: Duration::ZERO, max: Duration::from_secs(10), why: "each trace is decided later by that much" };

/// A password. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Returns the password itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

impl Fleet {
    /// Returns true if instances decide as one.
    #[must_use]
    pub fn has_engine(&self) -> bool {
        !self.url.is_empty()
    }

    fn check(&mut self, section: &mut Section<'_>) {
        section.set("url", &mut self.url, engine_url);
        section.set("password", &mut self.password, password);
        let has_tls = self.url.starts_with(TLS_SCHEME);
        if self.iam && self.password.is_some() {
            let at = section.entry("iam").map_or(section.at(), |(at, _)| at);
            let fault = SettingError::new("with `iam`, a token is the password");
            section.error(at, fault.help("leave `password` out, or `iam`"));
        }
        let at = section.entry("iam").map(|(at, _)| at);
        if let Some(at) = at.filter(|_| self.iam && self.has_engine() && !has_tls) {
            let fault = SettingError::new("an access token would be sent in plaintext");
            section.error(at, fault.help("write a URL that begins with `rediss://`, or leave `iam` out"));
        }
        let at = section.entry("tls").and_then(|(_, node)| node.position_of("ca_file"));
        if let (Some(_), false, Some(at)) = (&self.tls.ca_pem, has_tls, at) {
            let fault = SettingError::new("`ca_file` has no effect: the server has no TLS");
            section.warn(at, fault.help("leave it out, or write a URL that begins with `rediss://`"));
        }
    }
}

const TLS_SCHEME: &str = "rediss://";

/// Reads the URL of a server; empty for none.
fn engine_url(node: &Node) -> Read<String> {
    if node.is_null() || node.is_text("") {
        return Ok(String::new());
    }
    let url = values::text("a URL", node)?;
    let help = "write `redis://host:port`, or `rediss://host:port` with TLS";
    let rest = url.strip_prefix(TLS_SCHEME).or_else(|| url.strip_prefix("redis://"));
    let Some(rest) = rest else {
        let fault = SettingError::new(format!("{} is not the URL of a Valkey or Redis", values::quote_url(url)));
        return Err(fault.help(help));
    };
    if rest.contains('@') {
        // The URL has a secret, so no error repeats it.
        let fault = SettingError::new("the URL has a user or a password");
        return Err(fault.help("write them as `fleet.username` and `fleet.password`"));
    }
    let (address, db) = rest.split_once('/').unwrap_or((rest, ""));
    if values::host_and_port(address).is_some() && db.bytes().all(|digit| digit.is_ascii_digit()) && db.len() < 6 {
        return Ok(url.to_owned());
    }
    Err(SettingError::new(format!("{} is not a valid URL of a server", values::quote_url(url))).help(help))
}

fn password(node: &Node) -> Read<Option<Password>> {
    if node.is_null() || node.is_text("") {
        return Ok(None);
    }
    let NodeValue::Scalar(ScalarNode { text, .. }) = &node.value else {
        return Err(values::expected("a password", node));
    };
    if text.len() > PASSWORD_BYTES_MAX || text.chars().any(char::is_control) {
        let fault = SettingError::new(format!("the password must be at most {PASSWORD_BYTES_MAX} bytes"));
        return Err(fault.help("without control characters, such as a line break at its end"));
    }
    Ok(Some(Password(text.clone())))
}

fn user_name(node: &Node) -> Read<String> {
    values::name(node, "a user", USERNAME_BYTES_MAX)
}

fn fleet_name(node: &Node) -> Read<String> {
    let name = values::name(node, "the name of a fleet", NAME_BYTES_MAX)?;
    if name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':')) {
        return Ok(name);
    }
    let fault = SettingError::new(format!("{} is not a valid name of a fleet", quote(&name)));
    Err(fault.help("letters, digits, `-`, `_`, `.` and `:`"))
}

section! {
    /// The instance that takes undecided traces ([handoff.md](handoff.md)).
    #[derive(Clone, Debug, PartialEq)]
    pub struct Handoff {
        /// The address that takes OTLP over gRPC: `https://host[:port]`, or `http://host:port` for plaintext. On Cloud Run,
        /// write the URL of this service itself: it leads to the new revision. Empty: undecided traces are decided on the
        /// spans that have come.
        pub endpoint: String = String::new(), ByHand::of(Shape::Text("string")).default("");
        /// Headers of each call, such as `authorization: "Bearer ${env:TOKEN}"`, as in `export.headers`.
        pub headers: HeaderMap = HeaderMap::new(), ByHand::of(Shape::Secret(Box::new(Shape::OwnKeys)));
        /// True if calls carry an ID token of this machine's service account for the endpoint, from the metadata server.
        /// Cloud Run asks for one unless unauthenticated calls are allowed, and so does a receiver with `otlp.auth.google`.
        pub id_token: bool = false, Bool;
        /// TLS to an endpoint with `https://`.
        pub tls: ExportTls = ExportTls::default(), Sub;
    }
    check: Handoff::check;
}

impl Handoff {
    fn has_endpoint(&self) -> bool {
        !self.endpoint.is_empty()
    }

    fn check(&mut self, section: &mut Section<'_>) {
        read_headers(section, &mut self.headers);
        section.set("endpoint", &mut self.endpoint, |node| {
            if node.is_null() || node.is_text("") {
                return Ok(String::new());
            }
            let url = values::text("an endpoint", node)?;
            match read_endpoint(node) {
                Ok(Endpoint::Tls(url) | Endpoint::Plaintext(url)) => Ok(url),
                Err(fault) if url.starts_with("https://") || url.starts_with("http://") => Err(fault),
                _ => {
                    let fault = SettingError::new(format!(
                        "{} is not the address of another Spansieve",
                        values::quote_url(url)
                    ));
                    Err(fault.help("write `https://host[:port]` or `http://host:port`"))
                }
            }
        });
        let at = section.entry("id_token").map(|(at, _)| at);
        if let Some(at) = at.filter(|_| self.id_token && self.endpoint.starts_with("http://")) {
            let fault = SettingError::new("an ID token would be sent in plaintext");
            section.error(at, fault.help("write an endpoint that begins with `https://`, or leave `id_token` out"));
        }
    }
}
