//! The protobuf wire format, read without copying (<https://protobuf.dev/programming-guides/encoding/>).
//!
//! The reader accepts and refuses the same bytes as prost, with one known difference: it refuses groups everywhere,
//! also in unknown fields. Protobuf has deprecated groups, and OTLP has never used them.

#[cfg(test)]
mod tests;

use thiserror::Error;

use super::visited;

/// The most levels of nested messages. This is the limit of prost, and far more than an OTLP sender writes.
pub const DEPTH_MAX: u32 = 100;

/// The reason why bytes are not a valid protobuf message of the expected type. Retrying cannot help.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum WireError {
    /// A field reaches past the end of its message.
    #[error("a field reaches past the end of its message")]
    Truncated,
    /// A varint has more than 64 bits.
    #[error("a varint has more than 64 bits")]
    Varint,
    /// A key has field number 0 or a number above 2^29 - 1, or a wire type that does not exist.
    #[error("a field has an invalid key")]
    Key,
    /// A field is a group (wire types 3 and 4).
    #[error("a field has a group wire type")]
    Group,
    /// A known field has a wire type that is not its own.
    #[error("a field has the wrong wire type")]
    WireType,
    /// Messages are nested more than [`DEPTH_MAX`] deep.
    #[error("messages are nested more than {DEPTH_MAX} deep")]
    Depth,
    /// The body is larger than 4 GiB, so byte ranges of 32 bits cannot address it.
    #[error("the message is larger than 4 GiB")]
    TooLarge,
}

/// The form of a field's value on the wire. Groups (3 and 4) are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum WireType {
    /// A varint of 1 to 10 bytes.
    Varint = 0,
    /// Eight bytes, little endian.
    Fixed64 = 1,
    /// A length as a varint, then that many bytes.
    Len = 2,
    /// Four bytes, little endian.
    Fixed32 = 5,
}

/// Returns the key of a field: its number and wire type in one integer, which is written before the value.
#[must_use]
pub const fn key(number: u32, wire_type: WireType) -> u32 {
    number << 3 | wire_type as u32
}

/// The value of a field, by its wire type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WireValue<'a> {
    /// The value of a field of wire type 0.
    Varint(u64),
    /// The value of a field of wire type 1.
    Fixed64(u64),
    /// The content of a field of wire type 2.
    Len(&'a [u8]),
    /// The value of a field of wire type 5.
    Fixed32(u32),
}

impl<'a> WireValue<'a> {
    /// Returns the content of a length-delimited field.
    ///
    /// # Errors
    /// [`WireError::WireType`] for any other wire type.
    #[inline]
    pub fn len_delimited(self) -> Result<&'a [u8], WireError> {
        if let WireValue::Len(bytes) = self { Ok(bytes) } else { Err(WireError::WireType) }
    }

    /// Returns the value of a varint field.
    ///
    /// # Errors
    /// [`WireError::WireType`] for any other wire type.
    #[inline]
    pub fn varint(self) -> Result<u64, WireError> {
        if let WireValue::Varint(v) = self { Ok(v) } else { Err(WireError::WireType) }
    }

    /// Returns the value of a fixed64 or double field.
    ///
    /// # Errors
    /// [`WireError::WireType`] for any other wire type.
    #[inline]
    pub fn fixed64(self) -> Result<u64, WireError> {
        if let WireValue::Fixed64(v) = self { Ok(v) } else { Err(WireError::WireType) }
    }

    /// Returns the value of a fixed32 field.
    ///
    /// # Errors
    /// [`WireError::WireType`] for any other wire type.
    #[inline]
    pub fn fixed32(self) -> Result<u32, WireError> {
        if let WireValue::Fixed32(v) = self { Ok(v) } else { Err(WireError::WireType) }
    }
}

/// A reader of the fields of one message, in the order of the message.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    total: usize,
}

impl<'a> Reader<'a> {
    /// Creates a reader of the message `bytes`.
    #[must_use]
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes, total: bytes.len() }
    }

    /// Returns true if the message has been read to its end.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Returns the number of bytes read so far. After a length-delimited field with `n` bytes of content, the content
    /// begins at `position() - n`.
    #[must_use]
    #[inline]
    pub fn position(&self) -> usize {
        self.total - self.rest.len()
    }

    /// Reads the number and value of the next field. Returns `None` at the end of the message.
    ///
    /// # Errors
    /// See [`WireError`]. The reader must not be used after an error.
    #[inline]
    pub fn field(&mut self) -> Result<Option<(u32, WireValue<'a>)>, WireError> {
        let Some(key) = self.key()? else { return Ok(None) };
        self.value(key).map(|value| Some((key >> 3, value)))
    }

    /// Reads the [`key`] of the next field. Returns `None` at the end of the message. The caller must read the value
    /// next: with the method for its wire type if the key is known, else with [`Reader::value`], which refuses invalid
    /// keys.
    ///
    /// # Errors
    /// See [`Reader::field`].
    #[inline]
    pub fn key(&mut self) -> Result<Option<u32>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        u32::try_from(self.varint()?).map(Some).map_err(|_| WireError::Key)
    }

    /// Reads the value of the field whose `key` was read last.
    ///
    /// # Errors
    /// See [`Reader::field`].
    #[inline]
    pub fn value(&mut self, key: u32) -> Result<WireValue<'a>, WireError> {
        if key >> 3 == 0 {
            return Err(WireError::Key);
        }
        match key & 7 {
            0 => self.varint().map(WireValue::Varint),
            1 => self.fixed64().map(WireValue::Fixed64),
            2 => self.len_delimited().map(WireValue::Len),
            5 => self.fixed32().map(WireValue::Fixed32),
            3 | 4 => Err(WireError::Group),
            _ => Err(WireError::Key),
        }
    }

    /// Skips fields with this `key` of wire type 2 for as long as `skips` returns true for their content. Keys and lengths
    /// of one byte are enough for nearly all attributes of a span, and are skipped at once; at any other field it stops.
    #[inline]
    pub fn skip_short(&mut self, key: u8, skips: impl Fn(&[u8]) -> bool) {
        // In variables of its own, so that they stay in registers.
        let mut next = self.rest;
        while let [first, len @ ..0x80, rest @ ..] = next
            && *first == key
            && let Some((content, rest)) = rest.split_at_checked(usize::from(*len))
            && skips(content)
        {
            visited::add(2 + content.len());
            next = rest;
        }
        self.rest = next;
    }

    /// Reads the content of a field of wire type 2.
    ///
    /// # Errors
    /// See [`Reader::field`].
    #[inline]
    pub fn len_delimited(&mut self) -> Result<&'a [u8], WireError> {
        let len = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(WireError::Truncated)?;
        self.rest = rest;
        visited::add(len);
        Ok(bytes)
    }

    /// Reads the value of a field of wire type 1.
    ///
    /// # Errors
    /// See [`Reader::field`].
    #[inline]
    pub fn fixed64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads the value of a field of wire type 5.
    ///
    /// # Errors
    /// See [`Reader::field`].
    #[inline]
    pub fn fixed32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Reads the value of a field of wire type 0.
    ///
    /// # Errors
    /// See [`Reader::field`].
    #[inline]
    pub fn varint(&mut self) -> Result<u64, WireError> {
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                visited::add(1);
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.rest = rest;
        visited::add(N);
        Ok(*bytes)
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for (i, &byte) in self.rest.iter().enumerate().take(10) {
            if i == 9 && byte > 1 {
                return Err(WireError::Varint);
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                visited::add(i + 1);
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { WireError::Truncated } else { WireError::Varint })
    }
}
