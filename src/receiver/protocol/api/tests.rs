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
    let routes = ApiRoutes::new(api.clone(), None);
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
