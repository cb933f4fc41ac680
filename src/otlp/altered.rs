//! How kept spans are written otherwise than they were sent, counted by the encoder that does it.

/// What [`AlteredSpans`] tells apart, as metric labels.
pub const REASONS: [&str; 3] = ["utf8", "times", "cut"];

/// What an encoder did to one span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alteration {
    /// Text that is no UTF-8 was mended.
    pub utf8: bool,
    /// A time that was not set, or cannot be, was replaced.
    pub times: bool,
    /// Something is over a limit, or has no valid key or id, and was cut or left out.
    pub cut: bool,
}

impl std::ops::BitOrAssign for Alteration {
    fn bitor_assign(&mut self, other: Self) {
        self.utf8 |= other.utf8;
        self.times |= other.times;
        self.cut |= other.cut;
    }
}

/// Numbers of spans by what was done to them; one span may count in several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlteredSpans([u64; REASONS.len()]);

impl AlteredSpans {
    /// Counts one span.
    #[inline]
    pub fn add(&mut self, span: Alteration) {
        if span != Alteration::default() {
            for (spans, altered) in self.0.iter_mut().zip([span.utf8, span.times, span.cut]) {
                *spans += u64::from(altered);
            }
        }
    }

    /// How many spans, by each of [`REASONS`] that occurred.
    pub fn counts(self) -> impl Iterator<Item = (&'static str, u64)> {
        REASONS.into_iter().zip(self.0).filter(|&(_, spans)| spans > 0)
    }
}
