//! The buffer for the protobuf bytes that the JSON reader writes.

use std::ops::Range;

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

/// One growing buffer. A submessage is written in place, and its length is inserted before it once it is complete.
pub(super) struct Output {
    bytes: Vec<u8>,
}

/// The start of the content of an unfinished submessage.
pub(super) struct Open(usize);

impl Output {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Output { bytes: Vec::with_capacity(capacity) }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the bytes without spare capacity, because they stay in memory for as long as their traces are pending.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.shrink_to_fit();
        self.bytes
    }

    #[inline]
    pub(super) fn varint(&mut self, number: u32, value: u64) {
        encode_key(number, WireType::Varint, &mut self.bytes);
        encode_varint(value, &mut self.bytes);
    }

    #[inline]
    pub(super) fn fixed32(&mut self, number: u32, value: u32) {
        encode_key(number, WireType::ThirtyTwoBit, &mut self.bytes);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    #[inline]
    pub(super) fn fixed64(&mut self, number: u32, value: u64) {
        encode_key(number, WireType::SixtyFourBit, &mut self.bytes);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    #[inline]
    pub(super) fn bytes(&mut self, number: u32, value: &[u8]) {
        encode_key(number, WireType::LengthDelimited, &mut self.bytes);
        encode_varint(value.len() as u64, &mut self.bytes);
        self.bytes.extend_from_slice(value);
    }

    /// Begins a length-delimited field and reserves one byte for its length. One byte is enough for most submessages,
    /// because most are attributes.
    #[inline]
    pub(super) fn open(&mut self, number: u32) -> Open {
        encode_key(number, WireType::LengthDelimited, &mut self.bytes);
        self.bytes.push(0);
        Open(self.bytes.len())
    }

    /// Returns the buffer, so that the caller can append to the content of an open field.
    #[inline]
    pub(super) fn content(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends the field and writes its length. If the length needs more than one byte, the content is moved.
    #[inline]
    pub(super) fn close(&mut self, Open(start): Open) {
        let len = self.bytes.len() - start;
        if let Ok(short @ 0..0x80) = u8::try_from(len) {
            self.bytes[start - 1] = short;
        } else {
            self.close_long(start, len as u64);
        }
    }

    fn close_long(&mut self, start: usize, len: u64) {
        let more = encoded_len_varint(len) - 1;
        let end = self.bytes.len();
        self.bytes.resize(end + more, 0);
        self.bytes.copy_within(start..end, start + more);
        encode_varint(len, &mut &mut self.bytes[start - 1..start + more]);
    }

    /// Removes bytes that a later value replaces.
    pub(super) fn remove(&mut self, range: Range<usize>) {
        self.bytes.drain(range);
    }
}
