//! Estimates the amount of a month from the pace of a counter, which is its growth a second.

/// The seconds in which a pace loses 63 % of its weight: an hour, so that a burst of a minute does not dominate the
/// estimate.
const MEMORY_S: f64 = 3_600.0;

/// Seconds of a month in the estimates: 30 days.
pub(super) const MONTH_S: f64 = 30.0 * 86_400.0;

/// The average pace of a counter. The weights of past paces fall exponentially.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pace {
    total: u64,
    /// The weighted sum of the paces.
    weighted: f64,
    /// The sum of the weights, which is below 1 in the first hours.
    weight: f64,
}

impl Pace {
    /// Notes that the counter is now `total`, `seconds` after the last call.
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
