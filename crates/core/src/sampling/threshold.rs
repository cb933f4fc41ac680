//! Consistent probability sampling: thresholds, randomness and adjusted counts
//! (opentelemetry-specification `specification/trace/tracestate-probability-sampling.md`).

use crate::otlp::TraceId;
use crate::otlp::write::hex;

/// 2^56: randomness and thresholds are 56-bit numbers.
const RANDOMNESS_COUNT: u64 = 1 << 56;
/// The randomness that every threshold keeps, except for [`Threshold::NEVER`].
pub(super) const RANDOMNESS_MAX: u64 = RANDOMNESS_COUNT - 1;

/// Number of hexadecimal digits of a 56-bit number.
const DIGITS_MAX: u32 = 14;

/// The rejection threshold, 0 to 2^56. A trace whose randomness is below it is not kept, so 0 keeps every trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Threshold(u64);

impl Threshold {
    /// The threshold that keeps every trace. Traces that are kept on evidence have it.
    pub const ALWAYS: Threshold = Threshold(0);
    /// The threshold that keeps no trace.
    pub const NEVER: Threshold = Threshold(RANDOMNESS_COUNT);

    /// Returns the threshold that keeps `percent` (clamped to 0 to 100) of the traces.
    #[must_use]
    pub fn from_percent(percent: f64) -> Self {
        Self::from_probability(percent / 100.0)
    }

    /// Returns the threshold that keeps this share (clamped to 0 to 1) of the traces.
    #[must_use]
    pub fn from_probability(probability: f64) -> Self {
        let kept = (probability.clamp(0.0, 1.0) * RANDOMNESS_COUNT as f64).round();
        Threshold(RANDOMNESS_COUNT - kept as u64)
    }

    /// Returns the share of the traces that the threshold keeps, 0 to 1.
    #[must_use]
    pub fn probability(self) -> f64 {
        (RANDOMNESS_COUNT - self.0) as f64 / RANDOMNESS_COUNT as f64
    }

    /// Returns the nearest threshold that has at most `digits` hexadecimal digits after the leading `f`s, so that
    /// [`Threshold::to_th`] is shorter. The specification recommends 4, which is within 0.1 % of the probability.
    #[must_use]
    pub fn rounded(self, digits: u32) -> Self {
        // A threshold has one leading `f` for each four leading zero bits of the probability.
        let kept = (RANDOMNESS_COUNT - self.0).max(1);
        let leading = kept.leading_zeros().saturating_sub(u64::BITS - 4 * DIGITS_MAX) / 4;
        let unit = 1u64 << (4 * DIGITS_MAX.saturating_sub(leading + digits.max(1)));
        Threshold((self.0 + unit / 2) / unit * unit)
    }

    /// Returns [`Threshold::ALWAYS`] if `kept`, else [`Threshold::NEVER`].
    #[must_use]
    pub fn certain(kept: bool) -> Self {
        if kept { Threshold::ALWAYS } else { Threshold::NEVER }
    }

    /// Returns the threshold that keeps the share of traces that this one does not keep. These are not the same traces:
    /// like any threshold, it keeps those of high randomness. Otherwise no threshold could describe the kept traces.
    #[must_use]
    pub fn complement(self) -> Self {
        Threshold(RANDOMNESS_COUNT - self.0)
    }

    /// Returns true if the threshold keeps a trace of this randomness.
    #[must_use]
    pub fn keeps(self, randomness: u64) -> bool {
        randomness >= self.0
    }

    /// Returns the adjusted count: how many traces each kept one stands for. Infinite for [`Threshold::NEVER`].
    #[must_use]
    pub fn adjusted_count(self) -> f64 {
        let exact = RANDOMNESS_COUNT as f64 / (RANDOMNESS_COUNT - self.0) as f64;
        // A percentage such as 5 is not a binary fraction. Rounding gives 20 instead of 19.999999999999996.
        let digits = 10f64.powf(11.0 - exact.log10().floor());
        if exact.is_finite() { (exact * digits).round() / digits } else { exact }
    }

    /// Returns the threshold with the low 56 bits of `bits`.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Threshold(bits & (RANDOMNESS_COUNT - 1))
    }

    /// Returns the threshold as a number, 0 to 2^56.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// Returns the value of `th` in a tracestate: lower-case hexadecimal digits without trailing zeros, `0` for
    /// [`Threshold::ALWAYS`] (`specification/trace/tracestate-handling.md`). `th` cannot express [`Threshold::NEVER`],
    /// which no kept span has; the strictest value stands for it.
    #[must_use]
    pub fn to_th(self) -> String {
        let (digits, count) = self.th_digits();
        digits[..count].iter().map(|&digit| char::from(digit)).collect()
    }

    /// Returns all digits of `th`, and the number of those that [`Threshold::to_th`] has.
    #[must_use]
    pub(super) fn th_digits(self) -> ([u8; DIGITS_MAX as usize], usize) {
        let [_, bytes @ ..] = self.0.min(RANDOMNESS_COUNT - 1).to_be_bytes();
        let digits = hex(bytes);
        (digits, digits.iter().rposition(|&digit| digit != b'0').map_or(1, |last| last + 1))
    }

    /// Parses the value of `th`: 1 to 14 lower-case hexadecimal digits. Missing trailing digits are zeros
    /// (`specification/trace/tracestate-handling.md`). Returns `None` if the value is not valid.
    #[must_use]
    pub fn from_th(digits: &[u8]) -> Option<Self> {
        let missing = DIGITS_MAX.checked_sub(u32::try_from(digits.len()).ok()?)?;
        let number = hexadecimal(digits)?;
        (!digits.is_empty()).then_some(Threshold(number << (4 * missing)))
    }
}

/// Parses lower-case hexadecimal digits, at most [`DIGITS_MAX`] of them.
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, &digit| {
        let value = char::from(digit).to_digit(16).filter(|_| !digit.is_ascii_uppercase())?;
        Some(number << 4 | u64::from(value))
    })
}

/// Returns the randomness of a trace without an explicit one: the low 56 bits of its id (W3C trace context level 2).
#[must_use]
pub fn randomness(trace_id: TraceId) -> u64 {
    let [.., a, b, c, d, e, f, g] = trace_id.0;
    u64::from_be_bytes([0, a, b, c, d, e, f, g])
}

#[cfg(test)]
mod tests;
