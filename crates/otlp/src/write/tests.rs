use super::*;
use crate::wire::{Reader, WireValue};

/// Short and long keys, and the numbers around which a length or a varint gets one byte longer.
const NUMBERS: [u32; 4] = [1, 15, 16, 2_048];
const VALUES: [u64; 8] = [0, 1, 127, 128, 16_383, 16_384, u32::MAX as u64, u64::MAX];

fn read(bytes: &[u8]) -> (u32, WireValue<'_>) {
    let mut reader = Reader::new(bytes);
    let field = reader.field().unwrap().unwrap();
    assert!(reader.is_empty());
    field
}

#[test]
fn fields_are_read_back() {
    for number in NUMBERS {
        for value in VALUES {
            let mut out = Vec::new();
            varint(&mut out, number, value);
            assert_eq!(read(&out), (number, WireValue::Varint(value)));
            assert_eq!(out.len(), varint_field_len(number, value));
            out.clear();
            int(&mut out, number, value);
            assert_eq!(out.is_empty(), value == 0);
            out.clear();
            fixed64(&mut out, number, value);
            assert_eq!(read(&out), (number, WireValue::Fixed64(value)));
            out.clear();
            fixed32(&mut out, number, value as u32);
            assert_eq!(read(&out), (number, WireValue::Fixed32(value as u32)));
        }
        let mut out = Vec::new();
        double(&mut out, number, 0.5);
        assert_eq!(read(&out), (number, WireValue::Fixed64(0.5f64.to_bits())));
    }
}

#[test]
fn lengths_are_the_shortest_whatever_is_reserved() {
    for number in NUMBERS {
        for len in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
            let content = vec![7; len];
            let (mut whole, mut long, mut short) = (Vec::new(), Vec::new(), Vec::new());
            bytes(&mut whole, number, &content);
            message(&mut long, number, |out| out.extend_from_slice(&content));
            short_message(&mut short, number, |out| out.extend_from_slice(&content));
            assert_eq!(read(&whole), (number, WireValue::Len(&content)));
            assert_eq!(whole.len(), field_len(number, len));
            assert_eq!((&whole, &whole), (&long, &short));
        }
    }
}
