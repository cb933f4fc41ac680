//! Follows field blocks by the representation (HPACK, RFC 7541, 6), to know what they leave in the table of fields.
//!
//! The HTTP/2 library keeps an entry of that table as a slice of the buffer that the entry came in, and all of the buffer with it.
//! Peers are told to have no table, but the library does not see to it that they obey.

/// What the next byte is.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The first of a representation.
    First,
    /// Of an index that does not end with its first byte.
    Index,
    /// Of a size of the table that does not end with its first byte, and so is larger than 30. An entry has 32 or more (4.1).
    Size,
    /// The first of a string's length.
    Length,
    /// Of the length of a string, of which so much is known: value and bits.
    MoreLength(usize, u32),
    /// Of a string with so many bytes to come.
    Text(usize),
}

/// The table of a connection.
#[derive(Debug)]
pub(super) struct Fields {
    step: Step,
    /// Strings of the representation that are still to come.
    strings: u8,
    /// A field of this block has begun: the size does not change after it.
    has_begun: bool,
    /// Its size lets an entry be.
    has_room: bool,
    has_entries: bool,
    /// Entries that were added.
    added: usize,
}

impl Fields {
    pub(super) fn new() -> Self {
        Fields { step: Step::First, strings: 0, has_begun: false, has_room: true, has_entries: false, added: 0 }
    }

    /// Whether the table may have entries.
    pub(super) fn has_entries(&self) -> bool {
        self.has_entries
    }

    /// How many entries were ever added.
    pub(super) fn added(&self) -> usize {
        self.added
    }

    /// A field block begins.
    pub(super) fn begin(&mut self) {
        (self.step, self.strings, self.has_begun) = (Step::First, 0, false);
    }

    /// The field block goes on with `bytes`.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while let [byte, rest @ ..] = bytes {
            bytes = rest;
            self.step = match self.step {
                Step::First => self.first(*byte),
                Step::Index if byte & 0x80 == 0 => self.next(),
                Step::Size if byte & 0x80 == 0 => Step::First,
                Step::Length => self.length(*byte),
                Step::MoreLength(len, bits) => self.more_length(*byte, len, bits),
                Step::Text(1) => self.next(),
                Step::Text(len) => {
                    let skipped = (len - 2).min(bytes.len());
                    bytes = &bytes[skipped..];
                    Step::Text(len - 1 - skipped)
                }
                same => same,
            };
        }
    }

    /// A representation begins with `byte`: its kind, and the beginning of a number.
    fn first(&mut self, byte: u8) -> Step {
        if byte & 0xe0 == 0x20 {
            return self.size(byte & 0x1f);
        }
        self.has_begun = true;
        let (strings, bits) = match byte {
            0x80.. => (0, 7),
            0x40.. => (1, 6),
            _ => (1, 4),
        };
        if byte & 0xc0 == 0x40 && self.has_room {
            self.has_entries = true;
            self.added += 1;
        }
        let most = (1 << bits) - 1;
        let index = byte & most;
        // Without an index the name comes as a string, too.
        self.strings = if strings == 1 && index == 0 { 2 } else { strings };
        if index == most { Step::Index } else { self.next() }
    }

    /// The table is to be of this size, or more if all bits are set.
    fn size(&mut self, size: u8) -> Step {
        let is_large = size == 0x1f;
        // Elsewhere it is an error that ends the connection.
        if !self.has_begun {
            self.has_room = is_large;
            self.has_entries &= is_large;
        }
        if is_large { Step::Size } else { Step::First }
    }

    /// After a number or a string of a representation.
    fn next(&mut self) -> Step {
        match self.strings.checked_sub(1) {
            None => Step::First,
            Some(left) => {
                self.strings = left;
                Step::Length
            }
        }
    }

    fn length(&mut self, byte: u8) -> Step {
        match usize::from(byte & 0x7f) {
            0 => self.next(),
            0x7f => Step::MoreLength(0x7f, 0),
            len => Step::Text(len),
        }
    }

    fn more_length(&mut self, byte: u8, len: usize, bits: u32) -> Step {
        // The library takes no number of more bytes.
        let more = usize::from(byte & 0x7f).checked_shl(bits).unwrap_or(0);
        let len = len.saturating_add(more);
        if byte & 0x80 == 0 { Step::Text(len) } else { Step::MoreLength(len, bits.saturating_add(7)) }
    }
}

#[cfg(test)]
mod tests;
