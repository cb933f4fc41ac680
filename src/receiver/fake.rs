//! An intake for unit tests. It has a budget, but no trace table.

use std::sync::Arc;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use tonic::codegen::tokio_stream;

use super::{AcceptError, Accepted, Intake, RequestMemory};
use crate::budget::{Budget, Room, Share};
use crate::tail::journal_hold::JournalHold;

pub(super) struct FakeIntake(pub(super) Budget);

impl RequestMemory for FakeIntake {
    fn budget(&self) -> &Budget {
        &self.0
    }

    fn admit(&self, bytes: usize) -> Option<Share> {
        self.0.reserve(bytes)
    }

    fn room(&self, bytes: usize) -> Option<Room> {
        self.0.room(bytes)
    }
}

impl Intake for FakeIntake {
    fn accept(&self, _: Bytes, _: Share, _: Option<Arc<JournalHold>>) -> Result<Accepted, AcceptError> {
        Ok(Accepted::default())
    }
}

/// Returns a body that arrives in `pieces`.
pub(super) fn pieces(
    pieces: Vec<Bytes>,
) -> StreamBody<impl tokio_stream::Stream<Item = Result<Frame<Bytes>, &'static str>> + Unpin> {
    StreamBody::new(tokio_stream::iter(pieces.into_iter().map(|piece| Ok(Frame::data(piece)))))
}

/// Returns `bytes` cut at `cuts`, each taken modulo the length plus one.
pub(super) fn cut(bytes: &[u8], cuts: &[usize]) -> Vec<Bytes> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.sort_unstable();
    cuts.insert(0, 0);
    cuts.push(bytes.len());
    cuts.windows(2).map(|ends| Bytes::copy_from_slice(&bytes[ends[0]..ends[1]])).collect()
}
