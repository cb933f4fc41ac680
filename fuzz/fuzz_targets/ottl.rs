//! Any text as an OTTL condition gives a condition, or an error at a position inside the text, and never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spansieve::condition::Condition;
use spansieve::condition::formula::Term;
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

/// Returns the depth of a condition. Code that walks through it needs stack in proportion.
fn depth(condition: &Condition) -> usize {
    match condition {
        Condition::Constant(_) | Condition::Test(_) => 1,
        Condition::Formula(formula) => term_depth(&formula.term),
        Condition::Not(inner) | Condition::AnyEvent(inner) => 1 + depth(inner),
        Condition::All(parts) | Condition::Any(parts) => 1 + parts.iter().map(depth).max().unwrap_or(0),
    }
}

fn term_depth(term: &Term) -> usize {
    let deepest = |terms: &mut dyn Iterator<Item = &Term>| terms.map(term_depth).max().unwrap_or(0);
    1 + match term {
        Term::Constant(_) | Term::Field(..) => 0,
        Term::Key(inner, _) | Term::Element(inner, _) => term_depth(inner),
        Term::List(terms) | Term::Call(_, terms) => deepest(&mut terms.iter()),
        Term::Map(entries) => deepest(&mut entries.iter().map(|(_, term)| term)),
        Term::Math(_, left, right) | Term::Compare(_, left, right) => term_depth(left).max(term_depth(right)),
    }
}
