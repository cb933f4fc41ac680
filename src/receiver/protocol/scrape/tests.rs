use std::io::Read;
use std::sync::Arc;

use super::*;

/// The `Accept` of Prometheus 2.53 and 3.
const OF_PROMETHEUS: [&str; 2] = [
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
];

fn asked(accept: &str, encoding: &str) -> ScrapeForm {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, accept.parse().unwrap());
    headers.insert(ACCEPT_ENCODING, encoding.parse().unwrap());
    ScrapeForm::asked(&headers)
}

#[test]
fn the_client_chooses_the_format() {
    for accept in OF_PROMETHEUS {
        assert_eq!(asked(accept, "").format, Format::OpenMetrics, "{accept}");
    }
    let cases = [
        ("", Format::Prometheus),
        ("*/*", Format::Prometheus),
        ("text/plain", Format::Prometheus),
        ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", Format::Prometheus),
        ("application/openmetrics-text", Format::OpenMetrics),
        ("Application/OpenMetrics-Text; version=1.0.0", Format::OpenMetrics),
        ("application/openmetrics-text;q=0.1,text/plain;q=0.9", Format::Prometheus),
        ("application/openmetrics-text;q=0,*/*", Format::Prometheus),
        ("application/openmetrics-text;q=x", Format::Prometheus),
    ];
    for (accept, format) in cases {
        assert_eq!(asked(accept, "").format, format, "{accept}");
    }
    assert_eq!(ScrapeForm::asked(&HeaderMap::new()), ScrapeForm { format: Format::Prometheus, gzip: false });
}

#[test]
fn the_client_chooses_the_compression() {
    for (encoding, gzip) in [("gzip", true), ("br, GZIP;q=0.5", true), ("*", true), ("gzip;q=0", false), ("br", false)]
    {
        assert_eq!(asked("", encoding).gzip, gzip, "{encoding}");
    }
}

#[test]
fn only_a_large_text_is_compressed() {
    let scrape = |text: String| -> Scrape { Arc::new(move |_| text.clone()) };
    let form = ScrapeForm { format: Format::OpenMetrics, gzip: true };
    let (body, headers) = form.answer(&scrape("x 1\n".to_owned()));
    assert_eq!((&body[..], headers.get(CONTENT_ENCODING)), (&b"x 1\n"[..], None));
    assert_eq!(headers[CONTENT_TYPE], OPEN_METRICS_TYPE);
    let text = "spansieve_received_spans_total 17\n".repeat(1_000);
    let (body, headers) = form.answer(&scrape(text.clone()));
    assert_eq!(headers[CONTENT_ENCODING], "gzip");
    assert!(body.len() < text.len() / 10);
    let mut inflated = String::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut inflated).unwrap();
    assert_eq!(inflated, text);
}
