//! The batches that are not closed yet.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use tokio::time::Instant;

use crate::fleet::engine::BATCH_BYTES_MAX;
use spansieve_core::fleet::message::{HEADER_BYTES, Message};
use spansieve_core::fleet::{MEMBERS_MAX, MemberId};

/// The age at which a batch is closed.
const BATCH_AGE_MAX: Duration = Duration::from_millis(90);
/// The most open batches up to which one for a number that is not listed is opened.
const OPEN_UNLISTED_MAX: usize = MEMBERS_MAX;
/// The most open batches: whoever else writes to the engine, there is one for each member.
const OPEN_MAX: usize = OPEN_UNLISTED_MAX + MEMBERS_MAX;
/// The bytes at which a batch is full. The largest message still fits.
const FULL_BYTES: usize = BATCH_BYTES_MAX - HEADER_BYTES - 256;

/// Messages for one member that wait for others.
#[derive(Debug)]
struct OpenBatch {
    bytes: Vec<u8>,
    since: Instant,
}

/// The open batches of a member.
#[derive(Debug)]
pub(super) struct OpenBatches {
    open: BTreeMap<MemberId, OpenBatch>,
    /// The receiver of the batch that was taken last. Its turn comes again after those of all others.
    last: MemberId,
}

/// The fate of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It waits.
    Open,
    /// It is in these messages, which are a full batch.
    Full(Vec<u8>),
    /// There are too many batches.
    NoRoom,
}

impl OpenBatches {
    pub(super) fn new() -> Self {
        OpenBatches { open: BTreeMap::new(), last: MemberId(0) }
    }

    /// Adds a message to the batch for a member, which may be listed or not.
    pub(super) fn write(&mut self, to: MemberId, is_listed: bool, message: &Message, now: Instant) -> Written {
        let open_max = if is_listed { OPEN_MAX } else { OPEN_UNLISTED_MAX };
        if self.open.len() >= open_max && !self.open.contains_key(&to) {
            return Written::NoRoom;
        }
        let new = || OpenBatch { bytes: Vec::with_capacity(1 << 10), since: now };
        let batch = self.open.entry(to).or_insert_with(new);
        message.put(&mut batch.bytes);
        if batch.bytes.len() < FULL_BYTES {
            return Written::Open;
        }
        self.open.remove(&to).map_or(Written::Open, |batch| Written::Full(batch.bytes))
    }

    /// Takes the next batch that is old enough. The receivers take turns.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(MemberId, Vec<u8>)> {
        let after = self.open.range((Bound::Excluded(self.last), Bound::Unbounded));
        let mut turns = after.chain(self.open.range(..=self.last));
        let is_due = |batch: &OpenBatch| now.duration_since(batch.since) >= BATCH_AGE_MAX;
        let to = turns.find(|(_, batch)| is_due(batch)).map(|(to, _)| *to)?;
        self.last = to;
        self.open.remove(&to).map(|batch| (to, batch.bytes))
    }

    /// Takes all batches.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = (MemberId, Vec<u8>)> + use<> {
        std::mem::take(&mut self.open).into_iter().map(|(to, batch)| (to, batch.bytes))
    }

    /// Returns the bytes of memory that the batches take.
    pub(super) fn heap_bytes(&self) -> usize {
        self.open.values().map(|batch| size_of::<(MemberId, OpenBatch)>() + batch.bytes.capacity()).sum()
    }
}

#[cfg(test)]
mod tests;
