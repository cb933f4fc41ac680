//! Bodies of requests, compressed while nobody reads them (`memory.compress`).
//!
//! A request that has been held for a second is compressed by the task that sweeps, in blocks that are independent of one
//! another. The first kept span of it that is encoded brings the whole body back, as more are likely to follow, if there is
//! memory for it; a second later it is compressed again, if dropped traces are still held in it. Without memory for it, and
//! for a look below a lock, no more is unpacked than the blocks that the spans stand in: what that costs does not grow with the
//! body, and neither does the memory, which is booked.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

use super::budget::Share;
use super::request::{HeldSpan, Request};
use super::table::Millis;
use crate::otlp::scan::Scope;
use crate::otlp::{ByteRange, visited};

/// A body is compressed when it has been held, or was last read, this long ago: by then the traces that are kept at once
/// are gone.
const AGE_MS: Millis = 1_000;

/// A smaller body gains little: its strings have no time to repeat themselves.
const BODY_BYTES_MIN: usize = 2 << 10;

/// A larger body would take the worker some milliseconds at once. Senders' batches are far smaller.
const BODY_BYTES_MAX: usize = 4 << 20;

/// A block, before compression: the most that is unpacked for a span that is smaller than it and does not stand across a
/// border, some 6 us of work. LZ4 finds no string again that is further away, so larger blocks would gain little.
const BLOCK_BYTES: usize = 64 << 10;

/// A body with a larger resource or scope stays as it is, as each fragment that is read unpacks them anew. Those of SDKs have
/// some KiB.
const SHARED_BYTES_MAX: usize = 16 << 10;

/// A body that was read stays as it is below this part of the budget. Above, it would take the memory that pressure is about
/// to free.
const RESTORE_MARK: f64 = 0.75;

/// The body of a request with its share of the budget, which is that of the request's index, too.
#[derive(Debug)]
pub(super) struct Body {
    form: Form,
    share: Share,
}

#[derive(Clone, Debug)]
pub(super) enum Form {
    Plain(Bytes),
    Packed(Arc<Packed>),
}

/// A compressed body.
#[derive(Debug)]
pub(super) struct Packed {
    /// The blocks behind one another.
    bytes: Box<[u8]>,
    /// Where each ends.
    ends: Box<[u32]>,
    plain_bytes: usize,
}

impl Packed {
    /// Compresses `plain` by way of `scratch`.
    fn new(plain: &[u8], scratch: &mut Vec<u8>) -> Self {
        scratch.clear();
        let mut ends = Vec::with_capacity(plain.len().div_ceil(BLOCK_BYTES));
        for block in plain.chunks(BLOCK_BYTES) {
            let start = scratch.len();
            scratch.resize(start + lz4_flex::block::get_maximum_output_size(block.len()), 0);
            // The output has room for any block. If one did not fit, its spans would be found malformed and be counted as such.
            let len = lz4_flex::block::compress_into(block, &mut scratch[start..]).unwrap_or(0);
            scratch.truncate(start + len);
            ends.push(scratch.len() as u32);
        }
        Packed { bytes: scratch.as_slice().into(), ends: ends.into(), plain_bytes: plain.len() }
    }

    /// The memory that it takes.
    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.len() + size_of_val(&*self.ends)
    }

    /// Unpacks the block of this number into `out`, and nothing else.
    fn unpack(&self, block: usize, out: &mut Vec<u8>) {
        let start = block.checked_sub(1).map_or(0, |before| self.ends[before]) as usize;
        let end = self.ends.get(block).map_or(start, |&end| end as usize);
        let len = self.plain_bytes.saturating_sub(block * BLOCK_BYTES).min(BLOCK_BYTES);
        visited::add(len);
        out.resize(len, 0);
        // It was made here, so it fits. If it did not, its spans would be found malformed and be counted as such.
        if !matches!(lz4_flex::block::decompress_into(&self.bytes[start..end], out), Ok(unpacked) if unpacked == len) {
            out.fill(0);
        }
    }

    /// The whole body.
    fn plain(&self) -> Bytes {
        let (mut plain, mut block) = (Vec::with_capacity(self.plain_bytes), Vec::new());
        for number in 0..self.ends.len() {
            self.unpack(number, &mut block);
            plain.extend_from_slice(&block);
        }
        plain.into()
    }
}

