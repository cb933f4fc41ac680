//! Makes the records of requests, with their attributes changed.

use std::sync::Arc;

use bytes::Bytes;

use super::QUEUE_BYTES_MAX;
use super::queue::Taken;
use super::redaction::Redaction;
use crate::journal::format::{RECORD_HEADER_LEN, RecordKind, put_record, put_request_of, segment_header};
use crate::journal::recording::Remark;
use crate::tail::journal_hold::Sequence;

/// The bytes of requests from which on their attributes are changed on a thread that may block. At some 10 MB a second, if
/// each attribute is hashed and has next to no value, fewer bytes take a worker a few milliseconds.
const HEAVY_BYTES_MIN: usize = 32 << 10;

/// The bytes to which a request can grow when its attributes are changed, as a multiple of its own: an attribute with a
/// short key and no value takes 5 bytes, and 20 more with a hash.
const GROWTH_MAX: usize = 6;

/// Records that are ready to be sent.
#[derive(Debug)]
pub(super) struct Made {
    /// Their bytes.
    pub(super) parts: Vec<Bytes>,
    /// The number of the next request.
    pub(super) next_sequence: Sequence,
    /// Requests that could not be recorded with their attributes changed.
    pub(super) left_out: u64,
}

/// The maker of the records of one recording.
#[derive(Clone, Debug)]
pub(super) struct RecordMaker {
    redaction: Arc<Redaction>,
    /// The number of the next request.
    pub(super) sequence: Sequence,
}

impl RecordMaker {
    pub(super) fn new(redaction: Redaction) -> Self {
        RecordMaker { redaction: Arc::new(redaction), sequence: 1 }
    }

    /// Returns the beginning: the header of the segment, and what is changed in all requests.
    pub(super) fn head(&self) -> Bytes {
        let mut out = segment_header();
        let (redacted, hashed) = (self.redaction.redacted().to_vec(), self.redaction.hashed().to_vec());
        put_remark(&mut out, &Remark { redacted, hashed, ..Remark::default() });
        out.into()
    }

    /// Returns a remark with this number of requests that were left out.
    pub(super) fn remark(&self, requests_left_out: u64) -> Bytes {
        let mut out = Vec::new();
        put_remark(&mut out, &Remark { requests_left_out, ..Remark::default() });
        out.into()
    }

    /// Returns true if [`RecordMaker::make`] can take so long that a worker must not do it.
    pub(super) fn is_heavy(&self, taken: &Taken) -> bool {
        !self.redaction.is_empty() && taken.bytes() >= HEAVY_BYTES_MIN
    }

    /// Makes the records of `taken`.
    pub(super) fn make(mut self, taken: Taken) -> Made {
        let bytes = taken.bytes() + taken.requests.len() * RECORD_HEADER_LEN;
        let bytes = if self.redaction.is_empty() { bytes } else { bytes * GROWTH_MAX };
        // Memory that is not written to is not resident.
        let mut out = Vec::with_capacity(bytes.min(QUEUE_BYTES_MAX) + RECORD_HEADER_LEN);
        if taken.left_out > 0 {
            put_remark(&mut out, &Remark { requests_left_out: taken.left_out, ..Remark::default() });
        }
        let mut left_out = 0;
        for (unix_nano, body) in taken.requests {
            left_out += u64::from(!self.put_request(&mut out, unix_nano, &body));
        }
        if left_out > 0 {
            put_remark(&mut out, &Remark { requests_left_out: left_out, ..Remark::default() });
        }
        Made { parts: vec![out.into()], next_sequence: self.sequence, left_out }
    }

    /// Appends a request with its attributes changed. Returns false if that is not possible: it would grow beyond
    /// [`QUEUE_BYTES_MAX`].
    fn put_request(&mut self, out: &mut Vec<u8>, unix_nano: u64, body: &[u8]) -> bool {
        let written = put_request_of(out, self.sequence, unix_nano, |out| {
            if self.redaction.is_empty() {
                out.extend_from_slice(body);
                return Ok(());
            }
            self.redaction.apply(body, QUEUE_BYTES_MAX, out)
        });
        if written.is_err() {
            return false;
        }
        self.sequence += 1;
        true
    }
}

fn put_remark(out: &mut Vec<u8>, remark: &Remark) {
    put_record(out, RecordKind::Remark, 0, 0, &remark.encode());
}
