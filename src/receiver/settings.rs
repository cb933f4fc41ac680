//! The section `otlp` of the configuration: where spans come in.

use std::path::PathBuf;

use http::{HeaderName, Uri};
use rustls::crypto::ring::default_provider;

use crate::settings::diagnostic::{SettingError, quote};
use crate::settings::kinds::{
    ADDRESS, Bool, ByHand, ByteCount, Filled, List, Maybe, ParsedText, RequiredList, SubIf, WholeNumber,
};
use crate::settings::node::{Node, NodeValue, ScalarNode};
use crate::settings::reader::Section;
use crate::settings::setting::{Preset, Shape};
use crate::settings::values::{self, Read, is_host};
use crate::settings::{GIB, KIB, Limit, section};
use crate::trust::id_token::CERTS_URL;
use crate::trust::pem::{self, PemError};
use crate::trust::token::{TOKEN_CHARS_STRONG, TOKENS_MAX, Tokens};

/// Bytes of an audience or an account: an ID token holds both.
const CLAIM_BYTES_MAX: usize = 2048;
/// Bytes of a URL, of an origin and of the name of a header.
const URL_BYTES_MAX: usize = 2048;

const ADDRESSES: Limit<usize> = Limit { min: 1, max: 16, why: "each address is a socket of its own" };
const REQUEST_BYTES: Limit<u64> =
    Limit { min: KIB, max: GIB, why: "a request is held whole in memory, and places in it are 32-bit numbers" };

section! {
    /// The entrance of spans: addresses, limits and authentication.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Otlp {
        /// Addresses to listen on, each `host:port`. Each speaks gRPC, HTTP/1.1 and HTTP/2, and serves `/metrics` (unless
        /// `telemetry.listen` does), `/livez`, `/readyz` and grpc.health.v1.
        pub listen: Vec<String> = vec!["0.0.0.0:4317".into(), "0.0.0.0:4318".into()], List { of: ADDRESS, count: ADDRESSES };
        /// The largest request after inflation. A larger one is refused (413 or RESOURCE_EXHAUSTED).
        pub max_request_bytes: usize = 16 << 20, ByteCount::within(REQUEST_BYTES);
        /// Answers gRPC server reflection (v1 and v1alpha), so that `grpcurl` and similar tools can list the services and
        /// their messages without `.proto` files. Callers need no token, because the answers only contain the public
        /// definition of OTLP.
        pub reflection: bool = false, Bool;
        /// The clients that may send spans; without this section every client may. A request needs
        /// `authorization: Bearer TOKEN` with a token that one of the two methods accepts; this is checked before its body
        /// is read. Probes, `/metrics` and `/` need no token: move `/metrics` with `telemetry.listen`.
        /// [security.md](security.md) says how senders get tokens.
        pub auth: Option<AuthSettings> = None, Filled;
        /// TLS (1.2 and 1.3) on all these addresses, with HTTP/2 and HTTP/1.1 by ALPN; without this section, plaintext. The
        /// files are read again every minute: renewed certificates are used for new connections. If a file cannot be used,
        /// the previous one stays in force, and the failure is logged and counted. [security.md](security.md) says how.
        pub tls: Option<ServerTls> = None, Filled;
        /// Lets scripts in browsers send to `/v1/traces` (OTLP/HTTP), as the Collector's section of this name does; without
        /// it, browsers refuse to send. Preflight requests need no token. Every visitor of a page can read a token in that
        /// page.
        pub cors: Option<CorsSettings> = None, SubIf(CorsSettings::has_origins);
    }
}

const CORS_ITEMS: Limit<usize> =
    Limit { min: 0, max: 100, why: "each is compared with that of every request of a browser" };
const CORS_AGE_S: Limit<u64> =
    Limit { min: 0, max: 86_400, why: "it is a number of seconds, and browsers remember a day at most" };

section! {
    /// The scripts in browsers that may send.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CorsSettings {
        /// The origins of pages, such as `https://shop.example`. One `*` may stand for any text
        /// (`https://*.shop.example`), and `*` alone for every origin. Without an origin the section has no effect, and
        /// headers that are listed bring a warning.
        pub allowed_origins: Vec<String> = Vec::new(), List { of: ORIGIN, count: CORS_ITEMS };
        /// Headers that scripts may send beside `Accept`, `Content-Type`, `Origin` and `X-Requested-With`; `*`: any.
        pub allowed_headers: Vec<String> = Vec::new(), List { of: HEADER, count: CORS_ITEMS };
        /// Seconds for which a browser may remember the answer to a preflight request. Without it, the browser decides,
        /// which is some seconds.
        pub max_age_s as "max_age": Option<u32> = None, Maybe(WholeNumber::within(CORS_AGE_S));
    }
    check: CorsSettings::check;
}

const ORIGIN: ParsedText<String> = ParsedText { word: "string", read: origin };
const HEADER: ParsedText<String> = ParsedText { word: "string", read: cors_header };

impl CorsSettings {
    fn has_origins(&self) -> bool {
        !self.allowed_origins.is_empty()
    }

