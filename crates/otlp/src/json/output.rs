//! The buffer for the protobuf bytes that the JSON reader writes.

use std::ops::Range;

use crate::write;

/// One growing buffer. A submessage is written in place, and its length is inserted before it once it is complete.
pub(super) struct MessageOutput {
    bytes: Vec<u8>,
}

/// The start of the content of an unfinished submessage. One byte is reserved for its length. That is enough for most
/// submessages, because most are attributes.
pub(super) type OpenMessage = write::OpenSubmessage<1>;

impl MessageOutput {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        MessageOutput { bytes: Vec::with_capacity(capacity) }
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
        write::varint(&mut self.bytes, number, value);
    }

    #[inline]
    pub(super) fn fixed32(&mut self, number: u32, value: u32) {
        write::fixed32(&mut self.bytes, number, value);
    }

    #[inline]
    pub(super) fn fixed64(&mut self, number: u32, value: u64) {
        write::fixed64(&mut self.bytes, number, value);
    }

    #[inline]
    pub(super) fn bytes(&mut self, number: u32, value: &[u8]) {
        write::bytes(&mut self.bytes, number, value);
    }

    /// Begins a length-delimited field.
    #[inline]
    pub(super) fn open(&mut self, number: u32) -> OpenMessage {
        OpenMessage::new(&mut self.bytes, number)
    }

    /// Returns the buffer, so that the caller can append to the content of an open field.
    #[inline]
    pub(super) fn content(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends the field and writes its length.
    #[inline]
    pub(super) fn close(&mut self, open: OpenMessage) {
        open.close(&mut self.bytes);
    }

    /// Removes bytes that a later value replaces.
    pub(super) fn remove(&mut self, range: Range<usize>) {
        self.bytes.drain(range);
    }
}
