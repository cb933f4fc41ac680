//! Follows what a peer sends by the frame, to see what the HTTP/2 library does not limit: how long a request head takes to
//! come, and how many bytes it holds before its end.
//!
//! Knows the headers of frames alone (RFC 9113, 4.1); payloads are counted and not read.

/// How HTTP/2 begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length (3 bytes), type, flags, stream (4 bytes).
const FRAME_HEADER_BYTES: usize = 9;

// Types and flags of frames (RFC 9113, 6.2 and 6.10).
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

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
}

impl Frames {
    pub(super) fn new() -> Self {
        Frames { place: Place::Preface(0), is_greeted: false, block_bytes: 0, is_last: false, blocks: 0 }
    }

    /// The peer speaks HTTP/2, or may be about to.
    pub(super) fn is_http2(&self) -> bool {
        !matches!(self.place, Place::Http1)
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
                    let taken = (*left).min(bytes.len());
                    *left -= taken;
                    if *left == 0 {
                        self.end();
                    }
                    taken
                }
            };
            bytes = &bytes[taken..];
        }
    }

    /// A frame with this `header` begins.
    fn begin(&mut self, header: [u8; FRAME_HEADER_BYTES]) {
        let [high, middle, low, kind, flags, ..] = header;
        let len = u32::from_be_bytes([0, high, middle, low]) as usize;
        if kind == HEADERS || kind == CONTINUATION {
            self.blocks += usize::from(kind == HEADERS);
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
