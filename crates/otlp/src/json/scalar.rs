//! Strings, numbers and ids. Each JSON value becomes one protobuf field.

use std::borrow::Cow;
use std::fmt;

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine};
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use super::output::MessageOutput;
use super::schema::{JsonField, JsonType};

/// The bytes written for an id that is not hexadecimal. No valid id has this length, so the scan rejects only this
/// span. They are not zero, so that an invalid parent id does not make its span a root.
const NOT_AN_ID: [u8; 1] = [0xff];

/// The most bytes of an invalid string that an error quotes.
const SHOWN_TEXT_LEN_MAX: usize = 64;

/// The base64 settings: proto3 JSON allows both alphabets, with or without padding.
const BASE64: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64_STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, BASE64);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, BASE64);

/// A value of the scalar type `kind` for `field`.
pub(super) struct ScalarVisitor<'o> {
    pub(super) field: &'static JsonField,
    pub(super) kind: JsonType,
    pub(super) out: &'o mut MessageOutput,
}

impl<'o> ScalarVisitor<'o> {
    /// Reads the value. Strings are read as bytes, because serde would refuse the whole request for one lone surrogate.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.kind {
            JsonType::String | JsonType::Id | JsonType::Bytes => deserializer.deserialize_bytes(self),
            _ => deserializer.deserialize_any(self),
        }
    }

    /// Writes a string of the body. Like a string of a protobuf body, it is not checked for UTF-8.
    fn text<E: Error>(self, text: &[u8]) -> Result<(), E> {
        match self.kind {
            JsonType::String => self.out.bytes(self.field.number, text),
            JsonType::Id => self.id(text),
            _ => return self.base64(text),
        }
        Ok(())
    }

    /// Writes an id. OTLP/JSON ids are hexadecimal, in upper or lower case. The scan finds invalid ids, span by span.
    fn id(self, text: &[u8]) {
        let open = self.out.open(self.field.number);
        let content = self.out.content();
        let start = content.len();
        if unhex(text, content).is_none() {
            content.truncate(start);
            content.extend_from_slice(&NOT_AN_ID);
        }
        self.out.close(open);
    }

    fn base64<E: Error>(self, text: &[u8]) -> Result<(), E> {
        let url = text.iter().any(|b| matches!(b, b'-' | b'_'));
        let engine = if url { BASE64_URL } else { BASE64_STANDARD };
        let open = self.out.open(self.field.number);
        if engine.decode_vec(text, self.out.content()).is_err() {
            return Err(E::invalid_value(Unexpected::Str(&shown(text)), &self));
        }
        self.out.close(open);
        Ok(())
    }

    fn integer<E: Error>(mut self, value: i128, shown: Unexpected<'_>) -> Result<(), E> {
        self.write_integer(value).ok_or_else(|| E::invalid_value(shown, &self))
    }

    /// Writes an integer. Returns `None` if the value is not in the range of the type.
    fn write_integer(&mut self, value: i128) -> Option<()> {
        let number = self.field.number;
        match self.kind {
            JsonType::Int64 => self.out.varint(number, i64::try_from(value).ok()?.cast_unsigned()),
            JsonType::Uint32 => self.out.varint(number, u32::try_from(value).ok()?.into()),
            // Unknown enum values are accepted, because protobuf enums are open. Negative values are sign-extended.
            JsonType::Enum(_) => self.out.varint(number, i64::from(i32::try_from(value).ok()?).cast_unsigned()),
            JsonType::Fixed32 => self.out.fixed32(number, u32::try_from(value).ok()?),
            JsonType::Fixed64 => self.out.fixed64(number, u64::try_from(value).ok()?),
            JsonType::Double => self.double(value as f64),
            _ => return None,
        }
        Some(())
    }

    fn double(&mut self, value: f64) {
        self.out.fixed64(self.field.number, value.to_bits());
    }

    /// Writes the number that a string contains. proto3 JSON writes 64-bit integers as strings, and so doubles for
    /// which JSON has no notation.
    fn write_text_number(&mut self, text: &str) -> Option<()> {
        match self.kind {
            JsonType::Bool => None,
            JsonType::Double => {
                let value = text.parse::<f64>().ok()?;
                let overflow = value.is_infinite() && text.bytes().any(|b| b.is_ascii_digit());
                (!overflow).then(|| self.double(value))
            }
            JsonType::Enum(names) if names.contains(&text) => {
                let value = names.iter().position(|&name| name == text)?;
                self.write_integer(value as i128)
            }
            _ => self.write_integer(integer(text)?),
        }
    }
}

