//! Tests of the hosts that a client may name.

use http::HeaderValue;

use super::*;

fn check(uri: &str, hosts: &[&str]) -> Result<(), String> {
    let allowed = Hosts::new("traces.internal:8080", &["Dev.Example".to_owned()]);
    let headers = hosts.iter().map(|host| (HOST, HeaderValue::from_str(host).unwrap())).collect();
    allowed.check(&uri.parse().unwrap(), &headers)
}

#[test]
fn only_names_that_cannot_be_rebound_are_answered() {
    let good = [
        "localhost",
        "localhost:8080",
        "LocalHost:8080",
        "localhost.:8080",
        "page.localhost:8080",
        "127.0.0.1",
        "127.0.0.1:8080",
        "192.168.1.7:8080",
        "[::1]",
        "[::1]:8080",
        "traces.internal:8080",
        "TRACES.internal",
        "dev.example:80",
    ];
    for host in good {
        assert_eq!(check("/api/traces", &[host]), Ok(()), "{host}");
        assert_eq!(check(&format!("http://{host}/api/traces"), &[host]), Ok(()), "{host}");
    }
    assert_eq!(check("/api/traces", &[]), Ok(()), "a request without a host does not come from a browser");
    let bad = [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "evil-localhost",
        "127.0.0.1.evil.example",
        "::1",
        "",
        "traces.internal.evil.example:8080",
    ];
    for host in bad {
        let said = check("/api/traces", &[host]).expect_err(host);
        assert!(said.contains("export.embedded.allowed_hosts"), "{said}");
    }
    assert!(check("/api/traces", &["localhost", "evil.example"]).is_err());
    assert!(check("http://evil.example/", &["localhost"]).is_err());
    assert!(check("http://localhost/", &["evil.example"]).is_err());
}
