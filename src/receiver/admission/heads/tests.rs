use http::{HeaderName, HeaderValue, Request};

use super::*;

fn connection() -> Arc<Connection> {
    Arc::new(Connection::new())
}

fn head(fields: usize, value: &str) -> Parts {
    let mut head = Request::get("/v1/traces").body(()).unwrap().into_parts().0;
    for n in 0..fields {
        let name = HeaderName::try_from(format!("x-{n}")).unwrap();
        head.headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    head
}

#[test]
fn a_connection_may_hold_as_much_as_is_left() {
    let heads = Heads::new(16 << 20);
    let all = |connection: &Arc<Connection>| -> Vec<HeadShare> {
        std::iter::from_fn(|| heads.reserve(connection, 1000)).collect()
    };
    let (greedy, second) = (connection(), connection());
    let held = all(&greedy);
    assert_eq!(held.len(), (1 << 20) / 2000);
    let more = all(&second);
    assert_eq!(more.len(), ((1 << 20) - held.len() * 1000) / 2000, "the second connection gets half of the rest");
    assert!(heads.reserve(&connection(), 1000).is_some());
    drop((held, more));
    assert_eq!((heads.used_bytes(), greedy.head_bytes.load(Relaxed)), (0, 0));
}

#[test]
fn a_head_counts_with_the_memory_of_its_fields() {
    let heads = Heads::new(64 << 20);
    let connection = connection();
    let counted = |fields: usize, value: &str| {
        let share = heads.admit(&connection, false, &mut head(fields, value)).unwrap();
        share.unwrap().bytes - STREAM_BYTES
    };
    assert!(counted(0, "") < 100, "{}", counted(0, ""));
    assert!((100 * 150..100 * 300).contains(&counted(100, "")), "{}", counted(100, ""));
    assert!(counted(1, &"x".repeat(10_000)) > 10_000);
    assert_eq!(heads.used_bytes(), 0);
}

#[test]
fn a_request_that_is_alone_needs_no_room_unless_its_head_is_large() {
    let heads = Heads::new(0);
    let admit = |is_alone, fields, value: &str| {
        let admitted = heads.admit(&connection(), is_alone, &mut head(fields, value));
        admitted.map(|share| share.is_some()).map_err(|refusal| refusal.outcome().as_str())
    };
    assert_eq!(admit(true, 10, "value"), Ok(false));
    assert_eq!(admit(false, 10, "value"), Err("overloaded"));
    assert_eq!(admit(true, 10, &"x".repeat(1000)), Err("overloaded"));
    assert_eq!(admit(true, FIELDS_MAX + 1, ""), Err("invalid"));
}

#[test]
fn only_the_api_keeps_the_query() {
    let kept = |uri: &str| {
        let mut parts = Request::get(uri).body(()).unwrap().into_parts().0;
        Heads::new(1 << 20).admit(&connection(), true, &mut parts).map(|_| parts.uri.to_string())
    };
    assert_eq!(kept("http://host/metrics?debug=1").unwrap(), "/metrics");
    assert_eq!(kept("http://host/api/decisions?service=a%20b").unwrap(), "/api/decisions?service=a%20b");
    assert_eq!(kept("http://host/api/config").unwrap(), "/api/config");
    let long = format!("/api/decisions?service={}", "x".repeat(HEAD_BYTES_MAX));
    assert_eq!(kept(&long).unwrap_err().outcome().as_str(), "invalid", "a query counts as part of the head");
}
