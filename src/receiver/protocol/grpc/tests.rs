use proptest::prelude::*;

use super::*;
use crate::budget::Budget;
use crate::receiver::fake::{FakeIntake, cut, pieces};

const LIMIT: usize = 10_000;

fn headers(grpc_encoding: Option<&'static str>) -> HeaderMap {
    grpc_encoding.map(|name| (GRPC_ENCODING, HeaderValue::from_static(name))).into_iter().collect()
}

fn read(body: Vec<Bytes>, grpc_encoding: Option<&'static str>) -> Result<(Bytes, Option<Coding>), String> {
    let intake = FakeIntake(Budget::new(LIMIT));
    let headers = headers(grpc_encoding);
    let mut chunks = Chunks::new(pieces(body));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let result = runtime.block_on(read_message(&headers, &mut chunks, LIMIT, &intake));
    result.map(|payload| (payload.held.bytes, payload.coding)).map_err(|refusal| format!("{:?}", refusal.code()))
}

#[test]
fn framing_follows_the_protocol() {
    let cases: &[(&[u8], Option<&'static str>, &str)] = &[
        (b"\0\0\0\0\x03abc", None, "Ok((b\"abc\", None))"),
        (b"\0\0\0\0\0", None, "Ok((b\"\", None))"),
        (b"\0\0\0\0\x03abc", Some("gzip"), "Ok((b\"abc\", None))"),
        (b"\0\0\0\0\x03abc", Some("snappy"), "Ok((b\"abc\", None))"),
        (b"\x01\0\0\0\x03abc", Some("gzip"), "Ok((b\"abc\", Some(Gzip)))"),
        (b"\x01\0\0\0\x03abc", Some("zstd"), "Ok((b\"abc\", Some(Zstd)))"),
        (b"\x01\0\0\0\x03abc", None, "Err(\"Internal\")"),
        (b"\x01\0\0\0\x03abc", Some("identity"), "Err(\"Internal\")"),
        (b"\x01\0\0\0\x03abc", Some("deflate"), "Ok((b\"abc\", Some(Deflate)))"),
        (b"\x01\0\0\0\x03abc", Some("snappy"), "Ok((b\"abc\", Some(Snappy)))"),
        (b"\x01\0\0\0\x03abc", Some("lz4"), "Err(\"Unimplemented\")"),
        (b"\x02\0\0\0\x03abc", None, "Err(\"Internal\")"),
        (b"", None, "Err(\"Unimplemented\")"),
        (b"\0\0\0", None, "Err(\"Internal\")"),
        (b"\0\0\0\0\x03ab", None, "Err(\"Internal\")"),
        (b"\0\0\0\0\x03abcd", None, "Err(\"Unimplemented\")"),
        (b"\0\0\0\0\0\0\0\0\0\0", None, "Err(\"Unimplemented\")"),
        (b"\0\xff\xff\xff\xff", None, "Err(\"ResourceExhausted\")"),
    ];
    for (body, coding, expected) in cases {
        assert_eq!(format!("{:?}", read(vec![Bytes::from_static(body)], *coding)), *expected, "{body:?} {coding:?}");
    }
}

#[test]
fn a_reply_has_its_length() {
    assert_eq!(frame(b""), Bytes::from_static(b"\0\0\0\0\0"));
    assert_eq!(frame(b"abc"), Bytes::from_static(b"\0\0\0\0\x03abc"));
}

#[test]
fn only_content_types_of_protobuf_are_accepted() {
    for (content_type, expected) in [
        ("application/grpc", true),
        ("Application/GRPC+proto", true),
        ("application/grpc; charset=utf-8", true),
        ("application/grpc+json", false),
        ("application/grpc-web", false),
    ] {
        assert_eq!(is_protobuf(content_type.as_bytes()), expected, "{content_type}");
    }
}

proptest! {
    #[test]
    fn a_message_may_arrive_in_any_pieces(
        message in proptest::collection::vec(any::<u8>(), 0..LIMIT + 100),
        stated in prop::option::of(0..LIMIT as u32 + 200),
        flag in 0u8..3,
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let stated = stated.unwrap_or(message.len() as u32);
        let body = [&[flag][..], &stated.to_be_bytes(), &message].concat();
        let whole = read(vec![Bytes::from(body.clone())], Some("gzip"));
        prop_assert_eq!(read(cut(&body, &cuts), Some("gzip")), whole);
    }
}
