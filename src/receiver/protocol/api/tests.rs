use http::Request;
use http_body::Body as _;

use super::*;

/// Gives a document of 1 MiB, and counts the questions.
#[derive(Default)]
struct Large(std::sync::atomic::AtomicUsize);

impl Api for Large {
    fn answer(&self, _: &str, _: Option<&str>) -> ApiAnswer {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        ApiAnswer::Document(StatusCode::OK, vec![b' '; 1 << 20].into())
    }
}

fn connection(peer: u8) -> Arc<Connection> {
    Arc::new(Connection::of([192, 0, 2, peer].into()))
}

async fn ask(routes: &ApiRoutes, connection: &Arc<Connection>) -> Response<ReplyBody> {
    let (parts, ()) = Request::get("/api/config").body(()).unwrap().into_parts();
    routes.answer(&parts, connection, &Metrics::new()).await
}

#[tokio::test]
async fn documents_that_are_not_read_are_few() {
    let api = Arc::new(Large::default());
    let routes = ApiRoutes::new(api.clone(), None, None);
    let mut unread = Vec::new();
    for peer in 0..20 {
        let connection = connection(peer);
        for _ in 0..20 {
            let answer = ask(&routes, &connection).await;
            match answer.status() {
                StatusCode::OK => unread.push(answer),
                status => {
                    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
                    assert!(answer.headers().contains_key(RETRY_AFTER));
                    assert!(answer.body().size_hint().exact().unwrap() < 200);
                }
            }
        }
    }
    assert!((3..=DOCUMENTS_MAX).contains(&unread.len()), "{}", unread.len());
    assert_eq!(api.0.load(std::sync::atomic::Ordering::Relaxed), unread.len(), "no document is made to be thrown away");
    unread.clear();
    assert_eq!(ask(&routes, &connection(1)).await.status(), StatusCode::OK, "the places are free again");
}

/// Gives a stream that never has anything to say.
struct Silent;

#[derive(Debug)]
struct Silence;

impl Api for Silent {
    fn answer(&self, _: &str, _: Option<&str>) -> ApiAnswer {
        ApiAnswer::Stream(Box::pin(Silence))
    }
}

impl http_body::Body for Silence {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, tonic::Status>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test]
async fn a_connection_and_a_peer_get_a_part_of_the_streams() {
    let routes = ApiRoutes::new(Arc::new(Silent), None, None);
    let mut open = Vec::new();
    let connections = [1, 1, 1, 2].map(connection);
    let mut counts = Vec::new();
    for connection in &connections {
        let before = open.len();
        for _ in 0..20 {
            let answer = ask(&routes, connection).await;
            match answer.status() {
                StatusCode::OK => open.push(answer),
                status => assert_eq!(
                    (status, &answer.headers()[RETRY_AFTER]),
                    (StatusCode::TOO_MANY_REQUESTS, &HeaderValue::from_static(RETRY_AFTER_SECONDS))
                ),
            }
        }
        counts.push(open.len() - before);
    }
    assert_eq!(counts, [6, 2, 0, 3], "of {API_STREAMS_MAX}");
    open.clear();
    assert_eq!(ask(&routes, &connections[2]).await.status(), StatusCode::OK);
}

/// Asks with these headers, by HTTP/1 or as HTTP/2 does. Returns the status.
async fn ask_as(routes: &ApiRoutes, uri: &str, headers: &[(&'static str, &str)]) -> StatusCode {
    let mut request = Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    routes.answer(&parts, &connection(1), &Metrics::new()).await.status()
}

#[tokio::test]
async fn a_page_of_another_site_does_not_get_through() {
    let local = ApiRoutes::new(Arc::new(Large::default()), None, Some(vec!["devbox".to_owned()]));
    let open = ApiRoutes::new(Arc::new(Large::default()), None, None);
    // Headers, and true for those that may ask locally, and elsewhere.
    type Case = (&'static [(&'static str, &'static str)], bool, bool);
    let cases: [Case; 11] = [
        (&[], true, true),
        (&[("host", "127.0.0.1:8090")], true, true),
        (&[("host", "[::1]:8090")], true, true),
        (&[("host", "localhost:8090")], true, true),
        (&[("host", "LOCALHOST")], true, true),
        (&[("host", "DevBox:8090")], true, true),
        (&[("host", "evil.example:8090")], false, true),
        (&[("host", "127.0.0.1.evil.example")], false, true),
        (&[("host", "127.0.0.1:8090"), ("sec-fetch-site", "cross-site")], false, false),
        (&[("host", "127.0.0.1:8090"), ("sec-fetch-site", "same-site")], false, false),
        (&[("host", "127.0.0.1:8090"), ("sec-fetch-site", "none")], true, true),
    ];
    for (headers, locally, elsewhere) in cases {
        for (routes, may_ask) in [(&local, locally), (&open, elsewhere)] {
            let expected = if may_ask { StatusCode::OK } else { StatusCode::FORBIDDEN };
            assert_eq!(ask_as(routes, "/api/config", headers).await, expected, "{headers:?}");
        }
    }
    assert_eq!(ask_as(&local, "http://evil.example/api/config", &[]).await, StatusCode::FORBIDDEN);
    assert_eq!(ask_as(&local, "http://localhost/api/config", &[]).await, StatusCode::OK);
}
