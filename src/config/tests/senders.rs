//! What senders prove themselves with, and where they cannot look: `otlp.tls`, `telemetry.listen`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::settings::ServerTls;
use super::*;

/// Files by their paths.
fn files() -> BTreeMap<&'static str, String> {
    let pair = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (one, other) = (pair(), pair());
    BTreeMap::from([
        ("/cert.pem", one.cert.pem()),
        ("/key.pem", one.signing_key.serialize_pem()),
        ("/other.pem", other.signing_key.serialize_pem()),
        ("/empty", String::new()),
    ])
}

fn load(text: &str, files: &BTreeMap<&str, String>) -> Result<Loaded, Problems> {
    super::super::load_with_files(text, &env, &|path| {
        let file = path.to_str().and_then(|path| files.get(path));
        file.map(|text| text.clone().into_bytes()).ok_or_else(|| io::ErrorKind::NotFound.into())
    })
}

/// What is said first, and where.
fn first_problem(text: &str, files: &BTreeMap<&str, String>) -> String {
    match load(text, files) {
        Ok(loaded) => loaded.warnings.first().map_or_else(String::new, |warning| format!("warning {warning}")),
        Err(problems) => problems.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

#[test]
fn tls() {
    let files = files();
    let tls = |client_ca_file: Option<&str>| ServerTls {
        cert_file: "/cert.pem".into(),
        key_file: "/key.pem".into(),
        client_ca_file: client_ca_file.map(PathBuf::from),
    };
    let good = [
        ("", None),
        ("tls:", None),
        ("tls: {cert_file: /cert.pem, key_file: /key.pem}", Some(tls(None))),
        ("tls:\n    cert_file: /cert.pem\n    key_file: /key.pem\n    client_ca_file: ${env:EMPTY}", Some(tls(None))),
        ("tls: {cert_file: /cert.pem, key_file: /key.pem, client_ca_file: /cert.pem}", Some(tls(Some("/cert.pem")))),
    ];
    for (text, expected) in good {
        let loaded =
            load(&format!("otlp:\n  {text}\n"), &files).unwrap_or_else(|problems| panic!("{text}: {problems}"));
        assert_eq!((loaded.settings.otlp.tls, loaded.warnings), (expected, vec![]), "{text}");
    }
    let bad = [
        ("tls: {key_file: /key.pem}", "2:8: the key `cert_file` is missing"),
        ("tls: {cert_file: /cert.pem}", "2:8: the key `key_file` is missing"),
        ("tls: {cert_file: /no.pem, key_file: /key.pem}", "2:20: cannot read `/no.pem`"),
        ("tls: {cert_file: /cert.pem, key_file: ''}", "2:41: cannot read ``"),
        ("tls: {cert_file: /empty, key_file: /key.pem}", "2:20: `/empty`: there is no certificate in it"),
        ("tls: {cert_file: /key.pem, key_file: /key.pem}", "2:20: `/key.pem`: there is no certificate in it"),
        ("tls: {cert_file: /cert.pem, key_file: /cert.pem}", "2:41: `/cert.pem`: there is no private key in it"),
        ("tls: {cert_file: /cert.pem, key_file: /other.pem}", "2:41: `/other.pem`: the private key is not the one of"),
        (
            "tls: {cert_file: /cert.pem, key_file: /key.pem, client_ca_file: /key.pem}",
            "2:67: `/key.pem`: there is no certificate in it",
        ),
        ("tls: {cert: /cert.pem}", "2:8: the key `cert_file` is missing"),
    ];
    for (text, expected) in bad {
        let said = first_problem(&format!("otlp:\n  {text}\n"), &files);
        assert!(said.starts_with(expected), "{text}: {said}");
    }
}

#[test]
fn an_address_of_its_own() {
    let files = BTreeMap::new();
    let good = [("", None), ("${env:EMPTY}", None), ("127.0.0.1:9090", Some("127.0.0.1:9090"))];
    for (text, expected) in good {
        let loaded = load(&format!("telemetry:\n  listen: {text}\n"), &files).unwrap();
        assert_eq!((loaded.settings.telemetry.listen.as_deref(), loaded.warnings), (expected, vec![]), "{text}");
    }
    let embedded = "cloud_trace: {endpoint: embedded, embedded: {listen: '0.0.0.0:9000'}}\n";
    let bad = [
        ("", "9090", "1:21: `9090` is no address to listen on"),
        ("", "127.0.0.1:4318", "1:21: `127.0.0.1:4318` of `telemetry` is taken by `0.0.0.0:4318` of `otlp`"),
        (
            embedded,
            "127.0.0.1:9000",
            "2:21: `127.0.0.1:9000` of `telemetry` is taken by `0.0.0.0:9000` of `cloud_trace.emb",
        ),
    ];
    for (before, text, expected) in bad {
        let said = first_problem(&format!("{before}telemetry: {{listen: '{text}'}}\n"), &files);
        assert!(said.starts_with(expected), "{text}: {said}");
    }
}
