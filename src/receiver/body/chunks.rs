//! Reads request bodies. The budget admits the memory before it is allocated. Every byte is copied once, except in
//! bodies of unknown length.
//!
//! A frame is copied even if it is the whole body. A frame is a slice of the connection's read buffer. If it were kept,
//! it would keep the whole buffer alive as long as the spans are held, and that memory would not be counted.

use std::pin::pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep};

use crate::budget::{Room, Share};
use crate::receiver::RequestMemory;
use crate::receiver::admission::refusal::Refusal;

/// Bytes of the first allocation for a body of unknown length. Each further allocation doubles the size.
const STEP_BYTES_MIN: usize = 16 << 10;

/// Bytes of an announced length that are allocated at first. Nearly all requests are smaller and get their memory at
/// once. Before each further step, at least half of the bytes that it leads to have arrived.
const ANNOUNCED_BYTES_MAX: usize = 1 << 20;

/// Bytes of an announced length that are allocated for each byte that arrives first. A sender that announces much and
/// sends little holds little. The first frame of a large request has 16 KiB, which is enough for
/// [`ANNOUNCED_BYTES_MAX`].
const ANNOUNCED_TIMES: usize = 64;

/// Bytes of an announced length that are allocated in any case, so that a body that arrives in tiny pieces does not take
/// many steps.
const ANNOUNCED_BYTES_MIN: usize = 1 << 10;

/// Time that a body may take to arrive in a block that it shares with other bodies. Nearly all bodies arrive at once. A
/// slower body is moved out of the block, which costs a second copy.
const SHARED_TIME_MAX: Duration = Duration::from_secs(1);

/// Time between two looks at a body that is in a shared block. After this time a body moves out if only its end is
/// missing, which comes with the last bytes of nearly all bodies, or if slow bodies hold many blocks.
const SHARED_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes of a refused HTTP/1 body that are read and discarded. A client that sends everything before it reads then
/// sees the answer instead of a reset. Cloud Run does not admit larger HTTP/1 requests.
const DRAIN_BYTES_MAX: u64 = 32 << 20;

/// Time that the reading of a refused body may take.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// Bytes in memory, with the share of the budget that covers them.
#[derive(Debug)]
pub(in crate::receiver) struct HeldBody {
    pub(in crate::receiver) bytes: Bytes,
    pub(in crate::receiver) share: Share,
}

impl HeldBody {
    /// Moves `bytes` to memory where they can be held for seconds. `share` covers their present memory.
    pub(in crate::receiver) fn settle(
        mut bytes: Vec<u8>,
        mut share: Share,
        intake: &impl RequestMemory,
    ) -> Result<Self, Refusal> {
        if bytes.len() <= intake.budget().shared_body_bytes_max() {
            let mut room = intake.room(bytes.len()).ok_or(Refusal::NoRoom)?;
            room.put(&bytes);
            return Ok(room.freeze().into());
        }
        // Gives back memory that was allocated on a guess and is not needed.
        bytes.shrink_to_fit();
        share.resize(bytes.capacity());
        Ok(HeldBody { bytes: bytes.into(), share })
    }
}

impl From<(Bytes, Share)> for HeldBody {
    fn from((bytes, share): (Bytes, Share)) -> Self {
        HeldBody { bytes, share }
    }
}

/// Takes a share for `bytes` more bytes.
pub(in crate::receiver) fn admit(intake: &impl RequestMemory, bytes: usize) -> Result<Share, Refusal> {
    intake.admit(bytes).ok_or(Refusal::NoRoom)
}

/// Reader of the bytes of a body, which may arrive in pieces of any size.
#[derive(Debug)]
pub(in crate::receiver) struct Chunks<B> {
    body: B,
    rest: Bytes,
    failed: bool,
}

