//! Reads entries of the W3C tracestate of a span.

/// Returns the value of the entry `key`. If there are several, it is the first, which is the newest
/// (<https://www.w3.org/TR/trace-context-2/#tracestate-header>).
#[must_use]
pub fn entry<'a>(trace_state: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let mut entries = trace_state.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    entries.find_map(|entry| entry.strip_prefix(key)?.strip_prefix(b"="))
}

/// Returns the explicit randomness: the `rv` of the OpenTelemetry entry `ot`, which is exactly 14 lower-case hex digits
/// (specification/trace/tracestate-handling.md). Any other value counts as absent.
#[must_use]
pub fn randomness(trace_state: &[u8]) -> Option<u64> {
    let digits = entry(trace_state, b"ot")?.split(|&byte| byte == b';').find_map(|field| field.strip_prefix(b"rv:"))?;
    if digits.len() != 14 {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests;
