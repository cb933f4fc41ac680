//! Follows the HTTP/2 frames that a peer sends, to limit what the HTTP/2 library does not limit: how long a request
//! head takes to arrive, how many bytes it holds before its end, what it leaves in the HPACK table, and the number of
//! frames that carry no request.
//!
//! Reads the headers of all frames (RFC 9113, 4.1), and the payloads of frames with field blocks.

use super::hpack::Fields;

/// Preface of HTTP/2 (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame header: length (3 bytes), type, flags, stream (4 bytes).
const FRAME_HEADER_BYTES: usize = 9;

// Types and flags of frames (RFC 9113, 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// Payload of a DATA frame from which on it counts as a part of a request. A smaller one costs more than its bytes.
const DATA_BYTES_MIN: usize = 64;

/// Bytes that the PRIORITY flag puts before the fields of a frame.
const PRIORITY_BYTES: usize = 5;

/// Position in the stream of bytes that a peer sends.
#[derive(Debug)]
enum StreamPosition {
    /// Number of bytes of the preface that have arrived. Nothing else has arrived.
    Preface(usize),
    /// The connection did not begin with the preface, so it is HTTP/1.
    Http1,
    /// The bytes of a frame header that have arrived, and their number.
    FrameHeader([u8; FRAME_HEADER_BYTES], usize),
    /// Number of bytes of a frame's payload that are still to come.
    Payload(usize),
}

/// Numbers of frames that a peer has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FrameCounts {
    /// Field blocks that have begun.
    pub(super) heads: usize,
    /// SETTINGS frames, without acknowledgements.
    pub(super) settings: usize,
    /// Other frames that carry no request: all except HEADERS, CONTINUATION and DATA frames that are not small.
    pub(super) chores: usize,
}

/// Progress of one peer.
#[derive(Debug)]
pub(super) struct Frames {
    place: StreamPosition,
    /// True if the first frame has arrived completely.
    is_greeted: bool,
    /// Announced bytes of the current field block: HEADERS and its CONTINUATION frames. 0 outside a block.
    block_bytes: usize,
    /// True if the current frame ends its field block.
    is_last: bool,
    counts: FrameCounts,
    /// The highest stream on which a head has begun.
    last_stream: u32,
    /// Contents of the current frame other than fields. `None` if the frame is not part of a field block.
    frame: Option<FieldFrame>,
    fields: Fields,
    /// Number of bytes that have arrived.
    bytes: usize,
    /// Value of `bytes` when the HPACK table got its first entry and when it got its last entry.
    table: Option<(usize, usize)>,
}

/// The payload of a frame that is part of a field block.
#[derive(Debug)]
struct FieldFrame {
    /// True if the next byte gives the length of the padding.
    is_padded: bool,
    padding: usize,
    /// Number of bytes before the fields that are still to come.
    before: usize,
}

impl Frames {
    pub(in crate::receiver) fn new() -> Self {
        Frames {
            place: StreamPosition::Preface(0),
            is_greeted: false,
            block_bytes: 0,
            is_last: false,
            counts: FrameCounts::default(),
            last_stream: 0,
            frame: None,
            fields: Fields::new(),
            bytes: 0,
            table: None,
        }
    }

    /// Returns true if the peer speaks HTTP/2, or if that is still possible.
    pub(super) fn is_http2(&self) -> bool {
        !matches!(self.place, StreamPosition::Http1)
    }

    /// Returns true if it is known which protocol the peer speaks.
    pub(super) fn is_known(&self) -> bool {
        !matches!(self.place, StreamPosition::Preface(_))
    }

    /// Returns the number of bytes that arrived from the first entry of the HPACK table to the last one. All buffers
    /// that the library keeps for the table hold no more than this, except for two of them.
    pub(super) fn table_bytes(&self) -> usize {
        self.table.map_or(0, |(first, last)| last - first)
    }

    /// Returns true if a request head, or the beginning of the connection, is incomplete. Valid for HTTP/2 only.
    pub(super) fn is_in_head(&self) -> bool {
        !self.is_greeted || self.block_bytes > 0
    }

