use http::Request;

use super::*;

fn cors(origins: &[&str], headers: &[&str], max_age_s: Option<u32>) -> Cors {
    let list = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    Cors::new(&settings::CorsSettings { allowed_origins: list(origins), allowed_headers: list(headers), max_age_s })
}

/// Cases of the Collector's library: allowed origins, the request's origin, the origin in the answer.
#[test]
fn origins_match_with_one_wildcard() {
    let cases: [(&[&str], &str, Option<&str>); 9] = [
        (&["https://shop.example"], "https://shop.example", Some("https://shop.example")),
        (&["https://shop.example"], "HTTPS://Shop.example", Some("HTTPS://Shop.example")),
        (&["https://shop.example"], "http://shop.example", None),
        (&["https://*.shop.example"], "https://www.shop.example", Some("https://www.shop.example")),
        (&["https://*.shop.example"], "https://shop.example", None),
        (&["http://localhost:*"], "http://localhost:3000", Some("http://localhost:3000")),
        (&["https://a*a"], "https://a", None),
        (&["https://a", "https://b"], "https://b", Some("https://b")),
        (&["https://a", "*"], "null", Some("*")),
    ];
    for (origins, origin, named) in cases {
        let headers = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_str(origin).unwrap())]);
        let grant = cors(origins, &[], None).grant(&headers);
        assert_eq!(grant.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap()), named, "{origin}");
        assert_eq!(grant.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS), named.is_some());
        assert_eq!(grant[VARY], "Origin");
    }
}

#[test]
fn a_preflight_request_is_granted_as_a_whole_or_not_at_all() {
    let listed: &[&str] = &["X-Tenant", "authorization"];
    let cases: [(&[&str], &str, Option<&str>, bool); 8] = [
        (&[], "POST", None, true),
        (&[], "POST", Some("content-type"), true),
        (&[], "POST", Some("content-type,x-tenant"), false),
        (listed, "POST", Some("content-type, x-tenant,AUTHORIZATION"), true),
        (listed, "POST", Some("x-other"), false),
        (&["*"], "POST", Some("x-other,x-more"), true),
        (&[], "DELETE", None, false),
        (&[], "GET", Some(""), true),
    ];
    for (allowed, method, names, is_granted) in cases {
        let mut request = Request::options("/v1/traces").header(ORIGIN, "https://a");
        request = request.header(ACCESS_CONTROL_REQUEST_METHOD, method);
        if let Some(names) = names {
            request = request.header(ACCESS_CONTROL_REQUEST_HEADERS, names);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let answer = cors(&["https://a"], allowed, Some(600)).preflight(&parts).unwrap();
        let text = |name| answer.headers().get(name).map(|value: &HeaderValue| value.to_str().unwrap());
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert_eq!(text(VARY), Some(PREFLIGHT_VARY));
        let granted = [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_MAX_AGE].map(text);
        let expected = [Some("https://a"), Some(method), Some("600")].map(|text| text.filter(|_| is_granted));
        assert_eq!(granted, expected, "{allowed:?} {method} {names:?}");
        assert_eq!(text(ACCESS_CONTROL_ALLOW_HEADERS), names.filter(|_| is_granted));
    }
    let plain = Request::options("/v1/traces").header(ORIGIN, "https://a").body(()).unwrap().into_parts().0;
    assert!(cors(&["*"], &[], None).preflight(&plain).is_none(), "OPTIONS without a requested method");
}
