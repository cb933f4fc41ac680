//! The set of what is known of a span while it is scanned.

use crate::otlp::scan::Bits;

/// A set is 512 notes in one cache line: 128 conditions ([`Bits`]) and 384 tests inside of their trees, three for
/// each. All policies together share them.
const WORDS: usize = 8;

/// A set of notes. The first of them are the [`Bits`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sampling) struct Notes([u64; WORDS]);

impl Notes {
    /// The set of this note alone; `None` if there is no such note.
    pub(super) fn one(index: usize) -> Option<Self> {
        let mut notes = Notes::default();
        notes.0.get_mut(index / 64).map(|word| *word = 1 << (index % 64))?;
        Some(notes)
    }

    #[inline]
    pub(super) fn has(&self, index: usize) -> bool {
        self.0[index / 64 % WORDS] >> (index % 64) & 1 == 1
    }

    #[inline]
    pub(super) fn bits(&self) -> Bits {
        Bits::from(self.0[0]) | Bits::from(self.0[1]) << 64
    }
}

impl std::ops::BitOrAssign for Notes {
    #[inline]
    fn bitor_assign(&mut self, other: Notes) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
    }
}
