//! Follows what a peer sends by the frame, to see what the HTTP/2 library does not limit: how long a request head takes to
//! come, how many bytes it holds before its end, and what it leaves in the table of fields.
//!
//! Knows the headers of frames (RFC 9113, 4.1), and of payloads those of field blocks.

use super::hpack::Fields;

/// How HTTP/2 begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length (3 bytes), type, flags, stream (4 bytes).
const FRAME_HEADER_BYTES: usize = 9;

// Types and flags of frames (RFC 9113, 6.2 and 6.10).
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// What PRIORITY puts before the fields of a frame.
const PRIORITY_BYTES: usize = 5;

/// Where in the stream of bytes a peer is.
#[derive(Debug)]
enum Place {
    /// So many bytes of the preface have come, and nothing else.
    Preface(usize),
    /// No preface came first: HTTP/1.
    Http1,
    /// So many bytes of a frame's header have come.
    FrameHeader([u8; FRAME_HEADER_BYTES], usize),
    /// So many bytes of a frame's payload are still to come.
    Payload(usize),
}

/// The progress of one peer.
#[derive(Debug)]
pub(super) struct Frames {
    place: Place,
    /// The first frame has come whole.
    is_greeted: bool,
    /// The bytes of the field block that is under way, as announced: HEADERS and its CONTINUATION frames.
    block_bytes: usize,
    /// The frame under way ends its field block.
    is_last: bool,
    /// Field blocks that have begun.
    blocks: usize,
    /// What the frame under way has beside fields; none if it is not of a field block.
    frame: Option<FieldFrame>,
    fields: Fields,
    /// All bytes that have come.
    bytes: usize,
    /// How many had come when the table of fields got its first entry and its last one.
    table: Option<(usize, usize)>,
}

/// The payload of a frame of a field block.
#[derive(Debug)]
struct FieldFrame {
    /// Its first byte says how much padding there is.
    is_padded: bool,
    padding: usize,
    /// Bytes before the fields that are still to come.
    before: usize,
}

impl Frames {
    pub(super) fn new() -> Self {
        Frames {
            place: Place::Preface(0),
            is_greeted: false,
            block_bytes: 0,
            is_last: false,
            blocks: 0,
            frame: None,
            fields: Fields::new(),
            bytes: 0,
            table: None,
        }
    }

    /// The peer speaks HTTP/2, or may be about to.
    pub(super) fn is_http2(&self) -> bool {
        !matches!(self.place, Place::Http1)
    }

    /// It is known whether the peer speaks HTTP/2.
    pub(super) fn is_known(&self) -> bool {
        !matches!(self.place, Place::Preface(_))
    }

    /// The bytes that came from the first entry of the table of fields to the last one: all buffers that the library keeps for it
    /// hold no more, but for two.
    pub(super) fn table_bytes(&self) -> usize {
        self.table.map_or(0, |(first, last)| last - first)
    }

    /// A request head is under way, or the beginning of the connection. Known of HTTP/2 only.
    pub(super) fn is_in_head(&self) -> bool {
        !self.is_greeted || self.block_bytes > 0
    }

    /// The announced bytes of the field block that is under way.
    pub(super) fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// The number of field blocks that have begun.
    pub(super) fn blocks(&self) -> usize {
        self.blocks
    }

    /// The peer has sent `bytes`.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = match &mut self.place {
                Place::Http1 => return,
                Place::Preface(seen) => {
                    let rest = &PREFACE[*seen..];
                    let taken = rest.len().min(bytes.len());
                    *seen += taken;
                    if bytes[..taken] != rest[..taken] {
                        self.place = Place::Http1;
                    } else if taken == rest.len() {
                        self.place = Place::FrameHeader([0; FRAME_HEADER_BYTES], 0);
                    }
                    taken
                }
                Place::FrameHeader(header, filled) => {
                    let taken = (FRAME_HEADER_BYTES - *filled).min(bytes.len());
                    header[*filled..*filled + taken].copy_from_slice(&bytes[..taken]);
                    *filled += taken;
                    if *filled == FRAME_HEADER_BYTES {
                        let header = *header;
                        self.begin(header);
                    }
                    taken
                }
                Place::Payload(left) => {
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

    /// Of the payload of a frame `left` bytes were to come, and `bytes` came.
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

    /// A frame with this `header` begins.
    fn begin(&mut self, header: [u8; FRAME_HEADER_BYTES]) {
        let [high, middle, low, kind, flags, ..] = header;
        let len = u32::from_be_bytes([0, high, middle, low]) as usize;
        let is_head = kind == HEADERS;
        self.frame = (is_head || kind == CONTINUATION).then_some(FieldFrame {
            is_padded: is_head && flags & PADDED != 0,
            padding: 0,
            before: if is_head && flags & PRIORITY != 0 { PRIORITY_BYTES } else { 0 },
        });
        if is_head {
            self.fields.begin();
        }
        if self.frame.is_some() {
            self.blocks += usize::from(is_head);
            self.block_bytes += FRAME_HEADER_BYTES + len;
            self.is_last = flags & END_HEADERS != 0;
        }
        self.place = Place::Payload(len);
        if len == 0 {
            self.end();
        }
    }

    /// A frame has come whole.
    fn end(&mut self) {
        self.is_greeted = true;
        if std::mem::take(&mut self.is_last) {
            self.block_bytes = 0;
        }
        self.place = Place::FrameHeader([0; FRAME_HEADER_BYTES], 0);
    }
}

#[cfg(test)]
mod tests;
