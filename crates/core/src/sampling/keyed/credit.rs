//! The part of a goal that is not spent.

/// The amount earned minus the amount spent, in a unit that the caller chooses. It is negative after overspending. This
/// is integral control: while too much is spent, the credit falls, and so does the boost, until earning and spending
/// are equal.
#[derive(Debug)]
pub(super) struct Credit {
    balance: f64,
    bounds: (f64, f64),
}

impl Credit {
    /// Creates a credit of 0. It stays within `bounds`; debt below them is forgiven, and credit above them is lost.
    pub(super) fn new(bounds: (f64, f64)) -> Self {
        Credit { balance: 0.0, bounds }
    }

    /// Adds `amount` to the credit: earned if positive, spent if negative.
    pub(super) fn add(&mut self, amount: f64) {
        self.balance = (self.balance + amount).clamp(self.bounds.0, self.bounds.1);
    }

    /// Returns the factor to multiply the planned spending by: e to the power of the number of `unit`s of credit.
    pub(super) fn boost(&self, unit: f64) -> f64 {
        (self.balance / unit).exp()
    }
}

/// Returns the seconds since the last call, 0 at the first one. Notes the time of this call in `last_ms`.
pub(super) fn seconds_since(last_ms: &mut Option<u64>, now_ms: u64) -> f64 {
    let last = last_ms.unwrap_or(now_ms);
    *last_ms = Some(now_ms.max(last));
    now_ms.saturating_sub(last) as f64 / 1000.0
}

#[cfg(test)]
mod tests;
