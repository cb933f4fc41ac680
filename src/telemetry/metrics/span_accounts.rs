//! The terms of the conservation law for one process: the spans that came, and their fates.

/// The terms of the conservation law (`docs/metrics.md`), in spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanAccounts {
    /// Spans received from senders.
    pub received: u64,
    /// Spans that an earlier process left in the spool or the journal.
    pub recovered: u64,
    /// Spans that the sink confirmed.
    pub exported: u64,
    /// Spans of dropped traces that are no longer held.
    pub sampled_out: u64,
    /// Spans of undecided traces that another instance has taken.
    pub handed_over: u64,
    /// Spans that were refused alone because they are invalid.
    pub rejected: u64,
    /// Kept spans that were lost for a counted reason.
    pub dropped: u64,
    /// Spans that are still held. At the end these are the spans on disk.
    pub held: u64,
}

#[cfg(test)]
mod tests;
