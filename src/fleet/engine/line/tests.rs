use super::*;

#[test]
fn an_address_has_a_host_and_perhaps_a_port() {
    let node = |text: &str| Node::read(text).map(|node| node.to_string());
    for (text, expected) in [
        ("valkey", Some("valkey:6379")),
        ("10.0.0.3:6380", Some("10.0.0.3:6380")),
        ("[::1]", Some("[::1]:6379")),
        ("[::1]:1", Some("[::1]:1")),
        ("a b:1", None),
        ("valkey:99999", None),
        ("", None),
    ] {
        assert_eq!(node(text).as_deref(), expected, "{text}");
    }
}

#[test]
fn a_redirection_may_have_no_host_or_one_of_ipv6() {
    let from = Node::read("valkey:1").unwrap();
    let node = |text: &str| from.redirected(text).map(|node| node.to_string());
    for (text, expected) in [
        ("10.0.0.3:6380", Some("10.0.0.3:6380")),
        (":2", Some("valkey:2")),
        ("?:2", Some("valkey:2")),
        ("fd00::1:6379", Some("[fd00::1]:6379")),
        ("10.0.0.3", None),
        ("a b:2", None),
        ("10.0.0.3:x", None),
    ] {
        assert_eq!(node(text).as_deref(), expected, "{text}");
    }
    assert_eq!(Node::read("[::1]:1").unwrap().bare_host(), "::1");
}

#[test]
fn a_meter_that_was_exceeded_stays_so_until_more_is_allowed() {
    let meter = Meter::default();
    meter.allow(10);
    assert!(meter.take(4) && meter.take(6));
    assert!(!meter.take(1) && !meter.take(0) && meter.is_exceeded());
    meter.allow(1);
    assert!(meter.take(1) && !meter.is_exceeded());
}
