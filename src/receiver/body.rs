//! Reads request bodies: the memory is admitted before it is allocated, and every byte is copied once.
//!
//! Frames are copied even where one frame is the whole body. A frame is a slice of the connection's read buffer, and
//! would keep all of that alive for as long as the spans are held, uncounted.

use std::pin::pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::Body;
use http_body_util::BodyExt;

use super::Intake;
use super::refusal::Refusal;
use crate::tail::budget::Share;

/// The first step of a body of unknown length; each further one doubles.
const STEP_BYTES_MIN: usize = 16 << 10;

/// How much of an announced length is believed before anything has come. Nearly all requests are smaller and get their
/// memory at once; for each further step at least half of it has come.
const ANNOUNCED_BYTES_MAX: usize = 1 << 20;

/// How much of a refused HTTP/1 body is read and thrown away, so that a client that first sends and then listens gets
/// to see the answer instead of a reset. Cloud Run lets no larger HTTP/1 request through.
const DRAIN_BYTES_MAX: u64 = 32 << 20;

/// How long that may take.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// Bytes in memory with the share of the budget that covers them.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Bytes,
    pub(super) share: Share,
}

/// A share of `bytes` more.
pub(super) fn admit(intake: &impl Intake, bytes: usize) -> Result<Share, Refusal> {
    intake.admit(bytes).ok_or(Refusal::NoRoom)
}

/// The bytes of a body, in whatever pieces they arrive.
#[derive(Debug)]
pub(super) struct Chunks<B> {
    body: B,
    rest: Bytes,
    failed: bool,
}

impl<B> Chunks<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    pub(super) fn new(body: B) -> Self {
        Chunks { body, rest: Bytes::new(), failed: false }
    }

    /// The next bytes, never none of them; `None` at the end. Trailers are skipped: OTLP has none.
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        if !self.rest.is_empty() {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        while let Some(frame) = self.body.frame().await {
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) if !data.is_empty() => return Ok(Some(data)),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "A request body broke off.");
                    self.failed = true;
                    return Err(Refusal::Truncated);
                }
            }
        }
        Ok(None)
    }

    /// Fills `buffer` up to `len` bytes; what has been allocated before is not moved.
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

    /// The first bytes of the body; `None` if it is empty.
    pub(super) async fn prefix<const N: usize>(&mut self) -> Result<Option<[u8; N]>, Refusal> {
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

    /// The next `len` bytes, which the sender has announced.
    pub(super) async fn exactly(&mut self, len: usize, limit: usize, intake: &impl Intake) -> Result<Held, Refusal> {
        if len > limit {
            return Err(Refusal::TooLarge { limit });
        }
        let mut known = len.min(ANNOUNCED_BYTES_MAX);
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
        Ok(Held { bytes: buffer.into(), share })
    }

    /// Everything up to the end of the body, of which at most `limit` bytes.
    pub(super) async fn whole(&mut self, limit: usize, intake: &impl Intake) -> Result<Held, Refusal> {
        // Both HTTP/1 and HTTP/2 see to it that a body has the length that its header states.
        if let Some(len) = self.body.size_hint().exact() {
            return self.exactly(usize::try_from(len).unwrap_or(usize::MAX), limit, intake).await;
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
        buffer.shrink_to_fit();
        share.resize(buffer.capacity());
        Ok(Held { bytes: buffer.into(), share })
    }

    /// Whether the body ends here.
    pub(super) async fn ends(&mut self) -> Result<bool, Refusal> {
        Ok(self.next().await?.is_none())
    }

    /// Throws away what is left of the body of a refused request, within bounds.
    pub(super) async fn drain(&mut self) {
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
        // Whoever sends more, or more slowly, meets a closed connection.
        let _ = tokio::time::timeout(DRAIN_TIME_MAX, all).await;
    }
}

#[cfg(test)]
mod tests;
