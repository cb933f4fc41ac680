//! The pace of a counter, from which the amount of a month is estimated.

/// The seconds after which a pace has lost 63 % of its weight: an hour, so that a burst of a minute does not decide the
/// month.
const MEMORY_S: f64 = 3_600.0;

/// Seconds of the month that estimates are for: 30 days.
pub(super) const MONTH_S: f64 = 30.0 * 86_400.0;

/// An average of the pace of a counter with exponentially falling weights.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pace {
    total: u64,
    /// The weighted sum of the paces, and the sum of the weights. The latter is below 1 in the first hours.
    weighted: f64,
    weight: f64,
}

impl Pace {
    /// Notes that the counter has come to `total`, `seconds` after the last call.
    pub(super) fn note(&mut self, total: u64, seconds: f64) {
        if seconds <= 0.0 {
            return;
        }
        let share = 1.0 - (-seconds / MEMORY_S).exp();
        let pace = total.saturating_sub(self.total) as f64 / seconds;
        self.total = total;
        self.weighted += share * (pace - self.weighted);
        self.weight += share * (1.0 - self.weight);
    }

    /// Returns the amount of a month at this pace.
    pub(super) fn month(&self) -> f64 {
        if self.weight == 0.0 { 0.0 } else { self.weighted / self.weight * MONTH_S }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_pace_is_known_from_the_first_minute() {
        let mut pace = Pace::default();
        assert_eq!(pace.month(), 0.0);
        for n in 1..=12 {
            pace.note(n * 500, 5.0);
            assert!((pace.month() / (100.0 * MONTH_S) - 1.0).abs() < 1e-9);
        }
        pace.note(6_000, 0.0);
        // A day later, only the last hours count.
        (0..24 * 12).for_each(|_| pace.note(6_000, 300.0));
        assert!(pace.month() < 1e-6 * MONTH_S);
    }

    #[test]
    fn a_burst_weighs_no_more_than_its_time() {
        let mut pace = Pace::default();
        (1..=720).for_each(|n| pace.note(n * 5, 5.0));
        pace.note(3_600 + 60_000, 60.0);
        let expected =
            1.0 + (1_000.0 - 1.0) * (1.0 - (-60.0_f64 / 3_600.0).exp()) / (1.0 - (-3_660.0_f64 / 3_600.0).exp());
        assert!((pace.month() / MONTH_S / expected - 1.0).abs() < 0.01, "{}", pace.month() / MONTH_S);
    }
}
