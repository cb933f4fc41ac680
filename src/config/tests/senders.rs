//! The authentication of senders, and the addresses that are not theirs: `otlp.auth`, `otlp.tls`, `telemetry.listen`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::receiver::settings::{AuthSettings, Bearer, GoogleIdTokens, ServerTls};
use crate::trust::id_token::CERTS_URL;
use crate::trust::token::Tokens;

/// Files by their paths.
fn files() -> BTreeMap<&'static str, String> {
    let pair = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (one, other) = (pair(), pair());
    BTreeMap::from([
        ("/cert.pem", one.cert.pem()),
        ("/key.pem", one.signing_key.serialize_pem()),
        ("/other.pem", other.signing_key.serialize_pem()),
        ("/empty", "# none yet\n".to_owned()),
        ("/tokens", "first-token-0123456789\nsecond-token-0123456789\n".to_owned()),
        ("/weak", "short\n".to_owned()),
    ])
}

fn load(text: &str, files: &BTreeMap<&str, String>) -> Result<Loaded, ConfigError> {
    super::super::load_with_files(text, &env, &|path| {
        let file = path.to_str().and_then(|path| files.get(path));
        file.map(|text| text.clone().into_bytes()).ok_or_else(|| io::ErrorKind::NotFound.into())
    })
}

/// Returns the first problem, with its position.
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
        ("tls:", "2:3: there is nothing in `tls`"),
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
    let embedded = "export: {endpoint: embedded, embedded: {listen: '0.0.0.0:9000'}}\n";
    let bad = [
        ("", "9090", "1:21: `9090` is not a valid listen address"),
        ("", "127.0.0.1:4318", "1:21: `127.0.0.1:4318` of `telemetry` is taken by `0.0.0.0:4318` of `otlp`"),
        (embedded, "127.0.0.1:9000", "2:21: `127.0.0.1:9000` of `telemetry` is taken by `0.0.0.0:9000` of `export.emb"),
    ];
    for (before, text, expected) in bad {
        let said = first_problem(&format!("{before}telemetry: {{listen: '{text}'}}\n"), &files);
        assert!(said.starts_with(expected), "{text}: {said}");
    }
}

#[test]
fn the_api_may_share_an_address_but_not_with_every_sender() {
    let files = BTreeMap::new();
    let warnings = |text: &str| -> Vec<String> {
        let loaded = load(text, &files).unwrap();
        loaded.warnings.iter().map(ToString::to_string).collect()
    };
    let token = "auth: {bearer: {tokens: [0123456789abcdef]}}";
    for good in [
        "api: {listen: }",
        "api: {listen: '127.0.0.1:8090'}",
        "telemetry: {listen: '127.0.0.1:9464'}\napi: {listen: '127.0.0.1:9464'}",
        &format!("api: {{listen: '0.0.0.0:4318', {token}}}"),
        &format!("otlp: {{{token}}}\napi: {{listen: '0.0.0.0:4318'}}"),
    ] {
        assert_eq!(warnings(good), Vec::<String>::new(), "{good}");
    }
    let open = warnings("api: {listen: '0.0.0.0:4318'}");
    assert!(matches!(&open[..], [one] if one.starts_with("1:15: every client that can send spans")), "{open:?}");
    let recording = "recording: {enabled: true}";
    let open = warnings(&format!("api: {{listen: '0.0.0.0:8090', {recording}}}"));
    let expected = "1:52: every client that can reach `0.0.0.0:8090` can record all spans";
    assert!(matches!(&open[..], [one] if one.starts_with(expected)), "{open:?}");
    let idle = warnings(&format!("api: {{{recording}}}"));
    assert!(matches!(&idle[..], [one] if one.starts_with("1:6: `recording` has no effect")), "{idle:?}");
    for good in ["127.0.0.1:8090', ", "localhost:8090', ", &format!("0.0.0.0:8090', {token}, ")] {
        assert_eq!(warnings(&format!("api: {{listen: '{good}{recording}}}")), Vec::<String>::new(), "{good}");
    }
    for (bad, expected) in [
        ("api: {listen: '127.0.0.1:4318'}", "1:15: `127.0.0.1:4318` of `api` is taken by `0.0.0.0:4318` of `otlp`"),
        ("api: {listen: '127.0.0.1:8080'}\nexport: {endpoint: embedded}", "1:15: `127.0.0.1:8080` of `api` is taken"),
        ("api: {auth: {}}", "1:13: `auth` without a method"),
    ] {
        let said = first_problem(&format!("{bad}\n"), &files);
        assert!(said.starts_with(expected), "{bad}: {said}");
    }
}

