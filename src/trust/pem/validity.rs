//! The expiry time of a certificate. It is a single field of X.509, and a complete parser would add a dozen crates.

/// DER tags (X.690).
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

const DAY_S: u64 = 86_400;

/// Returns the `notAfter` of a certificate in DER (RFC 5280, 4.1), in seconds since 1970. `None` if the bytes are not a
/// certificate.
#[must_use]
pub fn not_after_s(certificate: &[u8]) -> Option<u64> {
    let (certificate, _) = expect(SEQUENCE, certificate)?;
    let (mut fields, _) = expect(SEQUENCE, certificate)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    // Skips the serial number, the signature algorithm and the issuer.
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (validity, _) = expect(SEQUENCE, fields)?;
    let (_, _, not_after) = element(validity)?;
    let (tag, text, _) = element(not_after)?;
    time_s(tag, text)
}

/// Returns the tag of the first element, its contents, and the bytes after it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // The long form: this many bytes with the length follow. No element here needs more than four of them.
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

fn expect(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    element(der).filter(|(found, ..)| *found == tag).map(|(_, contents, rest)| (contents, rest))
}

/// Returns the seconds since 1970 of `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280, 4.1.2.5: always with seconds and
/// in UTC).
fn time_s(tag: u8, text: &[u8]) -> Option<u64> {
    let year_digits = match tag {
        UTC_TIME => 2,
        GENERALIZED_TIME => 4,
        _ => return None,
    };
    let digits = text.strip_suffix(b"Z").filter(|digits| digits.len() == year_digits + 10)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let (year, rest) = digits.split_at(year_digits);
    let number = |digits: &[u8]| digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    let year = match (year_digits, number(year)) {
        // RFC 5280, 4.1.2.5.1: two-digit years are 1950 to 2049.
        (2, year @ 50..) => 1900 + year,
        (2, year) => 2000 + year,
        (_, year) => year,
    };
    let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| number(&rest[at..at + 2]));
    let days = days_since_1970(year, month, day)?;
    Some(days * DAY_S + hour * 3600 + minute * 60 + second)
}

/// Returns the days since 1 January 1970 in the Gregorian calendar. Years begin in March here, so that a leap day is
/// the last day of its year.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year / 4 - year / 100 + year / 400;
    // From March on, the months have 31, 30, 31, 30, 31 days, again and again.
    let days = 365 * year + leap_days + (153 * month + 2) / 5 + day;
    // The same sum for 1 January 1970, in years that begin in March.
    days.checked_sub(719_469)
}