    fn check(&mut self, section: &mut Section<'_>) {
        if self.allowed_origins.is_empty() && !self.allowed_headers.is_empty() {
            // The Collector warns of this, too.
            let fault = SettingError::new("`cors` without `allowed_origins` accepts no browser");
            section.warn(section.at(), fault.help("write `allowed_origins: [\"https://...\"]`, or leave `cors` out"));
        }
    }
}

section! {
    /// The clients that may send. A request needs a token that one of the methods accepts.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct AuthSettings {
        /// Static tokens of letters, digits and `-._~+/`, with `=` at the end. Shorter ones than 16 characters bring a
        /// warning.
        pub bearer: Option<Bearer> = None, Filled;
        /// Google's ID tokens.
        pub google: Option<GoogleIdTokens> = None, Filled;
    }
    check: AuthSettings::check;
}

impl AuthSettings {
    fn check(&mut self, section: &mut Section<'_>) {
        if !section.has("bearer") && !section.has("google") {
            let fault = SettingError::new("`auth` without a method refuses every sender");
            let help = "write `bearer` or `google` into it, or leave it out to accept every sender";
            section.error(section.at(), fault.help(help));
        }
    }
}

const STATIC_TOKENS: Limit<usize> =
    Limit { min: 1, max: TOKENS_MAX, why: "each is compared with that of every request" };

section! {
    /// Static tokens; at least one of the two fields has one.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Bearer {
        /// Tokens, all of them valid at once: an old one and a new one during a rotation. Empty ones are left
        /// out, so that `'${env:OLD_TOKEN:-}'` can be written. There must be a token here or a file.
        pub tokens: Tokens = Tokens::default(), ByHand::list(Shape::Secret(Box::new(Shape::OrNothing(Box::new(Shape::Text("string"))))), &STATIC_TOKENS);
        /// A file of further tokens, one a line; lines that begin with `#` are comments. It is read again every minute. If
        /// the file cannot be read or holds an invalid token, the previous tokens stay in force, and the failure is logged
        /// and counted.
        pub tokens_file: Option<PathBuf> = None, ByHand::of(PATH);
    }
    check: Bearer::read_tokens;
}

/// The path of a file that may be left out.
const PATH: Shape = Shape::Text("path");

impl Bearer {
    fn read_tokens(&mut self, section: &mut Section<'_>) {
        for node in section.items("tokens", &STATIC_TOKENS).unwrap_or_default() {
            // Empty means none, so that `${env:OLD_TOKEN:-}` can be written.
            section.check(node, |node| match token(node)? {
                Some(token) => self.tokens.add(token).map_err(|error| SettingError::new(error.to_string())),
                None => Ok(()),
            });
        }
        let files = section.files();
        let filed = section.read("tokens_file", |node| {
            if node.is_null() {
                return Ok(None);
            }
            let (path, contents) = values::file(node, files, "a file with tokens")?;
            let tokens = Tokens::parse(&contents).map_err(|error| values::file_fault(&path, &error))?;
            Ok(Some((path, tokens)))
        });
        let filed = filed.flatten();
        let all = [("tokens", Some(&self.tokens)), ("tokens_file", filed.as_ref().map(|(_, tokens)| tokens))];
        for (key, _) in all.into_iter().filter(|(_, tokens)| tokens.is_some_and(Tokens::has_weak)) {
            let at = section.entry(key).map_or(section.at(), |(at, _)| at);
            let fault =
                SettingError::new(format!("a token of less than {TOKEN_CHARS_STRONG} characters can be guessed"));
            section.warn(at, fault.help("make tokens with `openssl rand -hex 32`"));
        }
        let names_file = section.entry("tokens_file").is_some_and(|(_, node)| !node.is_null());
        // A value that cannot be read is reported, and may be a token.
        if self.tokens.is_empty() && !names_file && !section.has_unreadable() {
            let fault = SettingError::new("there is no token in `bearer`");
            section.error(section.at(), fault.help("write `tokens: ['${env:TOKEN}']` or `tokens_file: PATH`"));
        }
        self.tokens_file = filed.map(|(path, _)| path);
    }
}

const AUDIENCES: Limit<usize> = Limit { min: 1, max: 64, why: "each is compared with that of every new token" };
const ACCOUNTS: Limit<usize> = Limit { min: 1, max: 1000, why: "each is compared with that of every new token" };

section! {
    /// Google's ID tokens.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct GoogleIdTokens {
        /// The audiences that tokens may be made for; usually the URL of this service.
        pub audiences: Vec<String> = Vec::new(),
            RequiredList(List { of: CLAIM, count: AUDIENCES }, "[\"https://...\"]");
        /// The accounts that may send, by e-mail address, or by unique number for tokens without an address. Patterns are
        /// not accepted, because every person can have an account at some address.
        pub service_accounts: Vec<String> = Vec::new(),
            RequiredList(List { of: ACCOUNT, count: ACCOUNTS }, "[name@...]");
        /// The URL of the keys that tokens are signed with. `http://` is accepted only for this machine.
        pub certs_url: String = CERTS_URL.to_owned(), KEYS_URL;
    }
}

