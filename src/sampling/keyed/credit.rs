//! What a goal allowed and nobody spent.

/// Earned and not spent, in some unit; negative after overspending. Integral control: as long as too much is
/// spent the credit falls, and with it the boost, until income and spending agree.
#[derive(Debug)]
pub(super) struct Credit {
    balance: f64,
    bounds: (f64, f64),
}

impl Credit {
    /// No credit yet. It is never outside of `bounds`: what is beyond is forgiven or forfeited.
    pub(super) fn new(bounds: (f64, f64)) -> Self {
        Credit { balance: 0.0, bounds }
    }

    /// Earns (or spends, if negative) so much.
    pub(super) fn add(&mut self, amount: f64) {
        self.balance = (self.balance + amount).clamp(self.bounds.0, self.bounds.1);
    }

    /// By how much to spend more than planned: e-fold for each `unit` of credit.
    pub(super) fn boost(&self, unit: f64) -> f64 {
        (self.balance / unit).exp()
    }
}

/// Seconds from the last call to this one, 0 at the first.
pub(super) fn seconds_since(last_ms: &mut Option<u64>, now_ms: u64) -> f64 {
    let last = last_ms.unwrap_or(now_ms);
    *last_ms = Some(now_ms.max(last));
    now_ms.saturating_sub(last) as f64 / 1000.0
}

#[cfg(test)]
mod tests;