impl<B> Chunks<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    pub(in crate::receiver) fn new(body: B) -> Self {
        Chunks { body, rest: Bytes::new(), failed: false }
    }

    /// Returns the next bytes, at least one. `None` at the end. Trailers are skipped, because OTLP does not use them.
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        if !self.rest.is_empty() {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        while let Some(frame) = self.body.frame().await {
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) if !data.is_empty() => return Ok(Some(data)),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "A request body ended early.");
                    self.failed = true;
                    return Err(Refusal::Truncated);
                }
            }
        }
        Ok(None)
    }

    /// Fills `room`, and waits for the end of the body if `is_last`. A body that arrives slowly moves out of the block
    /// that it shares, into memory of its own.
    async fn fill_room(&mut self, room: &mut Room, is_last: bool, intake: &impl RequestMemory) -> Result<(), Refusal> {
        let start = Instant::now();
        let mut patience = pin!(sleep(SHARED_INTERVAL));
        while is_last || room.missing_bytes() > 0 {
            let next = tokio::select! {
                biased;
                next = self.next() => next?,
                () = &mut patience, if room.is_shared() => {
                    let is_slow = start.elapsed() >= SHARED_TIME_MAX;
                    let leaves = is_slow || room.missing_bytes() == 0 || intake.budget().is_pinned();
                    if leaves && !room.move_out() && is_slow {
                        return Err(Refusal::NoRoom);
                    }
                    patience.as_mut().reset(Instant::now() + SHARED_INTERVAL);
                    continue;
                }
            };
            match (next, room.missing_bytes()) {
                (None, 0) => break,
                (None, _) => return Err(Refusal::Truncated),
                (Some(_), 0) => return Err(Refusal::Cardinality),
                (Some(mut chunk), _) => {
                    chunk.advance(room.put(&chunk));
                    self.rest = chunk;
                }
            }
        }
        Ok(())
    }

    /// Fills `buffer` up to `len` bytes. The memory is not reallocated, because the caller has reserved `len` bytes.
    async fn fill(&mut self, buffer: &mut Vec<u8>, len: usize) -> Result<(), Refusal> {
        while buffer.len() < len {
            let mut chunk = self.next().await?.ok_or(Refusal::Truncated)?;
            let taken = chunk.len().min(len - buffer.len());
            buffer.extend_from_slice(&chunk[..taken]);
            chunk.advance(taken);
            self.rest = chunk;
        }
        Ok(())
    }

    /// Returns the first `N` bytes of the body. `None` if the body is empty.
    pub(in crate::receiver) async fn prefix<const N: usize>(&mut self) -> Result<Option<[u8; N]>, Refusal> {
        let Some(first) = self.next().await? else { return Ok(None) };
        if let Some(prefix) = first.first_chunk().copied() {
            self.rest = first.slice(N..);
            return Ok(Some(prefix));
        }
        self.rest = first;
        let mut prefix = Vec::with_capacity(N);
        self.fill(&mut prefix, N).await?;
        Ok(prefix.first_chunk().copied())
    }

    /// Returns how many of the announced `len` bytes get memory at first. Waits until a byte has arrived.
    async fn believed(&mut self, len: usize, intake: &impl RequestMemory) -> Result<usize, Refusal> {
        if len > 0 && self.rest.is_empty() {
            self.rest = self.next().await?.ok_or(Refusal::Truncated)?;
        }
        let of_arrived = self.rest.len().saturating_mul(ANNOUNCED_TIMES);
        let most = of_arrived.min(ANNOUNCED_BYTES_MAX).min(intake.announced_bytes_max());
        Ok(len.min(most.max(ANNOUNCED_BYTES_MIN)))
    }

    /// Reads the next `len` bytes, a length that the sender has announced. If `is_last`, the body must end after them.
    pub(in crate::receiver) async fn exactly(
        &mut self,
        len: usize,
        is_last: bool,
        limit: usize,
        intake: &impl RequestMemory,
    ) -> Result<HeldBody, Refusal> {
        if len > limit {
            return Err(Refusal::TooLarge { limit });
        }
        let is_small = len <= intake.budget().shared_body_bytes_max();
        let mut known = self.believed(len, intake).await?;
        if known == len && is_small {
            let mut room = intake.room(len).ok_or(Refusal::NoRoom)?;
            self.fill_room(&mut room, is_last, intake).await?;
            return Ok(room.freeze().into());
        }
        let mut share = admit(intake, known)?;
        let mut buffer = Vec::with_capacity(known);
        self.fill(&mut buffer, known).await?;
        while known < len {
            let step = known.min(len - known);
            share.absorb(admit(intake, step)?);
            buffer.reserve_exact(step);
            known += step;
            self.fill(&mut buffer, known).await?;
        }
        if is_last && !self.ends().await? {
            return Err(Refusal::Cardinality);
        }
        if is_small { HeldBody::settle(buffer, share, intake) } else { Ok(HeldBody { bytes: buffer.into(), share }) }
    }

    /// Reads everything up to the end of the body, at most `limit` bytes.
    pub(in crate::receiver) async fn whole(
        &mut self,
        limit: usize,
        intake: &impl RequestMemory,
    ) -> Result<HeldBody, Refusal> {
        // The HTTP/1 and HTTP/2 libraries ensure that a body has the length that its header states.
        if let Some(len) = self.body.size_hint().exact() {
            return self.exactly(usize::try_from(len).unwrap_or(usize::MAX), false, limit, intake).await;
        }
        let mut share = admit(intake, 0)?;
        let mut buffer = Vec::new();
        while let Some(chunk) = self.next().await? {
            let needed = buffer.len() + chunk.len();
            if needed > limit {
                return Err(Refusal::TooLarge { limit });
            }
            let held = buffer.capacity();
            if needed > held {
                let step = needed.max(held * 2).max(STEP_BYTES_MIN).min(limit);
                let wanted = if self.body.is_end_stream() { needed } else { step };
                share.absorb(admit(intake, wanted - held)?);
                buffer.reserve_exact(wanted - buffer.len());
            }
            buffer.extend_from_slice(&chunk);
        }
        HeldBody::settle(buffer, share, intake)
    }

    /// Returns true if the body ends here.
    async fn ends(&mut self) -> Result<bool, Refusal> {
        Ok(self.next().await?.is_none())
    }

    /// Discards the rest of a refused request's body, within [`DRAIN_BYTES_MAX`] and [`DRAIN_TIME_MAX`].
    pub(in crate::receiver) async fn drain(&mut self) {
        if self.failed || self.body.is_end_stream() || self.body.size_hint().lower() > DRAIN_BYTES_MAX {
            return;
        }
        let mut left = DRAIN_BYTES_MAX;
        let all = pin!(async {
            while let Ok(Some(chunk)) = self.next().await {
                left = left.saturating_sub(chunk.len() as u64);
                if left == 0 {
                    break;
                }
            }
        });
        // If the client sends more bytes or sends them more slowly, the connection closes.
        let _ = tokio::time::timeout(DRAIN_TIME_MAX, all).await;
    }
}

#[cfg(test)]
mod tests;