impl Visitor<'_> for ScalarVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            JsonType::String => "a string",
            JsonType::Id => "a string of hexadecimal digits",
            JsonType::Bytes => "base64",
            JsonType::Bool => "a boolean",
            JsonType::Int64 => "an int64",
            JsonType::Uint32 | JsonType::Fixed32 => "a uint32",
            JsonType::Fixed64 => "a uint64",
            JsonType::Double => "a double",
            JsonType::Enum(_) => "an enum's number or name",
            JsonType::Message(_) | JsonType::Messages(_) | JsonType::Strings => "a scalar",
        };
        write!(f, "{kind} as `{}`", self.field.name)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        if !matches!(self.kind, JsonType::Bool) {
            return Err(E::invalid_type(Unexpected::Bool(value), &self));
        }
        self.out.varint(self.field.number, value.into());
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.integer(value.into(), Unexpected::Unsigned(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.integer(value.into(), Unexpected::Signed(value))
    }

    /// Writes a number with a fraction or an exponent, or an integer beyond 64 bits.
    fn visit_f64<E: Error>(mut self, value: f64) -> Result<(), E> {
        if matches!(self.kind, JsonType::Double) {
            self.double(value);
            return Ok(());
        }
        let written = integral(value).and_then(|value| self.write_integer(value));
        written.ok_or_else(|| E::invalid_value(Unexpected::Float(value), &self))
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        self.write_text_number(text).ok_or_else(|| E::invalid_value(Unexpected::Str(&shown(text.as_bytes())), &self))
    }

    /// Writes a string that has no escapes.
    fn visit_borrowed_bytes<E: Error>(self, text: &[u8]) -> Result<(), E> {
        self.text(text)
    }

    /// Writes a string whose escapes serde_json has resolved. Lone surrogates (`\ud800`) arrive as three bytes, encoded
    /// by the scheme of UTF-8.
    fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<(), E> {
        self.text(&without_surrogates(text))
    }
}

/// Returns the integer that a string contains. Times and counts have at most 64 bits, and those are parsed in half the
/// time of 128.
fn integer(text: &str) -> Option<i128> {
    if let Ok(value) = text.parse::<i64>() {
        return Some(value.into());
    }
    text.parse().ok().or_else(|| integral(text.parse().ok()?))
}

/// Returns the integer that a number with a fraction or an exponent (`1.5e18`, `1.0`) is equal to, if there is one.
fn integral(value: f64) -> Option<i128> {
    // The cast saturates beyond 128 bits, which is far outside the range of every integer type here.
    (value.fract() == 0.0).then_some(value as i128)
}

/// The value of each byte as a hexadecimal digit; [`NOT_A_DIGIT`] for the others.
static HEX_DIGITS: [u8; 256] = {
    let mut digits = [NOT_A_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value] as usize] = value as u8;
        digits[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

const NOT_A_DIGIT: u8 = 0xff;

/// Decodes hexadecimal `text` and appends the bytes. Returns `None` if `text` is not hexadecimal.
fn unhex(text: &[u8], bytes: &mut Vec<u8>) -> Option<()> {
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    let mut seen = 0;
    bytes.extend(pairs.iter().map(|&[high, low]| {
        let (high, low) = (HEX_DIGITS[usize::from(high)], HEX_DIGITS[usize::from(low)]);
        seen |= high | low;
        high << 4 | low
    }));
    // Only NOT_A_DIGIT has bits above the lower four.
    (seen < 16).then_some(())
}

/// The first byte of a surrogate (U+D800..=U+DFFF) encoded by the scheme of UTF-8. The second is 0xa0..=0xbf.
const SURROGATE_LEAD: u8 = 0xed;

/// Replaces each lone surrogate with U+FFFD. Both are three bytes long.
fn without_surrogates(text: &[u8]) -> Cow<'_, [u8]> {
    let mut text = Cow::Borrowed(text);
    let mut at = 0;
    while let Some(found) = text[at..].iter().position(|&b| b == SURROGATE_LEAD) {
        at += found;
        if matches!(text[at..], [_, 0xa0..=0xbf, _, ..]) {
            text.to_mut()[at..at + 3].copy_from_slice("\u{fffd}".as_bytes());
        }
        at += 1;
    }
    text
}

/// Returns the beginning of an invalid string, for an error message.
fn shown(text: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(&text[..text.len().min(SHOWN_TEXT_LEN_MAX)])
}
