//! The checks of a field's value, and where to find them while attributes stream by.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::notes::Notes;
use crate::condition::{Check, Field};
use crate::otlp::view::AnyValue;

/// The checks of one value, each with the notes that it proves.
#[derive(Clone, Debug, Default)]
struct ValueChecks {
    /// What each string proves that some [`Check::OneOf`] names: one look-up for all of them.
    strings: HashMap<Box<[u8]>, Notes, FixedState>,
    others: Vec<(Check, Notes)>,
}

impl ValueChecks {
    fn add(&mut self, check: &Check, proven: Notes) {
        if let Check::OneOf(texts) = check {
            for text in texts {
                *self.strings.entry(text.as_bytes().into()).or_default() |= proven;
            }
        } else if let Some((_, notes)) = self.others.iter_mut().find(|(known, _)| known == check) {
            *notes |= proven;
        } else {
            self.others.push((check.clone(), proven));
        }
    }

    #[inline]
    fn note(&self, value: AnyValue<'_>, notes: &mut Notes) {
        if let AnyValue::String(text) = value
            && let Some(&proven) = self.strings.get(text)
        {
            *notes |= proven;
        }
        for (check, proven) in &self.others {
            if check.passes(value) {
                *notes |= *proven;
            }
        }
    }
}

/// The checks of attributes, by key.
#[derive(Clone, Debug)]
pub(super) struct AttributeChecks {
    /// Tells most keys that nobody asks for by their length and one byte: an attribute costs a look at one word.
    filter: [u64; 64],
    by_key: HashMap<Box<[u8]>, ValueChecks, FixedState>,
}

impl Default for AttributeChecks {
    fn default() -> Self {
        AttributeChecks { filter: [0; 64], by_key: HashMap::default() }
    }
}

impl AttributeChecks {
    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub(super) fn add(&mut self, key: &str, check: &Check, proven: Notes) {
        let (word, bit) = place(key.as_bytes());
        self.filter[word] |= bit;
        self.by_key.entry(key.as_bytes().into()).or_default().add(check, proven);
    }

    #[inline]
    pub(super) fn note(&self, key: &[u8], value: AnyValue<'_>, notes: &mut Notes) {
        let (word, bit) = place(key);
        if self.filter[word] & bit != 0 {
            self.note_known(key, value, notes);
        }
    }

    /// Not inlined: most attributes do not come here, and their values need not even be read.
    #[inline(never)]
    fn note_known(&self, key: &[u8], value: AnyValue<'_>, notes: &mut Notes) {
        if let Some(checks) = self.by_key.get(key) {
            checks.note(value, notes);
        }
    }
}

/// The word of a filter that stands for the length of `key`, and the bit in it for the byte in the middle, which tells
/// more than those at the ends: namespaces begin alike, and names end alike.
#[inline]
fn place(key: &[u8]) -> (usize, u64) {
    let middle = key.get(key.len() / 2).map_or(0, |&byte| byte % 64);
    (key.len() % 64, 1 << middle)
}

/// The checks of what is no attribute.
#[derive(Clone, Debug, Default)]
pub(super) struct FieldChecks(Vec<(Field, ValueChecks)>);

impl FieldChecks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, field: &Field, check: &Check, proven: Notes) {
        match self.0.iter_mut().find(|(known, _)| known == field) {
            Some((_, checks)) => checks.add(check, proven),
            None => {
                let mut checks = ValueChecks::default();
                checks.add(check, proven);
                self.0.push((field.clone(), checks));
            }
        }
    }

    #[inline]
    pub(super) fn note<'a>(&self, value_of: impl Fn(&Field) -> AnyValue<'a>, notes: &mut Notes) {
        for (field, checks) in &self.0 {
            checks.note(value_of(field), notes);
        }
    }
}
