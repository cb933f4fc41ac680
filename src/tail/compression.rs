//! Bodies of requests, compressed while nobody reads them (`memory.compress`).
//!
//! A request that has been held for a second is compressed by the task that sweeps. The first kept span of it that is
//! encoded brings the whole body back, as more are likely to follow, if there is memory for it; a second later it is
//! compressed again, if dropped traces are still held in it.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

use super::budget::Share;
use super::request::Request;
use super::table::Millis;

/// A body is compressed when it has been held, or was last read, this long ago: by then the traces that are kept at once
/// are gone.
const AGE_MS: Millis = 1_000;

/// A smaller body gains little: its strings have no time to repeat themselves.
const BODY_BYTES_MIN: usize = 2 << 10;

/// A larger body would take the worker some milliseconds at once. Senders' batches are far smaller.
const BODY_BYTES_MAX: usize = 4 << 20;

/// A body that was read stays as it is below this part of the budget. Above, it would take the memory that pressure is about
/// to free.
const RESTORE_MARK: f64 = 0.75;

/// The body of a request with its share of the budget, which is that of the request's index, too.
#[derive(Debug)]
pub(super) struct Body {
    form: Form,
    share: Share,
}

#[derive(Debug)]
enum Form {
    Plain(Bytes),
    Lz4 { packed: Box<[u8]>, plain_bytes: usize },
}

impl Body {
    pub(super) fn new(plain: Bytes, share: Share) -> Self {
        Body { form: Form::Plain(plain), share }
    }

    /// The bytes as they came, and whether they were compressed and are not any more.
    pub(super) fn read(&mut self) -> (Bytes, bool) {
        let (packed, plain_bytes) = match &self.form {
            Form::Plain(plain) => return (plain.clone(), false),
            Form::Lz4 { packed, plain_bytes } => (packed, *plain_bytes),
        };
        // It was made here, so it fits. If it did not, its spans would be found malformed and be counted as such.
        let plain = Bytes::from(lz4_flex::block::decompress(packed, plain_bytes).unwrap_or_default());
        let more_bytes = plain_bytes.saturating_sub(packed.len());
        let budget = self.share.budget();
        let has_room = ((budget.used_bytes() + more_bytes) as f64) < RESTORE_MARK * budget.limit_bytes() as f64;
        let is_restored = has_room && self.share.grow(more_bytes);
        if is_restored {
            self.form = Form::Plain(plain.clone());
        }
        (plain, is_restored)
    }

    /// Compresses the body, if that saves a quarter of it at least, by way of `scratch`.
    fn compress(&mut self, scratch: &mut Vec<u8>) {
        let Form::Plain(plain) = &self.form else { return };
        if !(BODY_BYTES_MIN..=BODY_BYTES_MAX).contains(&plain.len()) {
            return;
        }
        let most_bytes = lz4_flex::block::get_maximum_output_size(plain.len());
        scratch.resize(most_bytes.max(scratch.len()), 0);
        // What does not fit, which cannot be, would stay as it is.
        let packed_bytes = lz4_flex::block::compress_into(plain, scratch).unwrap_or(plain.len());
        let saved_bytes = plain.len().saturating_sub(packed_bytes);
        if saved_bytes >= plain.len() / 4 {
            self.form = Form::Lz4 { packed: scratch[..packed_bytes].into(), plain_bytes: plain.len() };
            self.share.resize(self.share.bytes() - saved_bytes);
        }
    }
}

/// The requests that are to be compressed, in the order of their last use.
#[derive(Debug, Default)]
pub(super) struct Compression {
    /// Used since the last look, which gives them their time.
    fresh: Mutex<Vec<Weak<Request>>>,
    aging: Mutex<Aging>,
}

#[derive(Debug, Default)]
struct Aging {
    requests: VecDeque<(Millis, Weak<Request>)>,
    /// Room for a compressed body, for the largest so far, as memory that is fetched anew costs as much as compressing.
    scratch: Vec<u8>,
}

impl Compression {
    /// The body of `request` is plain, and is to be compressed once it has not been read for a while.
    pub(super) fn enlist(&self, request: &Arc<Request>) {
        self.fresh.lock().push(Arc::downgrade(request));
    }

    /// Compresses one body that has aged; true if there may be more.
    pub(super) fn compress_one(&self, now_ms: Millis) -> bool {
        let mut aging = self.aging.lock();
        let Aging { requests, scratch } = &mut *aging;
        requests.extend(self.fresh.lock().drain(..).map(|request| (now_ms, request)));
        while requests.front().is_some_and(|(since_ms, _)| since_ms + AGE_MS <= now_ms) {
            if let Some(request) = requests.pop_front().and_then(|(_, request)| request.upgrade()) {
                request.with_body(|body| body.compress(scratch));
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
