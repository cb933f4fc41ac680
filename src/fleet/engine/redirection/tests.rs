use super::*;

fn error(text: &str) -> RedisError {
    redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap().extract_error().unwrap_err()
}

#[test]
fn an_error_of_a_cluster_says_where_the_slot_is() {
    let from = Node::read("valkey:1").unwrap();
    let node = |text: &str| Node::read(text).unwrap();
    for (text, expected) in [
        ("MOVED 7 10.0.0.3:6380", Some(Redirection::Moved(node("10.0.0.3:6380")))),
        ("MOVED 7 :6380", Some(Redirection::Moved(node("valkey:6380")))),
        ("ASK 7 fd00::1:6380", Some(Redirection::Ask(node("[fd00::1]:6380")))),
        ("TRYAGAIN Multiple keys request during rehashing of slot", Some(Redirection::Later)),
        ("MOVED 7 nonsense", None),
        ("MOVED", None),
        ("CLUSTERDOWN The cluster is down", None),
        ("ERR no", None),
    ] {
        assert_eq!(Redirection::of(&error(text), &from), expected, "{text}");
    }
}