const CLAIM: ParsedText<String> = ParsedText { word: "string", read: claim };
const ACCOUNT: ParsedText<String> = ParsedText { word: "string", read: account };
const KEYS_URL: ParsedText<String> = ParsedText { word: "URL", read: certs_url };

section! {
    /// Files in PEM that could be used when the configuration was read. They may be renewed later.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ServerTls {
        /// PEM: the server's certificate, followed by those that lead to an authority.
        pub cert_file: PathBuf = PathBuf::new(), ByHand::of(PATH).or(Preset::Required);
        /// PEM: its private key, not encrypted.
        pub key_file: PathBuf = PathBuf::new(), ByHand::of(PATH).or(Preset::Required);
        /// PEM: the authorities for clients. Each client must show a certificate of one of them (mutual TLS), including
        /// probes of these addresses. Empty: clients need no certificate.
        pub client_ca_file: Option<PathBuf> = None, ByHand::of(Shape::OrNothing(Box::new(PATH)));
    }
    check: ServerTls::read_files;
}

impl ServerTls {
    fn read_files(&mut self, section: &mut Section<'_>) {
        let files = section.files();
        let cert = section.require("cert_file", |node| values::file(node, files, values::PEM_FILE));
        let key = section.require("key_file", |node| values::file(node, files, values::PEM_FILE));
        // Empty means none, so that `${env:CLIENT_CA_FILE:-}` can be written.
        let client_ca_file = section.read("client_ca_file", |node| {
            if node.is_null() {
                return Ok(None);
            }
            let (path, authorities) = values::file(node, files, values::PEM_FILE)?;
            pem::authorities(&authorities).map_err(|error| values::file_fault(&path, &error))?;
            Ok(Some(path))
        });
        self.client_ca_file = client_ca_file.flatten();
        let Some(((cert_file, cert), (key_file, key))) = cert.zip(key) else { return };
        if let Err(error) = pem::certified_key(&cert, &key, &default_provider()) {
            let (name, path) = match error {
                PemError::NoCertificate | PemError::Certificate { .. } => ("cert_file", &cert_file),
                PemError::NoKey | PemError::Key(_) | PemError::Mismatch => ("key_file", &key_file),
            };
            let at = section.entry(name).map_or(section.at(), |(_, node)| node.at);
            section.error(at, values::file_fault(path, &error));
        }
        (self.cert_file, self.key_file) = (cert_file, key_file);
    }
}

/// Reads a secret token; no error repeats it. `None` if it is empty.
fn token(node: &Node) -> Read<Option<&[u8]>> {
    match &node.value {
        NodeValue::Scalar(ScalarNode { text, .. }) if node.is_null() || text.is_empty() => Ok(None),
        NodeValue::Scalar(ScalarNode { text, .. }) => Ok(Some(text.as_bytes())),
        _ => Err(values::expected("a token", node)),
    }
}

/// Reads the value of a claim of an ID token.
fn claim(node: &Node) -> Read<String> {
    values::name(node, "a claim", CLAIM_BYTES_MAX)
}

/// Reads a Google account: its e-mail address, or its unique number.
fn account(node: &Node) -> Read<String> {
    let account = values::name(node, "an account", CLAIM_BYTES_MAX)?;
    let is_number = account.bytes().all(|byte| byte.is_ascii_digit());
    let is_address =
        account.split_once('@').is_some_and(|(name, host)| is_host(host) && !name.is_empty() && !name.contains('*'));
    if is_number || is_address {
        return Ok(account);
    }
    let fault = SettingError::new(format!("{} is not a valid account", quote(&account)));
    Err(fault.help("write each one's e-mail address, such as `name@project.iam.gserviceaccount.com`, or unique number"))
}

/// Reads an origin of scripts, in which one `*` may stand for any text.
fn origin(node: &Node) -> Read<String> {
    let origin = values::name(node, "an origin", URL_BYTES_MAX)?;
    let fault = || SettingError::new(format!("{} is not an origin", values::quote_url(&origin)));
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

/// Reads the name of a header that scripts may send, or `*`.
fn cors_header(node: &Node) -> Read<String> {
    let header = values::name(node, "a header", URL_BYTES_MAX)?;
    match header == "*" || HeaderName::from_bytes(header.as_bytes()).is_ok() {
        true => Ok(header),
        false => Err(SettingError::new(format!("{} is not the name of a header", quote(&header)))),
    }
}

/// Reads the URL of keys. It may be without TLS only on this machine, because anyone on the network could replace the keys.
fn certs_url(node: &Node) -> Read<String> {
    let url = values::name(node, "a URL", URL_BYTES_MAX)?;
    let fault = || SettingError::new(format!("{} is not a valid URL of keys", values::quote_url(&url)));
    let uri = url.parse::<Uri>().map_err(|_| fault().help("write `https://host/path`"))?;
    let host = uri.host().unwrap_or_default();
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => Ok(url),
        Some("http") if ["127.0.0.1", "[::1]", "localhost"].contains(&host) => Ok(url),
        Some("http") => {
            Err(fault().help("write `https://`: without TLS, any machine on the way could send keys of its own"))
        }
        _ => Err(fault().help("write `https://host/path`")),
    }
}
