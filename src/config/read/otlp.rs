//! `otlp`: where spans come in.

use rustls::crypto::ring::default_provider;

use crate::config::Files;
use crate::config::limits::{LISTEN_COUNT, REQUEST_BYTES};
use crate::config::section::Section;
use crate::config::settings::{Otlp, ServerTls};
use crate::config::values;
use crate::trust::pem::{self, PemError};

pub(super) fn otlp(mut section: Section<'_>, files: Files<'_>, otlp: &mut Otlp) {
    section.set_list("listen", &LISTEN_COUNT, &mut otlp.listen, values::address);
    section.set("max_request_bytes", &mut otlp.max_request_bytes, |node| values::byte_count(node, &REQUEST_BYTES));
    if let Some(section) = section.section("tls") {
        otlp.tls = tls(section, files);
    }
}

fn tls(mut section: Section<'_>, files: Files<'_>) -> Option<ServerTls> {
    let cert = section.require("cert_file", |node| values::pem_file(node, files));
    let key = section.require("key_file", |node| values::pem_file(node, files));
    // Empty means none, so that `${env:CLIENT_CA_FILE:-}` can be written.
    let client_ca_file = section.read("client_ca_file", |node| {
        if node.is_null() {
            return Ok(None);
        }
        let (path, authorities) = values::pem_file(node, files)?;
        pem::authorities(&authorities).map_err(|error| values::pem_fault(&path, &error))?;
        Ok(Some(path))
    });
    let ((cert_file, cert), (key_file, key)) = cert.zip(key)?;
    if let Err(error) = pem::certified_key(&cert, &key, &default_provider()) {
        let (name, path) = match error {
            PemError::NoCertificate | PemError::Certificate { .. } => ("cert_file", &cert_file),
            PemError::NoKey | PemError::Key(_) | PemError::Mismatch => ("key_file", &key_file),
        };
        let at = section.entry(name).map_or(section.at(), |(_, node)| node.at);
        section.error(at, values::pem_fault(path, &error));
    }
    Some(ServerTls { cert_file, key_file, client_ca_file: client_ca_file.flatten() })
}
