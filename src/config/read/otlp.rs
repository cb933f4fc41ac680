//! `otlp`: where spans come in.

use rustls::crypto::ring::default_provider;

use crate::config::Files;
use crate::config::limits::{
    ACCOUNT_COUNT, AUDIENCE_COUNT, CORS_AGE_S, CORS_COUNT, LISTEN_COUNT, REQUEST_BYTES, TOKEN_COUNT,
};
use crate::config::settings::{Auth, Bearer, Cors, GoogleIdTokens, Otlp, ServerTls};
use crate::config::values::{self, PEM_FILE};
use crate::settings::fault::Fault;
use crate::settings::reader::Section;
use crate::trust::id_token::CERTS_URL;
use crate::trust::pem::{self, PemError};
use crate::trust::token::{TOKEN_CHARS_STRONG, Tokens};

pub(super) fn otlp(mut section: Section<'_>, files: Files<'_>, otlp: &mut Otlp) {
    section.set_list("listen", &LISTEN_COUNT, &mut otlp.listen, values::address);
    section.set("max_request_bytes", &mut otlp.max_request_bytes, |node| values::byte_count(node, &REQUEST_BYTES));
    section.set("reflection", &mut otlp.reflection, values::boolean);
    // Written and empty they look as if senders had to prove something.
    if let Some(section) = section.filled_section("auth") {
        otlp.auth = Some(auth(section, files));
    }
    if let Some(section) = section.filled_section("tls") {
        otlp.tls = tls(section, files);
    }
    if let Some(section) = section.section("cors") {
        otlp.cors = cors(section);
    }
}

fn cors(mut section: Section<'_>) -> Option<Cors> {
    let mut cors = Cors::default();
    section.set_list("allowed_origins", &CORS_COUNT, &mut cors.allowed_origins, values::origin);
    section.set_list("allowed_headers", &CORS_COUNT, &mut cors.allowed_headers, values::cors_header);
    cors.max_age_s = section.read("max_age", |node| values::integer(node, &CORS_AGE_S)).map(|seconds| seconds as u32);
    if cors.allowed_origins.is_empty() && !cors.allowed_headers.is_empty() {
        // As the Collector does.
        let fault = Fault::new("`cors` without `allowed_origins` lets no browser in");
        section.warn(section.at(), fault.help("write `allowed_origins: [\"https://...\"]`, or leave `cors` out"));
    }
    Some(cors).filter(|cors| !cors.allowed_origins.is_empty())
}

fn auth(mut section: Section<'_>, files: Files<'_>) -> Auth {
    if !section.has("bearer") && !section.has("google") {
        let fault = Fault::new("`auth` without a method lets nobody in");
        section
            .error(section.at(), fault.help("write `bearer` or `google` into it, or leave it out to let everybody in"));
    }
    let bearer = section.filled_section("bearer").map(|section| bearer(section, files));
    let google = section.filled_section("google").map(google);
    Auth { bearer, google }
}

fn bearer(mut section: Section<'_>, files: Files<'_>) -> Bearer {
    let mut tokens = Tokens::default();
    for node in section.items("tokens", &TOKEN_COUNT).unwrap_or_default() {
        // Empty means none, so that `${env:OLD_TOKEN:-}` can be written.
        section.check(node, |node| match values::token(node)? {
            Some(token) => tokens.add(token).map_err(|error| Fault::new(error.to_string())),
            None => Ok(()),
        });
    }
    let filed = section.read("tokens_file", |node| {
        if node.is_null() {
            return Ok(None);
        }
        let (path, contents) = values::file(node, files, "a file with tokens")?;
        let tokens = Tokens::parse(&contents).map_err(|error| values::file_fault(&path, &error))?;
        Ok(Some((path, tokens)))
    });
    let filed = filed.flatten();
    let all = [("tokens", Some(&tokens)), ("tokens_file", filed.as_ref().map(|(_, tokens)| tokens))];
    for (key, _) in all.into_iter().filter(|(_, tokens)| tokens.is_some_and(Tokens::has_weak)) {
        let at = section.entry(key).map_or(section.at(), |(at, _)| at);
        let fault = Fault::new(format!("a token of less than {TOKEN_CHARS_STRONG} characters can be guessed"));
        section.warn(at, fault.help("make tokens with `openssl rand -hex 32`"));
    }
    let names_file = section.entry("tokens_file").is_some_and(|(_, node)| !node.is_null());
    if tokens.is_empty() && !names_file {
        let fault = Fault::new("there is no token in `bearer`");
        section.error(section.at(), fault.help("write `tokens: ['${env:TOKEN}']` or `tokens_file: PATH`"));
    }
    Bearer { tokens, tokens_file: filed.map(|(path, _)| path) }
}

fn google(mut section: Section<'_>) -> GoogleIdTokens {
    let mut certs_url = CERTS_URL.to_owned();
    section.set("certs_url", &mut certs_url, values::certs_url);
    GoogleIdTokens {
        audiences: section.require_list("audiences", "[\"https://...\"]", &AUDIENCE_COUNT, values::claim),
        service_accounts: section.require_list("service_accounts", "[name@...]", &ACCOUNT_COUNT, values::account),
        certs_url,
    }
}

fn tls(mut section: Section<'_>, files: Files<'_>) -> Option<ServerTls> {
    let cert = section.require("cert_file", |node| values::file(node, files, PEM_FILE));
    let key = section.require("key_file", |node| values::file(node, files, PEM_FILE));
    // Empty means none, so that `${env:CLIENT_CA_FILE:-}` can be written.
    let client_ca_file = section.read("client_ca_file", |node| {
        if node.is_null() {
            return Ok(None);
        }
        let (path, authorities) = values::file(node, files, PEM_FILE)?;
        pem::authorities(&authorities).map_err(|error| values::file_fault(&path, &error))?;
        Ok(Some(path))
    });
    let ((cert_file, cert), (key_file, key)) = cert.zip(key)?;
    if let Err(error) = pem::certified_key(&cert, &key, &default_provider()) {
        let (name, path) = match error {
            PemError::NoCertificate | PemError::Certificate { .. } => ("cert_file", &cert_file),
            PemError::NoKey | PemError::Key(_) | PemError::Mismatch => ("key_file", &key_file),
        };
        let at = section.entry(name).map_or(section.at(), |(_, node)| node.at);
        section.error(at, values::file_fault(path, &error));
    }
    Some(ServerTls { cert_file, key_file, client_ca_file: client_ca_file.flatten() })
}