/// Some spans of a compressed body, unpacked, with what they share.
#[derive(Debug)]
pub(super) struct Excerpt {
    pub(super) body: Bytes,
    /// They point into `scopes`.
    pub(super) spans: Vec<HeldSpan>,
    /// Each with its number in the request.
    pub(super) scopes: Vec<(u32, Scope)>,
    /// The bytes of the blocks that were unpacked for it.
    pub(super) unpacked_bytes: u64,
}

impl Excerpt {
    /// The excerpt with these `spans`, which stand in the order of the body, and point into `scopes`.
    pub(super) fn new(packed: &Packed, spans: &[HeldSpan], scopes: &[Scope]) -> Self {
        let mut unpacker = Unpacker { packed, block: Vec::new(), number: None, out: Vec::new(), unpacked_bytes: 0 };
        let (spans_held, scopes_held) = (Vec::with_capacity(spans.len()), Vec::new());
        let mut excerpt = Excerpt { body: Bytes::new(), spans: spans_held, scopes: scopes_held, unpacked_bytes: 0 };
        // The last resource, as it stands in the body.
        let mut resource = ByteRange::default();
        for held in spans {
            let last = excerpt.scopes.last().copied();
            if last.is_none_or(|(number, _)| number != held.scope) {
                let found = scopes.get(held.scope as usize).copied().unwrap_or_default();
                let origin = last.filter(|_| resource == found.resource).map(|(_, scope)| scope);
                excerpt.scopes.push((held.scope, unpacker.scope(found, origin)));
                resource = found.resource;
            }
            let scope = excerpt.scopes.len() as u32 - 1;
            excerpt.spans.push(HeldSpan { span: unpacker.range(held.span), scope });
        }
        excerpt.unpacked_bytes = unpacker.unpacked_bytes;
        excerpt.body = unpacker.out.into();
        excerpt
    }

    /// The memory that it takes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.body.len()
            + self.spans.capacity() * size_of::<HeldSpan>()
            + self.scopes.capacity() * size_of::<(u32, Scope)>()
    }
}

/// Copies ranges out of a compressed body.
struct Unpacker<'p> {
    packed: &'p Packed,
    /// The block that was unpacked last, and its number.
    block: Vec<u8>,
    number: Option<usize>,
    out: Vec<u8>,
    unpacked_bytes: u64,
}

impl Unpacker<'_> {
    /// Copies a range; returns where it stands now.
    fn range(&mut self, range: ByteRange) -> ByteRange {
        let (mut at, end) = (range.offset as usize, range.offset as usize + range.len as usize);
        let offset = self.out.len() as u32;
        while at < end.min(self.packed.plain_bytes) {
            let number = at / BLOCK_BYTES;
            if self.number != Some(number) {
                self.packed.unpack(number, &mut self.block);
                self.number = Some(number);
                self.unpacked_bytes += self.block.len() as u64;
            }
            let first = at % BLOCK_BYTES;
            let last = (first + end - at).min(self.block.len());
            self.out.extend_from_slice(&self.block[first..last]);
            at += last - first;
        }
        ByteRange { offset, len: self.out.len() as u32 - offset }
    }

    /// Copies what a scope names, but for a resource that has been copied already, as `origin` has it.
    fn scope(&mut self, scope: Scope, origin: Option<Scope>) -> Scope {
        let origin = origin.unwrap_or_else(|| Scope {
            resource: self.range(scope.resource),
            resource_schema_url: self.range(scope.resource_schema_url),
            service: self.range(scope.service),
            ..Scope::default()
        });
        Scope { scope: self.range(scope.scope), scope_schema_url: self.range(scope.scope_schema_url), ..origin }
    }
}

