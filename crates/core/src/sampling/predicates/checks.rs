//! The checks of values, and tables that find the checks for an attribute while a span is scanned.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::notes::NoteSet;
use crate::condition::{Check, Field};
use crate::otlp::view::AnyValue;

/// The checks of one value, each with the notes that it proves.
#[derive(Clone, Debug, Default)]
struct ValueChecks {
    /// For each string that a [`Check::OneOf`] names, the notes that it proves. One look-up serves all such checks.
    strings: HashMap<Box<[u8]>, NoteSet, FixedState>,
    others: Vec<(Check, NoteSet)>,
}

impl ValueChecks {
    fn add(&mut self, check: &Check, proven: NoteSet) {
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
    fn note(&self, value: AnyValue<'_>, notes: &mut NoteSet) {
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

/// The checks of attributes, by key. A key is found by its length and one byte, without hashing. For most attributes,
/// reading one word shows that there is no check. The other attributes are compared with one key, rarely with two.
#[derive(Clone, Debug)]
pub(super) struct AttributeChecks {
    /// For each length of a key (modulo 64), a bit for each middle byte of a key with checks ([`place`]).
    asked: [u64; LENGTHS],
    /// For each length, the number of bits that are set for the smaller lengths.
    starts: [u16; LENGTHS],
    /// For each bit that is set, the keys that share it.
    keys: Vec<Vec<(Box<[u8]>, ValueChecks)>>,
}

const LENGTHS: usize = 64;

impl Default for AttributeChecks {
    fn default() -> Self {
        AttributeChecks { asked: [0; LENGTHS], starts: [0; LENGTHS], keys: Vec::new() }
    }
}

impl AttributeChecks {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn add(&mut self, key: &str, check: &Check, proven: NoteSet) {
        let key = key.as_bytes();
        let (length, bit) = place(key);
        let index = self.index(length, bit);
        if self.asked[length] & bit == 0 {
            self.asked[length] |= bit;
            self.starts[length + 1..].iter_mut().for_each(|start| *start += 1);
            self.keys.insert(index, Vec::new());
        }
        let keys = &mut self.keys[index];
        let known = keys.iter().position(|(known, _)| **known == *key).unwrap_or(keys.len());
        if known == keys.len() {
            keys.push((key.into(), ValueChecks::default()));
        }
        keys[known].1.add(check, proven);
    }

    #[inline]
    pub(super) fn note(&self, key: &[u8], value: AnyValue<'_>, notes: &mut NoteSet) {
        let (length, bit) = place(key);
        if self.asked[length] & bit != 0 {
            self.note_likely(self.index(length, bit), key, value, notes);
        }
    }

    /// Sets the notes that the checks of `key` prove, if it has checks. Not inlined, because most attributes do not
    /// come here, and then their values need not be read.
    #[inline(never)]
    fn note_likely(&self, index: usize, key: &[u8], value: AnyValue<'_>, notes: &mut NoteSet) {
        if let Some((_, checks)) = self.keys[index].iter().find(|(known, _)| is_same(known, key)) {
            checks.note(value, notes);
        }
    }

    #[inline]
    fn index(&self, length: usize, bit: u64) -> usize {
        usize::from(self.starts[length]) + (self.asked[length] & (bit - 1)).count_ones() as usize
    }
}

/// Returns the length of `key` (modulo 64), and a bit for its middle byte. The middle byte distinguishes keys better
/// than the first or last one: keys of one namespace begin alike, and many names end alike.
#[inline]
fn place(key: &[u8]) -> (usize, u64) {
    let middle = key.get(key.len() / 2).map_or(0, |&byte| byte % 64);
    (key.len() % LENGTHS, 1 << middle)
}

/// Returns true if the keys are equal. Keys are short, so the function call of a slice comparison would cost more than
/// the comparison itself.
#[inline]
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let ((a_words, a_rest), (b_words, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    a.len() == b.len()
        && a_words.iter().zip(b_words).all(|(a, b)| u64::from_ne_bytes(*a) == u64::from_ne_bytes(*b))
        && a_rest.iter().zip(b_rest).all(|(a, b)| a == b)
}

/// The checks of fields that are not attributes.
#[derive(Clone, Debug, Default)]
pub(super) struct FieldChecks(Vec<(Field, ValueChecks)>);

impl FieldChecks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, field: &Field, check: &Check, proven: NoteSet) {
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
    pub(super) fn note<'a>(&self, value_of: impl Fn(&Field) -> AnyValue<'a>, notes: &mut NoteSet) {
        for (field, checks) in &self.0 {
            checks.note(value_of(field), notes);
        }
    }
}
