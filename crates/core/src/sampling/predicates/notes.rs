//! The set of conditions and tests that are known to hold for a span while it is scanned.

use crate::otlp::scan::Bits;

/// A set has 512 notes in one cache line: 128 for conditions ([`Bits`]) and 384 for tests inside trees, three for each
/// condition. All policies share them.
const WORDS: usize = 8;

/// A set of notes. A note is a condition or a test that holds. The first notes are the [`Bits`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sampling) struct NoteSet([u64; WORDS]);

impl NoteSet {
    /// Returns the set with only the note `index`; `None` if `index` is not below 512.
    pub(super) fn one(index: usize) -> Option<Self> {
        let mut notes = NoteSet::default();
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

impl std::ops::BitOrAssign for NoteSet {
    #[inline]
    fn bitor_assign(&mut self, other: NoteSet) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
    }
}
