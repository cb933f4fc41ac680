//! Consistent probability sampling: thresholds, randomness and adjusted counts
//! (opentelemetry-specification `specification/trace/tracestate-probability-sampling.md`).

use crate::otlp::TraceId;

/// 2^56: randomness and thresholds are 56-bit numbers.
const RANDOMNESS_COUNT: u64 = 1 << 56;

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
        let kept = (percent.clamp(0.0, 100.0) / 100.0 * RANDOMNESS_COUNT as f64).round();
        Threshold(RANDOMNESS_COUNT - kept as u64)
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
}

/// The randomness of a trace without an explicit one: the low 56 bits of its id (W3C trace context level 2).
#[must_use]
pub fn randomness(trace_id: TraceId) -> u64 {
    let [.., a, b, c, d, e, f, g] = trace_id.0;
    u64::from_be_bytes([0, a, b, c, d, e, f, g])
}

#[cfg(test)]
mod tests;
