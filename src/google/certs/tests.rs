use http::HeaderValue;

use super::*;
use crate::google::testing::{HANG, Metadata, answer, slowly};

#[test]
fn the_age_of_an_answer_reduces_its_freshness() {
    let cases = [
        (&[("cache-control", "public, max-age=19206, must-revalidate, no-transform")][..], Some(19_206)),
        (&[("cache-control", "public, max-age=100"), ("age", "30")], Some(70)),
        (&[("cache-control", "max-age=100"), ("age", "300")], Some(0)),
        (&[("cache-control", "max-age=100"), ("age", "old")], Some(100)),
        (&[("cache-control", "max-age=soon")], None),
        (&[("cache-control", "no-store")], None),
        (&[], None),
    ];
    for (headers, expected) in cases {
        let headers: HeaderMap =
            headers.iter().map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect();
        assert_eq!(max_age(&headers), expected.map(Duration::from_secs), "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_complete_answer_in_time_is_accepted() {
    let large = "x".repeat(BODY_BYTES_MAX + 1);
    let cases = [
        (answer("200 OK", "Cache-Control: max-age=60\r\n", "{}"), Ok("{}")),
        (answer("404 Not Found", "", "{}"), Err("status 404")),
        (answer("302 Found", "Location: http://127.0.0.1:1/\r\n", "{}"), Err("status 302")),
        (answer("200 OK", "", &large), Err("more than 262144 bytes")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{}".to_owned(), Err("")),
        (HANG.to_owned(), Err("")),
    ];
    let server = Metadata::start(cases.iter().map(|(answer, _)| answer.clone()).collect()).await;
    let url = format!("http://{}/certs", server.host);
    let certs = Certs::at(&url).unwrap();
    slowly(async {
        for (answer, expected) in &cases {
            match (certs.fetch().await, expected) {
                (Ok(fetched), Ok(json)) => {
                    let max_age = Some(Duration::from_secs(60));
                    assert_eq!(fetched, Fetched { json: json.as_bytes().to_vec(), max_age });
                }
                (Err(error), Err(cause)) => {
                    let expected = format!("cannot fetch the keys of ID tokens from {url}: {cause}");
                    assert!(error.to_string().starts_with(&expected), "{error}");
                }
                (found, _) => panic!("{answer:.100}: {found:?}"),
            }
        }
    })
    .await;
    assert!(server.requests().iter().all(|request| request.starts_with("get /certs http/1.1\r\n")));
}
