//! Durations, sizes and percentages as people write them.

use std::time::Duration;

use super::diagnostic::{SettingError, quote};
use super::suggest::did_you_mean;

/// Nanoseconds by unit. The units are those of Go, so that the Collector's durations can be read.
const DURATION_UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Bytes by unit.
const SIZE_UNITS: [(&str, f64); 9] = [
    ("B", 1.0),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("KiB", 1024.0),
    ("MiB", 1048576.0),
    ("GiB", 1073741824.0),
    ("TiB", 1099511627776.0),
];

/// Reads a duration such as `500ms`, `1m30s` or `0`.
pub fn duration(text: &str) -> Result<Duration, SettingError> {
    let wrong = || {
        SettingError::new(format!("{} is not a duration", quote(text))).help("write it like `500ms`, `10s` or `1m30s`")
    };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(wrong());
    }
    if text.parse::<f64>().is_ok() {
        return Err(SettingError::new(format!("the duration {} has no unit", quote(text)))
            .help("write it like `10s` or `500ms`"));
    }
    let (mut rest, mut nanoseconds) = (text, 0.0);
    while !rest.is_empty() {
        let (number, after) = leading_number(rest).ok_or_else(wrong)?;
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = (after[..unit_end].trim(), &after[unit_end..]);
        nanoseconds +=
            number * factor(&DURATION_UNITS, unit).ok_or_else(|| unknown_unit(text, unit, &DURATION_UNITS))?;
        rest = after;
    }
    // Nanoseconds of any duration that is in range are whole numbers in an f64.
    Duration::try_from_secs_f64(nanoseconds / 1e9).map_err(|_| wrong())
}

/// Reads a size such as `512MiB`, `64KB` or `1.5GiB`, or bytes without a unit.
pub fn bytes(text: &str) -> Result<u64, SettingError> {
    let wrong = || {
        SettingError::new(format!("{} is not a size", quote(text))).help("write it like `512MiB`, `64KB` or `1048576`")
    };
    if let Ok(bytes) = text.parse() {
        return Ok(bytes);
    }
    let (number, unit) = leading_number(text).ok_or_else(wrong)?;
    let unit = unit.trim();
    let bytes = number * factor(&SIZE_UNITS, unit).ok_or_else(|| unknown_unit(text, unit, &SIZE_UNITS))?;
    // Past 2^53 an f64 skips whole numbers; no limit here is near it.
    if bytes.fract() == 0.0 && bytes < 9e15 { Ok(bytes as u64) } else { Err(wrong()) }
}

/// Returns the number before `%`; `None` if there is none.
pub fn percent(text: &str) -> Option<f64> {
    leading_number(text.strip_suffix('%')?).filter(|(_, rest)| rest.trim().is_empty()).map(|(number, _)| number)
}

/// Returns bytes in the largest unit that divides them.
pub fn display_bytes(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.iter().find(|(_, shift)| bytes >= 1 << shift && bytes.is_multiple_of(1 << shift));
    unit.map_or_else(|| format!("{bytes}B"), |(name, shift)| format!("{}{name}", bytes >> shift))
}

/// Returns a duration in the largest unit that divides it.
pub fn display_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    let unit = units.iter().find(|(_, size)| milliseconds >= *size && milliseconds.is_multiple_of(*size));
    match unit {
        Some((name, size)) => format!("{}{name}", milliseconds / size),
        None if milliseconds == 0 => "0s".to_owned(),
        None => format!("{milliseconds}ms"),
    }
}

/// Returns a time in its two largest units, such as `2 d 4 h`, for people.
pub fn display_seconds(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Returns a number with a comma after each three digits, such as `2,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Returns the number at the start of `text` and the rest: digits with at most one point, no sign and no exponent.
fn leading_number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    number.parse().ok().map(|number| (number, rest))
}

fn factor(units: &[(&str, f64)], unit: &str) -> Option<f64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

fn unknown_unit(text: &str, unit: &str, units: &[(&str, f64)]) -> SettingError {
    let names = units.iter().map(|(name, _)| *name);
    let fault = if unit.is_empty() {
        SettingError::new(format!("{} lacks a unit", quote(text)))
    } else {
        SettingError::new(format!("{}: unknown unit {}", quote(text), quote(unit)))
    };
    match did_you_mean(unit, names.clone()) {
        Some(help) => fault.help(help),
        None => fault.help(format!("units: {}", names.collect::<Vec<_>>().join(", "))),
    }
}

#[cfg(test)]
mod tests;
