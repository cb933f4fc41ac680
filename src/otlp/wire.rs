//! The protobuf wire format, read without copying (<https://protobuf.dev/programming-guides/encoding/>).
//!
//! It accepts and refuses what prost does, with one stated difference: groups, which protobuf deprecated and OTLP
//! never had, are refused everywhere, also in unknown fields.

use thiserror::Error;

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
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = u32::try_from(self.varint()?).map_err(|_| WireError::Key)?;
        let number = key >> 3;
        if number == 0 {
            return Err(WireError::Key);
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
                let (bytes, rest) = self.rest.split_at_checked(len).ok_or(WireError::Truncated)?;
                self.rest = rest;
                Value::Len(bytes)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            3 | 4 => return Err(WireError::Group),
            _ => return Err(WireError::Key),
        };
        Ok(Some((number, value)))
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, WireError> {
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
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
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { WireError::Truncated } else { WireError::Varint })
    }
}
