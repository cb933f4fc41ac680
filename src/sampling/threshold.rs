//! Consistent probability sampling: thresholds, randomness and adjusted counts
//! (opentelemetry-specification `specification/trace/tracestate-probability-sampling.md`).

use crate::otlp::TraceId;

/// 2^56: randomness and thresholds are 56-bit numbers.
const RANDOMNESS_COUNT: u64 = 1 << 56;

/// Hexadecimal digits of a 56-bit number.
const DIGITS_MAX: u32 = 14;

/// The rejection threshold: a trace whose randomness is below it is not kept. 0 keeps every trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Threshold(u64);

impl Threshold {
    /// Keeps every trace: what is kept on evidence.
    pub const ALWAYS: Threshold = Threshold(0);
    /// Keeps none.
    pub const NEVER: Threshold = Threshold(RANDOMNESS_COUNT);

    /// The threshold that keeps `percent` (clamped to 0 to 100) of the traces.
    #[must_use]
    pub fn from_percent(percent: f64) -> Self {
        Self::from_probability(percent / 100.0)
    }

    /// The threshold that keeps this part (clamped to 0 to 1) of the traces.
    #[must_use]
    pub fn from_probability(probability: f64) -> Self {
        let kept = (probability.clamp(0.0, 1.0) * RANDOMNESS_COUNT as f64).round();
        Threshold(RANDOMNESS_COUNT - kept as u64)
    }

    /// The part of the traces that it keeps, 0 to 1.
    #[must_use]
    pub fn probability(self) -> f64 {
        (RANDOMNESS_COUNT - self.0) as f64 / RANDOMNESS_COUNT as f64
    }

    /// The nearest threshold of at most so many hexadecimal digits behind the leading `f`s: a shorter
    /// [`Threshold::to_th`]. The specification recommends 4, which is within 0.1 % of the probability.
    #[must_use]
    pub fn rounded(self, digits: u32) -> Self {
        // A threshold begins with an `f` for each four zero bits that the probability begins with.
        let kept = (RANDOMNESS_COUNT - self.0).max(1);
        let leading = kept.leading_zeros().saturating_sub(u64::BITS - 4 * DIGITS_MAX) / 4;
        let unit = 1u64 << (4 * DIGITS_MAX.saturating_sub(leading + digits.max(1)));
        Threshold((self.0 + unit / 2) / unit * unit)
    }

    /// Keeps every trace, or none.
    #[must_use]
    pub fn certain(kept: bool) -> Self {
        if kept { Threshold::ALWAYS } else { Threshold::NEVER }
    }

    /// The threshold that keeps as large a part of the traces as this one does not keep. Not those very traces: like any
    /// threshold it keeps those of high randomness, so that what is kept can be said by a threshold.
    #[must_use]
    pub fn complement(self) -> Self {
        Threshold(RANDOMNESS_COUNT - self.0)
    }

    /// Whether a trace of this randomness is kept.
    #[must_use]
    pub fn keeps(self, randomness: u64) -> bool {
        randomness >= self.0
    }

    /// How many traces each kept one stands for; infinite for [`Threshold::NEVER`].
    #[must_use]
    pub fn adjusted_count(self) -> f64 {
        let exact = RANDOMNESS_COUNT as f64 / (RANDOMNESS_COUNT - self.0) as f64;
        // A percentage such as 5 is no binary fraction: say 20, not 19.999999999999996.
        let digits = 10f64.powf(11.0 - exact.log10().floor());
        if exact.is_finite() { (exact * digits).round() / digits } else { exact }
    }

    /// The threshold with these 56 bits; higher ones are ignored.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Threshold(bits & (RANDOMNESS_COUNT - 1))
    }

    /// The 56-bit number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// The value of `th` in a tracestate: lower-case hexadecimal digits without the zeros at their end, `0` for
    /// [`Threshold::ALWAYS`] (`specification/trace/tracestate-handling.md`). `th` has no word for
    /// [`Threshold::NEVER`], and no span to carry it; the strictest one stands for it.
    #[must_use]
    pub fn to_th(self) -> String {
        let digits = format!("{:014x}", self.0.min(RANDOMNESS_COUNT - 1));
        let significant = digits.trim_end_matches('0');
        if significant.is_empty() { "0".into() } else { significant.into() }
    }

    /// Reads the value of `th`: 1 to 14 lower-case hexadecimal digits, the missing ones are zeros
    /// (`specification/trace/tracestate-handling.md`). `None` if it is anything else.
    #[must_use]
    pub fn from_th(digits: &[u8]) -> Option<Self> {
        let missing = DIGITS_MAX.checked_sub(u32::try_from(digits.len()).ok()?)?;
        let number = hexadecimal(digits)?;
        (!digits.is_empty()).then_some(Threshold(number << (4 * missing)))
    }
}

/// The number of some lower-case hexadecimal digits, at most [`DIGITS_MAX`].
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, &digit| {
        let value = char::from(digit).to_digit(16).filter(|_| !digit.is_ascii_uppercase())?;
        Some(number << 4 | u64::from(value))
    })
}

/// The randomness of a trace without an explicit one: the low 56 bits of its id (W3C trace context level 2).
#[must_use]
pub fn randomness(trace_id: TraceId) -> u64 {
    let [.., a, b, c, d, e, f, g] = trace_id.0;
    u64::from_be_bytes([0, a, b, c, d, e, f, g])
}

#[cfg(test)]
mod tests;
