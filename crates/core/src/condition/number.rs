//! Exact comparison of numbers: neither number is rounded to the other's type.

use std::cmp::Ordering;
use std::fmt::{self, Display, Formatter};

use super::{Number, Range};

/// 2^63: the first double above every `i64`.
const I64_END: f64 = 9_223_372_036_854_775_808.0;

impl Range {
    /// Returns true if `number` is within the range. NaN is within no range.
    #[must_use]
    #[inline]
    pub fn contains(&self, number: Number) -> bool {
        let above = self.min.is_none_or(|min| match number.compare(min.at) {
            Some(Ordering::Greater) => true,
            Some(Ordering::Equal) => min.inclusive,
            _ => false,
        });
        let below = self.max.is_none_or(|max| match number.compare(max.at) {
            Some(Ordering::Less) => true,
            Some(Ordering::Equal) => max.inclusive,
            _ => false,
        });
        above && below && !matches!(number, Number::Double(v) if v.is_nan())
    }
}

impl Number {
    /// Compares the exact values. Returns `None` if either of them is NaN.
    #[must_use]
    #[inline]
    pub fn compare(self, other: Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
            (Number::Double(a), Number::Double(b)) => a.partial_cmp(&b),
            (Number::Int(a), Number::Double(b)) => compare_int_double(a, b),
            (Number::Double(a), Number::Int(b)) => compare_int_double(b, a).map(Ordering::reverse),
        }
    }

    /// Parses a decimal number, with or without a fraction and an exponent. Returns `None` for any other text.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        // Rust would also read the words inf, infinity and nan as doubles.
        if text.bytes().any(|byte| byte.is_ascii_alphabetic() && !byte.eq_ignore_ascii_case(&b'e')) {
            return None;
        }
        let int = text.parse().ok().map(Number::Int);
        int.or_else(|| text.parse().ok().map(Number::Double))
    }
}

/// The text of a double as the Collector writes it: the fewest digits that read back as the same number, no fraction if
/// it is zero, and an exponent for magnitudes below 0.000001 and from 1e+21. Source: `float64AsString` in pdata's
/// `value.go`, which follows JavaScript and JSON.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DoubleText(pub f64);

impl Display for DoubleText {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let DoubleText(number) = *self;
        let magnitude = number.abs();
        if !number.is_finite() {
            let sign = if number == f64::INFINITY { "+" } else { "" };
            let name = if number.is_nan() { "NaN" } else { "Inf" };
            let sign = if number == f64::NEG_INFINITY { "-" } else { sign };
            write!(f, "json: unsupported value: {sign}{name}")
        } else if number == 0.0 || (1e-6..1e21).contains(&magnitude) {
            write!(f, "{number}")
        } else if magnitude < 1.0 {
            // Rust's exponent has no sign and no leading zero: 1e-7.
            write!(f, "{number:e}")
        } else {
            let text = format_args!("{number:e}").to_string();
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            write!(f, "{digits}e+{exponent}")
        }
    }
}

fn compare_int_double(a: i64, b: f64) -> Option<Ordering> {
    if b.is_nan() {
        None
    } else if b >= I64_END {
        Some(Ordering::Less)
    } else if b < -I64_END {
        Some(Ordering::Greater)
    } else {
        // In this range the whole part of `b` is exactly an i64.
        let whole = a.cmp(&(b.trunc() as i64));
        if whole.is_ne() { Some(whole) } else { 0.0.partial_cmp(&b.fract()) }
    }
}

#[cfg(test)]
mod tests;
