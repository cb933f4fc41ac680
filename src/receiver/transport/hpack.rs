//! Follows the representations in field blocks (HPACK, RFC 7541, 6), to know which entries they leave in the HPACK
//! table.
//!
//! The HTTP/2 library keeps each table entry as a slice of the buffer that the entry arrived in. So an entry keeps its
//! whole buffer alive. The receiver tells peers to use no table, but the library does not enforce that.

/// Meaning of the next byte.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// First byte of a representation.
    First,
    /// Further byte of an index that does not end with its first byte.
    Index,
    /// Further byte of a table size that does not end with its first byte, and is therefore larger than 30. An entry
    /// takes 32 bytes or more (4.1).
    Size,
    /// First byte of a string's length.
    Length,
    /// Further byte of a string's length. The fields are the value so far and the number of its bits.
    MoreLength(usize, u32),
    /// Byte of a string. The field is the number of bytes that are still to come.
    Text(usize),
}

/// The HPACK table of a connection.
#[derive(Debug)]
pub(in crate::receiver) struct Fields {
    step: Step,
    /// Number of strings of the current representation that are still to come.
    strings: u8,
    /// True if a field of this block has begun. The table size cannot change after that.
    has_begun: bool,
    /// True if the table size allows an entry.
    has_room: bool,
    has_entries: bool,
    /// Number of entries that were ever added.
    added: usize,
}

impl Fields {
    pub(in crate::receiver) fn new() -> Self {
        Fields { step: Step::First, strings: 0, has_begun: false, has_room: true, has_entries: false, added: 0 }
    }

    /// Returns true if the table may have entries.
    pub(super) fn has_entries(&self) -> bool {
        self.has_entries
    }

    /// Returns the number of entries that were ever added.
    pub(super) fn added(&self) -> usize {
        self.added
    }

    /// Begins a field block.
    pub(in crate::receiver) fn begin(&mut self) {
        (self.step, self.strings, self.has_begun) = (Step::First, 0, false);
    }

    /// Follows further `bytes` of the field block.
    pub(in crate::receiver) fn read(&mut self, mut bytes: &[u8]) {
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

    /// Begins a representation with `byte`, which holds its kind and the beginning of a number.
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
        // An index of 0 means that the name is a string, too.
        self.strings = if strings == 1 && index == 0 { 2 } else { strings };
        if index == most { Step::Index } else { self.next() }
    }

    /// Sets the table size to `size`, or to a larger one if all of its bits are set.
    fn size(&mut self, size: u8) -> Step {
        let is_large = size == 0x1f;
        // A size change elsewhere is an error that ends the connection.
        if !self.has_begun {
            self.has_room = is_large;
            self.has_entries &= is_large;
        }
        if is_large { Step::Size } else { Step::First }
    }

    /// Returns the step after a number or a string of a representation.
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
        // The library does not accept longer numbers.
        let more = usize::from(byte & 0x7f).checked_shl(bits).unwrap_or(0);
        let len = len.saturating_add(more);
        if byte & 0x80 == 0 { Step::Text(len) } else { Step::MoreLength(len, bits.saturating_add(7)) }
    }
}

#[cfg(test)]
mod tests;
