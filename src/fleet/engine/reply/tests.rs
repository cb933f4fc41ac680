use super::*;
use crate::sampling::ConfigMark;
use spansieve_core::fleet::MemberId;

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
