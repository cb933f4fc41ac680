//! Counts of kept spans that an encoder writes differently from what the sender sent, by reason.

/// The reasons that [`AlteredSpans`] counts separately, as metric labels.
pub const REASONS: [&str; 3] = ["utf8", "times", "cut"];

/// The changes that an encoder made to one span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alteration {
    /// True if text that is not UTF-8 was mended.
    pub utf8: bool,
    /// True if a time that was not set or not possible was replaced.
    pub times: bool,
    /// True if something was cut or left out because it is over a limit or has no valid key or id.
    pub cut: bool,
}

impl std::ops::BitOrAssign for Alteration {
    fn bitor_assign(&mut self, other: Self) {
        self.utf8 |= other.utf8;
        self.times |= other.times;
        self.cut |= other.cut;
    }
}

/// The number of altered spans for each of [`REASONS`]. One span may count for several reasons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlteredSpans([u64; REASONS.len()]);

impl AlteredSpans {
    /// Counts one span for each reason that applies to it.
    #[inline]
    pub fn add(&mut self, span: Alteration) {
        if span != Alteration::default() {
            for (spans, altered) in self.0.iter_mut().zip([span.utf8, span.times, span.cut]) {
                *spans += u64::from(altered);
            }
        }
    }

    /// Returns each of [`REASONS`] that occurred, with its number of spans.
    pub fn counts(self) -> impl Iterator<Item = (&'static str, u64)> {
        REASONS.into_iter().zip(self.0).filter(|&(_, spans)| spans > 0)
    }
}
