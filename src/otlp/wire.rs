//! The protobuf wire format, read without copying (<https://protobuf.dev/programming-guides/encoding/>).
//!
//! It accepts and refuses what prost does, with one stated difference: groups, which protobuf deprecated and OTLP
//! never had, are refused everywhere, also in unknown fields.

#[cfg(test)]
mod tests;

use thiserror::Error;

use super::visited;

/// Messages may nest this deep; prost's limit, and far above what an OTLP sender writes.
pub const DEPTH_MAX: u32 = 100;

/// Why bytes are not the protobuf message that they should be. Retrying cannot help.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum WireError {
    /// A field, or the length that it states, reaches past the end of its message.
    #[error("a field reaches past the end of its message")]
    Truncated,
    /// A varint of more than 64 bits.
    #[error("a varint has more than 64 bits")]
    Varint,
    /// A key with field number 0 or beyond 2^29 - 1, or a wire type that does not exist.
    #[error("a field has an invalid key")]
    Key,
    /// A group (wire types 3 and 4).
    #[error("a field has a group wire type")]
    Group,
    /// A known field with another wire type than its own.
    #[error("a field has the wrong wire type")]
    WireType,
    /// More than [`DEPTH_MAX`] messages inside one another.
    #[error("messages are nested more than {DEPTH_MAX} deep")]
    Depth,
    /// A body that byte ranges of 32 bits cannot address.
    #[error("the message is larger than 4 GiB")]
    TooLarge,
}

/// How the wire holds a field's value. Groups (3 and 4) are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum WireType {
    /// A varint.
    Varint = 0,
    /// 8 bytes.
    Fixed64 = 1,
    /// A length and that many bytes.
    Len = 2,
    /// 4 bytes.
    Fixed32 = 5,
}

/// The key of a field, which stands before its value: number and wire type in one.
#[must_use]
pub const fn key(number: u32, wire_type: WireType) -> u32 {
    number << 3 | wire_type as u32
}

/// A field's value as the wire gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1, little endian.
    Fixed64(u64),
    /// Wire type 2.
    Len(&'a [u8]),
    /// Wire type 5, little endian.
    Fixed32(u32),
}

impl<'a> Value<'a> {
    /// The bytes of a length-delimited field.
    ///
    /// # Errors
    /// [`WireError::WireType`] for any other wire type.
    #[inline]
    pub fn len_delimited(self) -> Result<&'a [u8], WireError> {
        if let Value::Len(bytes) = self { Ok(bytes) } else { Err(WireError::WireType) }
    }

    /// The value of a varint field.
    ///
    /// # Errors
    /// [`WireError::WireType`] for any other wire type.
    #[inline]
    pub fn varint(self) -> Result<u64, WireError> {
        if let Value::Varint(v) = self { Ok(v) } else { Err(WireError::WireType) }
    }

    /// The value of a fixed64 (or double) field.
    ///
    /// # Errors
    /// [`WireError::WireType`] for any other wire type.
    #[inline]
    pub fn fixed64(self) -> Result<u64, WireError> {
        if let Value::Fixed64(v) = self { Ok(v) } else { Err(WireError::WireType) }
    }

    /// The value of a fixed32 field.
    ///
    /// # Errors
    /// [`WireError::WireType`] for any other wire type.
    #[inline]
    pub fn fixed32(self) -> Result<u32, WireError> {
        if let Value::Fixed32(v) = self { Ok(v) } else { Err(WireError::WireType) }
    }
}

/// Reads the fields of one message in order.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    total: usize,
}

impl<'a> Reader<'a> {
    /// A reader of the message `bytes`.
    #[must_use]
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes, total: bytes.len() }
    }

    /// Whether the message has been read to its end.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes read so far. After a length-delimited field of `n` bytes its content began at `position() - n`.
    #[must_use]
    #[inline]
    pub fn position(&self) -> usize {
        self.total - self.rest.len()
    }

    /// The next field's number and value, or `None` at the end of the message.
    ///
    /// # Errors
    /// See [`WireError`]; the reader must not be used after one.
    #[inline]
    pub fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, WireError> {
        let Some(key) = self.key()? else { return Ok(None) };
        self.value(key).map(|value| Some((key >> 3, value)))
    }

    /// The next field's [`key`], or `None` at the end of the message. Its value must be read next: by the method for
    /// its wire type if the key is a known one, else by [`Reader::value`], which refuses keys that are none.
    ///
    /// # Errors
    /// As [`Reader::field`].
    #[inline]
    pub fn key(&mut self) -> Result<Option<u32>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        u32::try_from(self.varint()?).map(Some).map_err(|_| WireError::Key)
    }

    /// The value of the field whose `key` was read last.
    ///
    /// # Errors
    /// As [`Reader::field`].
    #[inline]
    pub fn value(&mut self, key: u32) -> Result<Value<'a>, WireError> {
        if key >> 3 == 0 {
            return Err(WireError::Key);
        }
        match key & 7 {
            0 => self.varint().map(Value::Varint),
            1 => self.fixed64().map(Value::Fixed64),
            2 => self.len_delimited().map(Value::Len),
            5 => self.fixed32().map(Value::Fixed32),
            3 | 4 => Err(WireError::Group),
            _ => Err(WireError::Key),
        }
    }

    /// The value of a field of wire type 2.
    ///
    /// # Errors
    /// As [`Reader::field`].
    #[inline]
    pub fn len_delimited(&mut self) -> Result<&'a [u8], WireError> {
        let len = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(WireError::Truncated)?;
        self.rest = rest;
        visited::add(len);
        Ok(bytes)
    }

    /// The value of a field of wire type 1.
    ///
    /// # Errors
    /// As [`Reader::field`].
    #[inline]
    pub fn fixed64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    /// The value of a field of wire type 5.
    ///
    /// # Errors
    /// As [`Reader::field`].
    #[inline]
    pub fn fixed32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    /// The value of a field of wire type 0.
    ///
    /// # Errors
    /// As [`Reader::field`].
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
