use prost::encoding::encode_varint;

use super::*;

#[test]
fn varints_are_read_as_prost_writes_them() {
    let edges = (0..64).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit]).chain([u64::MAX]);
    for value in edges {
        let mut bytes = Vec::new();
        encode_varint(value, &mut bytes);
        let mut reader = Reader::new(&bytes);
        assert_eq!((reader.varint(), reader.is_empty()), (Ok(value), true));
        for len in 0..bytes.len() {
            assert_eq!(Reader::new(&bytes[..len]).varint(), Err(WireError::Truncated), "{len} bytes of {value}");
        }
    }
}

#[test]
fn varints_have_at_most_ten_bytes_and_64_bits() {
    let padded = |len: usize, last: u8| [&vec![0x80; len - 1][..], &[last]].concat();
    let cases = [
        (padded(2, 0), Ok(0)),
        (padded(9, 1), Ok(1 << 56)),
        (padded(10, 0), Ok(0)),
        (padded(10, 1), Ok(1 << 63)),
        (padded(10, 2), Err(WireError::Varint)),
        (padded(11, 0), Err(WireError::Varint)),
        (vec![0x80; 10], Err(WireError::Varint)),
        (vec![0x80; 9], Err(WireError::Truncated)),
    ];
    for (bytes, expected) in cases {
        assert_eq!(Reader::new(&bytes).varint(), expected, "{bytes:?}");
    }
}

#[test]
fn short_fields_are_skipped_until_one_is_wanted() {
    let short = [0x4a, 1, b'a', 0x4a, 0, 0x4a, 2, b'b', b'c'];
    let ends: [(&[u8], &[u8]); 4] = [
        (&[], &[]),
        (&[0x4a, 1, b'x', 0x4a, 0], &[0x4a, 1, b'x', 0x4a, 0]),
        (&[0x12, 0], &[0x12, 0]),
        (&[0x4a, 0, 0x4a, 3, b'a'], &[0x4a, 3, b'a']),
    ];
    for (end, left) in ends {
        let bytes = [&short, end].concat();
        let mut reader = Reader::new(&bytes);
        reader.skip_short(0x4a, |content| content != b"x");
        assert_eq!(&bytes[reader.position()..], left);
    }
    // A length of two bytes is left to the caller.
    let long = [&[0x4a, 0x80, 1][..], &[0; 128]].concat();
    let mut reader = Reader::new(&long);
    reader.skip_short(0x4a, |_| true);
    assert_eq!((reader.position(), reader.field()), (0, Ok(Some((9, WireValue::Len(&[0; 128]))))));
}

#[test]
fn fields_are_read_with_their_numbers_and_positions() {
    let bytes = [0x08, 5, 0x12, 2, b'h', b'i', 0x1d, 1, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0, 0, 0];
    let mut reader = Reader::new(&bytes);
    let expected = [
        (1, WireValue::Varint(5), 2),
        (2, WireValue::Len(b"hi"), 6),
        (3, WireValue::Fixed32(1), 11),
        (4, WireValue::Fixed64(2), 20),
    ];
    for (number, value, position) in expected {
        assert_eq!(reader.field(), Ok(Some((number, value))));
        assert_eq!(reader.position(), position);
    }
    assert_eq!(reader.field(), Ok(None));
}

#[test]
fn the_largest_field_number_is_accepted() {
    let mut bytes = Vec::new();
    encode_varint(key((1 << 29) - 1, WireType::Varint).into(), &mut bytes);
    bytes.push(7);
    assert_eq!(Reader::new(&bytes).field(), Ok(Some(((1 << 29) - 1, WireValue::Varint(7)))));
}