    /// Returns the announced bytes of the current field block.
    pub(super) fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Returns the numbers of frames that have begun.
    pub(super) fn counts(&self) -> FrameCounts {
        self.counts
    }

    /// Returns the highest stream on which a head has begun. 0 if there is none.
    pub(super) fn last_stream(&self) -> u32 {
        self.last_stream
    }

    /// Follows `bytes` that the peer has sent.
    pub(in crate::receiver) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = match &mut self.place {
                StreamPosition::Http1 => return,
                StreamPosition::Preface(seen) => {
                    let rest = &PREFACE[*seen..];
                    let taken = rest.len().min(bytes.len());
                    *seen += taken;
                    if bytes[..taken] != rest[..taken] {
                        self.place = StreamPosition::Http1;
                    } else if taken == rest.len() {
                        self.place = StreamPosition::FrameHeader([0; FRAME_HEADER_BYTES], 0);
                    }
                    taken
                }
                StreamPosition::FrameHeader(header, filled) => {
                    let taken = (FRAME_HEADER_BYTES - *filled).min(bytes.len());
                    header[*filled..*filled + taken].copy_from_slice(&bytes[..taken]);
                    *filled += taken;
                    if *filled == FRAME_HEADER_BYTES {
                        let header = *header;
                        self.begin(header);
                    }
                    taken
                }
                StreamPosition::Payload(left) => {
                    let (taken, before) = ((*left).min(bytes.len()), *left);
                    *left -= taken;
                    let is_over = *left == 0;
                    self.read_fields(&bytes[..taken], before);
                    if is_over {
                        self.end();
                    }
                    taken
                }
            };
            bytes = &bytes[taken..];
            self.bytes += taken;
        }
    }

    /// Follows `bytes` of a frame's payload, of which `left` bytes were still to come.
    fn read_fields(&mut self, mut bytes: &[u8], mut left: usize) {
        let Some(frame) = &mut self.frame else { return };
        if frame.is_padded
            && let [padding, rest @ ..] = bytes
        {
            (frame.is_padded, frame.padding) = (false, usize::from(*padding));
            (bytes, left) = (rest, left - 1);
        }
        let before = frame.before.min(bytes.len());
        frame.before -= before;
        let fields = (left - before).saturating_sub(frame.padding).min(bytes.len() - before);
        let added = self.fields.added();
        self.fields.read(&bytes[before..before + fields]);
        if !self.fields.has_entries() {
            self.table = None;
        } else if self.fields.added() > added {
            let first = self.table.map_or(self.bytes, |(first, _)| first);
            self.table = Some((first, self.bytes + bytes.len()));
        }
    }

    /// Begins a frame with this `header`.
    fn begin(&mut self, header: [u8; FRAME_HEADER_BYTES]) {
        let [high, middle, low, kind, flags, stream @ ..] = header;
        let len = u32::from_be_bytes([0, high, middle, low]) as usize;
        let is_head = kind == HEADERS;
        self.frame = (is_head || kind == CONTINUATION).then_some(FieldFrame {
            is_padded: is_head && flags & PADDED != 0,
            padding: 0,
            before: if is_head && flags & PRIORITY != 0 { PRIORITY_BYTES } else { 0 },
        });
        match kind {
            HEADERS => {
                self.fields.begin();
                self.counts.heads += 1;
                self.last_stream = self.last_stream.max(u32::from_be_bytes(stream) & (u32::MAX >> 1));
            }
            CONTINUATION => {}
            SETTINGS if flags & ACK == 0 => self.counts.settings += 1,
            DATA if len >= DATA_BYTES_MIN => {}
            _ => self.counts.chores += 1,
        }
        if self.frame.is_some() {
            self.block_bytes += FRAME_HEADER_BYTES + len;
            self.is_last = flags & END_HEADERS != 0;
        }
        self.place = StreamPosition::Payload(len);
        if len == 0 {
            self.end();
        }
    }

    /// Ends a frame that has arrived completely.
    fn end(&mut self) {
        self.is_greeted = true;
        if std::mem::take(&mut self.is_last) {
            self.block_bytes = 0;
        }
        self.place = StreamPosition::FrameHeader([0; FRAME_HEADER_BYTES], 0);
    }
}

#[cfg(test)]
mod tests;
