//! Rewrites messages in encodings that protobuf allows but no exporter writes.

use std::iter::repeat_with;

use fastrand::Rng;

use crate::schema::Message;
use crate::wire::{Reader, WireType, WireValue, key};

/// Returns the message in `bytes` with its fields in another order, some of them twice, submessages in several parts,
/// unknown fields between them, and varints longer than necessary. The result is legal, but may be another message.
pub(crate) fn scramble(message: &Message, bytes: &[u8], rng: &mut Rng) -> Vec<u8> {
    scrambled_fields(message, bytes, rng).concat()
}

fn scrambled_fields(message: &Message, bytes: &[u8], rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, value)) = reader.field().unwrap() {
        match (message.submessage(number), value) {
            (Some(child), WireValue::Len(content)) => {
                let mut parts = scrambled_fields(child, content, rng);
                if rng.u8(..4) == 0 {
                    let rest = parts.split_off(rng.usize(..=parts.len()));
                    fields.push(field(number, WireValue::Len(&rest.concat()), rng));
                }
                fields.push(field(number, WireValue::Len(&parts.concat()), rng));
            }
            (_, value) => {
                fields.push(field(number, value, rng));
                if rng.u8(..8) == 0 {
                    fields.push(other_field(number, value, rng));
                }
            }
        }
    }
    if rng.u8(..4) == 0 {
        let kind =
            [WireValue::Varint(0), WireValue::Fixed64(0), WireValue::Len(&[]), WireValue::Fixed32(0)][rng.usize(..4)];
        fields.push(other_field(rng.u32(17..1 << 29), kind, rng));
    }
    if rng.bool() {
        rng.shuffle(&mut fields);
    }
    fields
}

/// Returns a field with a random value of the same wire type as `like`.
fn other_field(number: u32, like: WireValue<'_>, rng: &mut Rng) -> Vec<u8> {
    let random = rng.u64(..) >> rng.u32(..64);
    let bytes: Vec<u8> = repeat_with(|| rng.u8(..)).take((random % 20) as usize).collect();
    let value = match like {
        WireValue::Varint(_) => WireValue::Varint(random),
        WireValue::Fixed64(_) => WireValue::Fixed64(random),
        WireValue::Len(_) => WireValue::Len(&bytes),
        WireValue::Fixed32(_) => WireValue::Fixed32(random as u32),
    };
    field(number, value, rng)
}

fn field(number: u32, value: WireValue<'_>, rng: &mut Rng) -> Vec<u8> {
    let mut out = Vec::new();
    let mut start = |wire_type| varint(key(number, wire_type).into(), rng, &mut out);
    match value {
        WireValue::Varint(v) => {
            start(WireType::Varint);
            varint(v, rng, &mut out);
        }
        WireValue::Fixed64(v) => {
            start(WireType::Fixed64);
            out.extend(v.to_le_bytes());
        }
        WireValue::Len(v) => {
            start(WireType::Len);
            varint(v.len() as u64, rng, &mut out);
            out.extend(v);
        }
        WireValue::Fixed32(v) => {
            start(WireType::Fixed32);
            out.extend(v.to_le_bytes());
        }
    }
    out
}

/// Appends `value` as a varint, one time in sixteen with more bytes than it needs (at most ten, which is the legal
/// limit).
fn varint(mut value: u64, rng: &mut Rng, out: &mut Vec<u8>) {
    let len_min = if rng.u8(..16) == 0 { rng.usize(1..=10) } else { 1 };
    for len in 1.. {
        let more = value >= 0x80 || len < len_min;
        out.push(value as u8 & 0x7f | u8::from(more) << 7);
        value >>= 7;
        if !more {
            break;
        }
    }
}

/// Damages `bytes` in one place.
#[cfg(test)]
pub(crate) fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let at = rng.usize(..=bytes.len());
    let to = rng.usize(at..=bytes.len().min(at + 16));
    match rng.u8(..6) {
        0 => bytes.truncate(at),
        1 => _ = bytes.drain(at..to),
        2 => bytes.insert(at, rng.u8(..)),
        3 => {
            let part = bytes[at..to].to_vec();
            let target = rng.usize(..=bytes.len());
            bytes.splice(target..target, part);
        }
        4 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
        _ if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x12][rng.usize(..7)],
        _ => {}
    }
}
