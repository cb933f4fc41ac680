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

/// Returns a scrape of a text of this many lines.
fn scrape(lines: usize) -> Scrape {
    Arc::new(move |_, out| (0..lines).try_for_each(|_| out.write_str(LINE)))
}

const LINE: &str = "spansieve_received_spans_total 17\n";

const GZIP: ScrapeForm = ScrapeForm { format: Format::OpenMetrics, gzip: true };
const PLAIN: ScrapeForm = ScrapeForm { format: Format::OpenMetrics, gzip: false };

#[test]
fn only_a_large_text_is_compressed() {
    let budget = Budget::new(64 << 20);
    let (body, _, headers) = GZIP.answer(&scrape(1), &budget).unwrap();
    assert_eq!((&body[..], headers.get(CONTENT_ENCODING)), (LINE.as_bytes(), None));
    assert_eq!(headers[CONTENT_TYPE], OPEN_METRICS_TYPE);
    for lines in [200, 1_000, 100_000] {
        let (body, _, headers) = GZIP.answer(&scrape(lines), &budget).unwrap();
        assert_eq!(headers[CONTENT_ENCODING], "gzip");
        assert!(body.len() < lines * LINE.len() / 10);
        let mut inflated = String::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut inflated).unwrap();
        assert!(inflated == LINE.repeat(lines), "{lines} lines");
        let (body, _, headers) = PLAIN.answer(&scrape(lines), &budget).unwrap();
        assert!(body == inflated.as_bytes() && !headers.contains_key(CONTENT_ENCODING), "{lines} lines");
    }
}

#[test]
fn a_text_is_charged_before_it_is_in_memory() {
    let budget = Budget::new(4 << 20);
    // 34 MB of text.
    let large = scrape(1_000_000);
    let (body, share, _) = GZIP.answer(&large, &budget).unwrap();
    assert_eq!((budget.used_bytes(), share.bytes()), (body.capacity(), body.capacity()));
    assert!(body.capacity() < 1 << 20, "{}", body.capacity());
    drop(share);
    assert!(PLAIN.answer(&large, &budget).is_none(), "there is no room for the text itself");
    assert_eq!(budget.used_bytes(), 0);
    let (body, share, _) = PLAIN.answer(&scrape(70_000), &budget).unwrap();
    assert_eq!((budget.used_bytes(), share.bytes()), (body.capacity(), body.capacity()));
    assert!(body.capacity() > BYTES_FREE);
}

#[test]
fn a_small_text_needs_no_room() {
    let budget = Budget::new(1 << 20);
    let _full = budget.force(1 << 20);
    for form in [GZIP, PLAIN] {
        assert!(form.answer(&scrape(10_000), &budget).is_some(), "340 KB");
    }
    assert!(PLAIN.answer(&scrape(40_000), &budget).is_none(), "1.4 MB");
}
