//! The books of a process: what came, and what became of it.

/// The terms of the conservation law (`docs/metrics.md`), in spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Taken from senders.
    pub received: u64,
    /// Found at start, left by an earlier process.
    pub recovered: u64,
    /// Confirmed by the sink.
    pub exported: u64,
    /// Let go, as no policy kept their trace.
    pub sampled_out: u64,
    /// Rejected alone.
    pub rejected: u64,
    /// Kept, and lost for a reason.
    pub dropped: u64,
    /// Still held; at the end, those on disk.
    pub held: u64,
}

impl Books {
    /// Reads them from the text of `/metrics`.
    #[must_use]
    pub fn of(scrape: &str) -> Self {
        let mut books = Books::default();
        for line in scrape.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let name = series.split('{').next().unwrap_or_default();
            if let Some(term) = books.term(name) {
                // Spans are whole numbers.
                *term += value.parse::<f64>().unwrap_or(0.0) as u64;
            }
        }
        books
    }

    fn term(&mut self, name: &str) -> Option<&mut u64> {
        Some(match name {
            "spansieve_received_spans_total" => &mut self.received,
            "spansieve_recovered_spans_total" => &mut self.recovered,
            "spansieve_exported_spans_total" => &mut self.exported,
            "spansieve_sampled_out_spans_total" => &mut self.sampled_out,
            "spansieve_rejected_spans_total" => &mut self.rejected,
            "spansieve_dropped_spans_total" => &mut self.dropped,
            "spansieve_held_spans" => &mut self.held,
            _ => return None,
        })
    }

    /// Spans that came, less all that became of them: 0 whenever nothing is in flight.
    #[must_use]
    pub fn unaccounted(&self) -> i64 {
        let came = self.received + self.recovered;
        came as i64 - (self.exported + self.sampled_out + self.rejected + self.dropped + self.held) as i64
    }
}

#[cfg(test)]
mod tests;
