//! Any text as an OTTL condition: a condition, or an error whose place is inside the text; never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spansieve::condition::Condition;
use spansieve::condition::ottl::{event_condition, resource_condition, span_condition};

fuzz_target!(|text: &str| {
    for parse in [span_condition, event_condition, resource_condition] {
        match parse(text) {
            Ok(condition) => assert!(depth(&condition) < 100, "{condition:?}"),
            Err(error) => {
                assert!(text.is_char_boundary(error.offset), "{error:?}");
                assert!(!error.message.is_empty());
            }
        }
    }
});

/// Whoever walks through a condition needs as much stack.
fn depth(condition: &Condition) -> usize {
    match condition {
        Condition::Constant(_) | Condition::Test(_) => 1,
        Condition::Not(inner) | Condition::AnyEvent(inner) => 1 + depth(inner),
        Condition::All(parts) | Condition::Any(parts) => 1 + parts.iter().map(depth).max().unwrap_or(0),
    }
}
