//! The GOAWAY frame (RFC 9113, 6.8) that the receiver writes itself, because the HTTP/2 library offers no way to close a
//! connection with an error code. It may be written only between two frames of the library.

/// Bytes of a frame header (RFC 9113, 4.1). The first three are the length of the payload.
const FRAME_HEADER_BYTES: usize = 9;

/// Error code of a peer that causes too much work (RFC 9113, 7).
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// Type of the frame.
const GOAWAY: u8 = 7;

/// Position in the frames that the library writes.
#[derive(Debug, Default)]
pub(super) struct SentFrames {
    /// Length of the payload of the present frame, as far as its header has been written.
    length: usize,
    /// Bytes of the present frame header that have been written.
    header_bytes: usize,
    /// Bytes of the present payload that are still to come.
    left_bytes: usize,
    has_begun: bool,
}

impl SentFrames {
    /// Follows `bytes` that were written.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        self.has_begun |= !bytes.is_empty();
        loop {
            let skipped = self.left_bytes.min(bytes.len());
            self.left_bytes -= skipped;
            let [byte, rest @ ..] = &bytes[skipped..] else { return };
            bytes = rest;
            if self.header_bytes < 3 {
                self.length = (self.length << 8) | usize::from(*byte);
            }
            self.header_bytes += 1;
            if self.header_bytes == FRAME_HEADER_BYTES {
                *self = SentFrames { left_bytes: self.length, has_begun: true, ..SentFrames::default() };
            }
        }
    }

    /// Returns true if another frame may be written now: the SETTINGS frame that comes first (RFC 9113, 3.4) and any
    /// further frame are complete.
    pub(super) fn is_between(&self) -> bool {
        self.has_begun && self.header_bytes == 0 && self.left_bytes == 0
    }
}

/// Returns the frame that tells the peer to send less. Requests up to `last_stream` may have been served.
pub(super) fn calm_down(last_stream: u32) -> [u8; 17] {
    let mut frame = [0; 17];
    frame[2] = 8;
    frame[3] = GOAWAY;
    frame[9..13].copy_from_slice(&last_stream.to_be_bytes());
    frame[13..].copy_from_slice(&ENHANCE_YOUR_CALM.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests;
