use super::*;

#[test]
fn an_entry_is_read_as_it_was_written_and_those_of_others_are_left_out() {
    let facts = MemberFacts { id: MemberId(7), config: ConfigMark(u64::MAX) };
    assert_eq!(Entry::read(&Entry::new(facts).0), Some(facts));
    for text in ["", "hello", "0000000000000007", "0000000000000007 x 1", "7 7 7"] {
        assert_eq!(Entry::read(text), None, "{text}");
    }
}

#[test]
fn a_server_that_lacks_commands_is_refused() {
    for (version, is_good) in [
        ("7.0.15", true),
        ("6.2.0", true),
        ("8.1", true),
        ("6.0.16", false),
        ("5.0", false),
        ("", false),
        ("x.y", false),
    ] {
        let info = format!("# Server\r\nredis_version:{version}\r\nos:Linux\r\n");
        assert_eq!(check_version(&info).is_ok(), is_good, "{version}");
    }
    assert_eq!(
        check_version("nothing").unwrap_err().to_string(),
        "the server is version unknown; a fleet needs Valkey, or Redis from 6.2 on"
    );
}

fn bulk(bytes: &[u8]) -> Value {
    Value::BulkString(bytes.to_vec())
}

#[test]
fn what_is_not_text_hides_no_member() {
    let facts = [7, 8].map(|id| MemberFacts { id: MemberId(id), config: ConfigMark(9) });
    let entries = facts.map(|facts| bulk(Entry::new(facts).0.as_bytes()));
    let [first, second] = entries;
    assert_eq!(listed(Value::Array(vec![first, bulk(b"\xff"), Value::Int(1), bulk(b"0"), second])), facts);
    assert!(listed(Value::Nil).is_empty());
}

#[test]
fn a_stream_is_read_beyond_what_no_member_has_written() {
    let entry = |place: &str, fields: Vec<Value>| Value::Array(vec![bulk(place.as_bytes()), Value::Array(fields)]);
    let (largest, too_large) = (vec![1; RECEIVED_BYTES_MAX], vec![1; RECEIVED_BYTES_MAX + 1]);
    let entries = vec![
        entry("1-0", vec![bulk(b"\xff"), bulk(b"\xff")]),
        entry("2-0", vec![bulk(b"\xff"), bulk(b"\xff"), bulk(b"b"), bulk(b"\xff\x00")]),
        entry("3-0", vec![bulk(b"b"), bulk(&largest)]),
        entry("4-0", vec![bulk(b"b"), bulk(&too_large)]),
        Value::Array(vec![bulk(b"5-0"), Value::Nil]),
    ];
    let reply = Value::Array(vec![Value::Array(vec![bulk(b"key \xff"), Value::Array(entries)])]);
    let found = received(reply);
    let places: Vec<_> = found.iter().map(|received| received.place.as_str()).collect();
    assert_eq!(places, ["1-0", "2-0", "3-0", "4-0", "5-0"]);
    let lens: Vec<_> = found.iter().map(|received| received.batch.len()).collect();
    assert_eq!(lens, [0, 2, RECEIVED_BYTES_MAX, 0, 0]);
    assert!(received(Value::Nil).is_empty());
}
