//! Any text as a trace that is written by hand gives spans, or a mistake at a place inside the text, and never a panic.
//! Each value is shown in a form that is read as the same value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spansieve::policy_tests::TextValue;
use spansieve::policy_tests::trace_text::TraceText;

fuzz_target!(|text: &str| {
    match TraceText::parse(text) {
        Ok(trace) => {
            assert!(!trace.spans.is_empty());
            for (index, span) in trace.spans.iter().enumerate() {
                assert!(span.parent.is_none_or(|parent| parent < index));
                span.attributes.iter().for_each(|(_, value)| assert_same(value));
            }
        }
        Err(error) => {
            assert!(text.is_char_boundary(error.offset) && error.length > 0, "{error:?}");
            assert!(!error.fault.message.is_empty());
        }
    }
});

fn assert_same(value: &TextValue) {
    let shown = format!("api  x  1ms  key={value}");
    let again = TraceText::parse(&shown).expect("a value that is shown can be read");
    // Not a number is not equal to itself.
    let is_nan = format!("{value:?}").contains("NaN");
    assert!(is_nan || again.spans[0].attributes[0].1 == *value, "{shown}");
}
