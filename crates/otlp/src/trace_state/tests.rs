use super::*;

#[test]
fn randomness_is_the_rv_of_the_opentelemetry_entry() {
    let cases: [(&str, Option<u64>); 14] = [
        ("", None),
        ("ot=rv:00000000000000", Some(0)),
        ("ot=rv:ffffffffffffff", Some((1 << 56) - 1)),
        ("ot=rv:0123456789abcd", Some(0x0001_2345_6789_abcd)),
        ("ot=th:8;rv:00000000000001;x:y", Some(1)),
        ("vendor=rv:00000000000001, ot=rv:00000000000002 ,z=1", Some(2)),
        ("ot=rv:0123456789abc", None),
        ("ot=rv:0123456789abcde", None),
        ("ot=rv:0123456789ABCD", None),
        ("ot=rv:+123456789abcd", None),
        ("ot=th:8", None),
        ("bot=rv:00000000000001", None),
        ("ot=xrv:00000000000001", None),
        ("ot", None),
    ];
    for (trace_state, expected) in cases {
        assert_eq!(randomness(trace_state.as_bytes()), expected, "{trace_state}");
    }
}

#[test]
fn entries_are_found_by_their_whole_key() {
    let trace_state = b"a=1, bc=2 ,c=x=y,a=3,d,e=";
    let cases: [(&str, Option<&str>); 7] = [
        ("a", Some("1")),
        ("bc", Some("2")),
        ("b", None),
        ("c", Some("x=y")),
        ("d", None),
        ("e", Some("")),
        ("", None),
    ];
    for (key, expected) in cases {
        assert_eq!(entry(trace_state, key.as_bytes()), expected.map(str::as_bytes), "{key}");
    }
}
