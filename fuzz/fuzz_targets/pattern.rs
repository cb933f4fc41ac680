//! Any text as a regular expression, matched with any bytes, gives an answer, or an error at a position inside the
//! expression, and never a panic. The expression is the first line of the input.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spansieve::condition::Pattern;

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let Ok(expression) = std::str::from_utf8(&input[..end]) else { return };
    let text = input.get(end + 1..).unwrap_or_default();
    match Pattern::new(expression) {
        Ok(pattern) => {
            let captures = pattern.captures(text);
            assert_eq!(captures.is_some(), pattern.is_match(text));
        }
        Err(error) => {
            assert!(expression.is_char_boundary(error.offset), "{error:?}");
            assert!(!error.help.is_empty());
        }
    }
});
