//! The price of the metrics of spans in Google's Managed Service for Prometheus.

use serde_json::{Value, json};

use super::dollars::{SECONDS_PER_MONTH, cents};
use crate::settings::units::grouped;
use crate::span_metrics::settings::SpanMetricsSettings;

/// Dollars for a million samples (docs/cost.md).
const DOLLARS_PER_MILLION_SAMPLES: f64 = 0.06;

/// The seconds between two scrapes that the price is computed for.
const SCRAPE_INTERVAL_S: f64 = 30.0;

/// The most that the metrics of spans cost.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SeriesCost {
    combinations: usize,
    samples: usize,
}

impl SeriesCost {
    pub(super) fn of(settings: &SpanMetricsSettings) -> Self {
        SeriesCost { combinations: settings.max_series, samples: settings.samples_per_series() }
    }

    fn dollars(&self) -> f64 {
        let samples = (self.combinations * self.samples) as f64 * SECONDS_PER_MONTH / SCRAPE_INTERVAL_S;
        samples * DOLLARS_PER_MILLION_SAMPLES / 1e6
    }

    pub(super) fn text(&self) -> String {
        format!(
            "Cost of the metrics of spans: at most ${} a month, for {} combinations of labels with {} samples each.\n  \
             This is at Managed Prometheus's list price, $0.06 for a million samples, with a scrape every {} seconds.\n  \
             `span_metrics.max_series` is the bound; `spansieve_span_metrics_series` says how many there are.\n",
            cents(self.dollars()),
            grouped(self.combinations as u64),
            self.samples,
            SCRAPE_INTERVAL_S,
        )
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "combinations_max": self.combinations,
            "samples_per_combination": self.samples,
            "scrape_interval_seconds": SCRAPE_INTERVAL_S,
            "dollars_per_month_max": (self.dollars() * 100.0).round() / 100.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_costs_at_most_two_hundred_dollars() {
        let cost = SeriesCost::of(&SpanMetricsSettings::default());
        assert_eq!(cost.json()["dollars_per_month_max"], 210.24);
        assert!(
            cost.text().starts_with("Cost of the metrics of spans: at most $210.24 a month, for 2,000 combinations")
        );
        let small = SpanMetricsSettings { max_series: 200, ..SpanMetricsSettings::default() };
        assert_eq!(SeriesCost::of(&small).json()["dollars_per_month_max"], 21.02);
    }
}
