//! Names of spans without ids, so that a name that holds one does not make a series of its own.
//!
//! A name is cut into words of letters and digits. A word that is an id becomes `*`: a number, a UUID, hexadecimal
//! digits after `0x`, eight or more hexadecimal digits with at least one decimal digit, or ten or more letters and
//! digits with at least three digits. Three or more digits at the end of a word become `*`, too. All rules need a
//! digit, so most names are copied as they are.

/// The shortest word of hexadecimal digits that is an id. Shorter ones are often words, such as `add1`.
const HEX_MIN: usize = 8;

/// The shortest word of letters and digits that is an id, and the digits that it must have.
const MIXED_MIN: usize = 10;
const MIXED_DIGITS_MIN: usize = 3;

/// The fewest digits at the end of a word that are an id, so that `v1`, `http2` and `k8s` stay.
const TAIL_DIGITS_MIN: usize = 3;

const UUID_BYTES: usize = 36;
const UUID_DASHES: [usize; 4] = [8, 13, 18, 23];

/// Appends `name`, a valid text, without ids.
pub(super) fn write_normalized(name: &[u8], out: &mut Vec<u8>) {
    // Adding up needs no branch for each byte.
    let digits = name.iter().fold(0_usize, |sum, byte| sum + usize::from(byte.is_ascii_digit()));
    if digits == 0 {
        return out.extend_from_slice(name);
    }
    let mut rest = name;
    while let Some(&first) = rest.first() {
        if is_uuid(rest) {
            out.push(b'*');
            rest = &rest[UUID_BYTES..];
        } else if is_word(first) {
            let len = rest.iter().position(|&byte| !is_word(byte)).unwrap_or(rest.len());
            write_word(&rest[..len], out);
            rest = &rest[len..];
        } else {
            out.push(first);
            rest = &rest[1..];
        }
    }
}

/// Returns true for a letter, also outside of ASCII, or a digit.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

fn is_uuid(text: &[u8]) -> bool {
    let Some(uuid) = text.get(..UUID_BYTES) else { return false };
    let fits = |(at, byte): (usize, &u8)| {
        if UUID_DASHES.contains(&at) { *byte == b'-' } else { byte.is_ascii_hexdigit() }
    };
    uuid.iter().enumerate().all(fits) && !text.get(UUID_BYTES).is_some_and(|&byte| is_word(byte))
}

fn write_word(word: &[u8], out: &mut Vec<u8>) {
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return out.extend_from_slice(word);
    }
    let hex = word.strip_prefix(b"0x").filter(|hex| !hex.is_empty());
    let is_hex = |text: &[u8]| text.iter().all(u8::is_ascii_hexdigit);
    let is_id = digits == word.len()
        || hex.is_some_and(is_hex)
        || word.len() >= HEX_MIN && is_hex(word)
        || word.len() >= MIXED_MIN && digits >= MIXED_DIGITS_MIN && word.iter().all(u8::is_ascii_alphanumeric);
    if is_id {
        return out.push(b'*');
    }
    let tail = word.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    if tail >= TAIL_DIGITS_MIN {
        out.extend_from_slice(&word[..word.len() - tail]);
        out.push(b'*');
    } else {
        out.extend_from_slice(word);
    }
}

#[cfg(test)]
mod tests;