impl Body {
    pub(super) fn new(plain: Bytes, share: Share) -> Self {
        Body { form: Form::Plain(plain), share }
    }

    /// The bytes as they came.
    #[cfg(test)]
    pub(super) fn plain(&self) -> Bytes {
        match &self.form {
            Form::Plain(plain) => plain.clone(),
            Form::Packed(packed) => packed.plain(),
        }
    }

    /// The block that it shares with other bodies, if it does.
    #[cfg(test)]
    pub(super) fn block(&self) -> Option<super::blocks::BlockId> {
        self.share.block()
    }

    /// The body as it is held.
    pub(super) fn form(&self) -> Form {
        self.form.clone()
    }

    /// A share of `bytes` for what is read of it, over the limit if need be.
    pub(super) fn reading(&self, bytes: usize) -> Share {
        self.share.budget().force(bytes)
    }

    /// Unpacks the body if there is room for it; true if it was packed and is not any more.
    pub(super) fn restore(&mut self) -> bool {
        let Form::Packed(packed) = &self.form else { return false };
        let more_bytes = packed.plain_bytes.saturating_sub(packed.heap_bytes());
        let budget = self.share.budget();
        let has_room = ((budget.used_bytes() + more_bytes) as f64) < RESTORE_MARK * budget.limit_bytes() as f64;
        let is_restored = has_room && self.share.grow(more_bytes);
        if is_restored {
            self.form = Form::Plain(packed.plain());
        }
        is_restored
    }

    /// Moves the body, which has outlived others of its block, to a block of bodies that are as old. It stays if there is no room.
    pub(super) fn relocate(&mut self, request: &Arc<Request>) {
        let Form::Plain(plain) = &self.form else { return };
        if let Some((copy, covered)) = self.share.budget().copy_of_old(plain) {
            self.form = Form::Plain(copy);
            // The body is covered by its own share, wherever it is.
            self.share.move_to(covered.block());
        }
        self.enlist(request);
    }

    /// Lets the block of the body, if it is in one, know whom to ask to move it.
    pub(super) fn enlist(&self, request: &Arc<Request>) {
        if let (Some(block), Form::Plain(_)) = (self.share.block(), &self.form) {
            self.share.budget().enlist(block, Arc::downgrade(request));
        }
    }

    /// Compresses the body, if that saves a quarter of it at least, by way of `scratch`.
    fn compress(&mut self, scratch: &mut Vec<u8>) {
        let Form::Plain(plain) = &self.form else { return };
        if !(BODY_BYTES_MIN..=BODY_BYTES_MAX).contains(&plain.len()) {
            return;
        }
        let packed = Packed::new(plain, scratch);
        let saved_bytes = plain.len().saturating_sub(packed.heap_bytes());
        if saved_bytes >= plain.len() / 4 {
            self.form = Form::Packed(Arc::new(packed));
            self.share.resize(self.share.bytes() - saved_bytes);
        }
    }
}

/// Whether a request of these scopes is to be compressed at all.
pub(super) fn is_compressible(scopes: &[Scope]) -> bool {
    scopes.iter().all(|scope| {
        let parts = [scope.resource, scope.resource_schema_url, scope.scope, scope.scope_schema_url];
        parts.iter().all(|part| part.len as usize <= SHARED_BYTES_MAX)
    })
}

/// The memory that compressing takes beside the bodies; it is booked from the start.
pub(super) const SCRATCH_BYTES_MAX: usize = 2 * BODY_BYTES_MAX;

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
    /// Room for a compressed body, for the largest so far, as memory that is fetched anew costs as much as compressing. At most
    /// [`SCRATCH_BYTES_MAX`].
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