#[test]
fn auth() {
    let files = files();
    let tokens = |tokens: &[&str]| {
        let mut all = Tokens::default();
        tokens.iter().for_each(|token| all.add(token.as_bytes()).unwrap());
        all
    };
    let bearer = |text: &[&str], file: Option<&str>| {
        let bearer = Bearer { tokens: tokens(text), tokens_file: file.map(PathBuf::from) };
        Some(AuthSettings { bearer: Some(bearer), google: None })
    };
    let google = |certs_url: &str| {
        let audiences = vec!["https://spansieve.example".to_owned()];
        let service_accounts = vec!["a@b.iam.gserviceaccount.com".to_owned(), "1234".to_owned()];
        GoogleIdTokens { audiences, service_accounts, certs_url: certs_url.to_owned() }
    };
    let senders = "audiences: ['https://spansieve.example'], service_accounts: [a@b.iam.gserviceaccount.com, '1234']";
    let good = [
        (String::new(), None),
        ("bearer: {tokens: [a-token-0123456789]}".into(), bearer(&["a-token-0123456789"], None)),
        (
            "bearer: {tokens: [a-token-0123456789, '${env:EMPTY}', '123456789012345678']}".into(),
            bearer(&["a-token-0123456789", "123456789012345678"], None),
        ),
        ("bearer: {tokens_file: /tokens}".into(), bearer(&[], Some("/tokens"))),
        (format!("google: {{{senders}}}"), Some(AuthSettings { bearer: None, google: Some(google(CERTS_URL)) })),
        (
            format!("google: {{{senders}, certs_url: 'http://127.0.0.1:8/x'}}"),
            Some(AuthSettings { bearer: None, google: Some(google("http://127.0.0.1:8/x")) }),
        ),
    ];
    for (text, expected) in good {
        let text = if text.is_empty() { text } else { format!("otlp:\n  auth:\n    {text}\n") };
        let loaded = load(&text, &files).unwrap_or_else(|problems| panic!("{text}: {problems}"));
        assert_eq!((loaded.settings.otlp.auth, loaded.warnings), (expected, vec![]), "{text}");
    }
    let bad = [
        ("", "2:3: there is nothing in `auth`"),
        ("{}", "3:5: `auth` without a method refuses every sender"),
        ("bearer:", "3:5: there is nothing in `bearer`"),
        ("bearer: {}", "3:13: there is no token in `bearer`"),
        ("bearer: {tokens: []}", "3:13: there is no token in `bearer`"),
        ("bearer: {tokens: ['${env:EMPTY}']}", "3:13: there is no token in `bearer`"),
        ("bearer: {tokens: [two words]}", "3:13: there is no token in `bearer`"),
        ("bearer: {tokens: [good-0123456789-abc, s3cret/$]}", "3:44: a token is made of letters, digits and"),
        ("bearer: {tokens: [short]}", "warning 3:14: a token of less than 16 characters can be guessed"),
        ("bearer: {tokens_file: /weak}", "warning 3:14: a token of less than 16 characters can be guessed"),
        ("bearer: {tokens_file: /missing}", "3:27: cannot read `/missing`"),
        ("bearer: {tokens_file: /empty}", "3:27: `/empty`: there is no token in it"),
        ("bearer: {tokens_file: /cert.pem}", "3:27: `/cert.pem`: a token is made of letters"),
        ("google: {}", "3:13: the key `audiences` is missing"),
        ("google: {audiences: [], service_accounts: ['1']}", "3:14: `audiences` is an empty list"),
        ("google: {audiences: [a]}", "3:13: the key `service_accounts` is missing"),
        ("google: {audiences: [a], service_accounts: []}", "3:30: `service_accounts` is an empty list"),
        ("google: {audiences: [a], service_accounts: ['*@b.com']}", "3:49: `*@b.com` is not a valid account"),
        ("google: {audiences: [a], service_accounts: [b.com]}", "3:49: `b.com` is not a valid account"),
        ("google: {audiences: [a], service_accounts: ['@b.com']}", "3:49: `@b.com` is not a valid account"),
        ("google: {audiences: [a], service_accounts: ['1'], certs_url: 'http://keys.example/'}", "3:66: `http://keys"),
        (
            "google: {audiences: [a], service_accounts: ['1'], certs_url: keys}",
            "3:66: `keys` is not a valid URL of keys",
        ),
        ("basic: {}", "3:5: "),
    ];
    for (text, expected) in bad {
        let said = first_problem(&format!("otlp:\n  auth:\n    {text}\n"), &files);
        assert!(said.starts_with(expected), "{text}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[test]
fn a_token_that_cannot_be_read_is_one_error() {
    for section in ["otlp", "api"] {
        for bearer in ["tokens: ['${env:UNSET}']", "tokens_file: '${env:UNSET}'", "tokens: '${env:UNSET}'"] {
            let text = format!("{section}: {{auth: {{bearer: {{{bearer}}}}}}}");
            let said = said(&text);
            assert_eq!(said.lines().count(), 1, "{text}: {said}");
            assert!(said.contains("the environment variable `UNSET` is not set"), "{said}");
        }
    }
    assert!(said("otlp: {auth: {bearer: {tokens: []}}}").contains("there is no token"), "nothing is written");
}

#[test]
fn an_api_that_every_client_can_reach_is_warned_of() {
    let warned = |text: &str| said(text).contains("can ask the API");
    assert!(warned("api: {listen: '0.0.0.0:8090'}"));
    assert!(warned("api: {listen: '[::]:8090'}"));
    assert!(warned("telemetry: {listen: '0.0.0.0:8888'}\napi: {listen: '0.0.0.0:8888'}"), "shared with the metrics");
    assert!(!warned("api: {listen: '127.0.0.1:8090'}"));
    assert!(!warned("api: {listen: '[::1]:8090'}"));
    assert!(!warned("api: {listen: 'localhost:8090'}"));
    let auth = "auth: {bearer: {tokens: [0123456789abcdef0123]}}";
    assert!(!warned(&format!("api: {{listen: '0.0.0.0:8090', {auth}}}")));
    assert!(!warned(&format!("api: {{listen: '0.0.0.0:8090'}}\notlp: {{{auth}}}")));
}
