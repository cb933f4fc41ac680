//! Makes the records of requests, with their attributes changed.

use std::sync::Arc;

use bytes::Bytes;

use super::QUEUE_BYTES_MAX;
use super::queue::{SHARED_BYTES_MIN, Taken};
use super::redaction::Redaction;
use crate::journal::format::{
    RECORD_HEADER_LEN, RecordKind, put_record, put_record_header, put_request_of, segment_header,
};
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
        let mut out = Parts::with_capacity(self.copied_bytes(&taken));
        if taken.left_out > 0 {
            put_remark(&mut out.last, &Remark { requests_left_out: taken.left_out, ..Remark::default() });
        }
        let mut left_out = 0;
        for (unix_nano, body) in taken.requests {
            left_out += u64::from(!self.put_request(&mut out, unix_nano, body));
        }
        if left_out > 0 {
            put_remark(&mut out.last, &Remark { requests_left_out: left_out, ..Remark::default() });
        }
        Made { parts: out.finish(), next_sequence: self.sequence, left_out }
    }

    /// Returns the bytes of the records without the bodies that are not copied, or an upper bound. Memory that is not
    /// written to is not resident.
    fn copied_bytes(&self, taken: &Taken) -> usize {
        let bytes = if self.redaction.is_empty() {
            let copied = taken.requests.iter().filter(|(_, body)| body.len() < SHARED_BYTES_MIN);
            copied.map(|(_, body)| body.len()).sum()
        } else {
            (taken.bytes() * GROWTH_MAX).min(QUEUE_BYTES_MAX)
        };
        bytes + (taken.requests.len() + 1) * RECORD_HEADER_LEN
    }

    /// Appends a request with its attributes changed. Returns false if that is not possible: it would grow beyond
    /// [`QUEUE_BYTES_MAX`].
    fn put_request(&mut self, out: &mut Parts, unix_nano: u64, body: Bytes) -> bool {
        let kind = RecordKind::Request;
        if !self.redaction.is_empty() {
            let write = |out: &mut Vec<u8>| self.redaction.apply(&body, QUEUE_BYTES_MAX, out);
            if put_request_of(&mut out.last, self.sequence, unix_nano, write).is_err() {
                return false;
            }
        } else if body.len() < SHARED_BYTES_MIN {
            put_record(&mut out.last, kind, self.sequence, unix_nano, &body);
        } else {
            put_record_header(&mut out.last, kind, self.sequence, unix_nano, &body);
            out.put(body);
        }
        self.sequence += 1;
        true
    }
}

/// Parts of a body, without copies of the larger ones.
struct Parts {
    parts: Vec<Bytes>,
    /// The part that grows.
    last: Vec<u8>,
}

impl Parts {
    fn with_capacity(bytes: usize) -> Self {
        Parts { parts: Vec::new(), last: Vec::with_capacity(bytes) }
    }

    /// Appends a part.
    fn put(&mut self, part: Bytes) {
        let before = std::mem::replace(&mut self.last, Vec::with_capacity(RECORD_HEADER_LEN));
        self.parts.extend([before.into(), part]);
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.parts.push(self.last.into());
        self.parts.retain(|part| !part.is_empty());
        self.parts
    }
}

fn put_remark(out: &mut Vec<u8>, remark: &Remark) {
    put_record(out, RecordKind::Remark, 0, 0, &remark.encode());
}
