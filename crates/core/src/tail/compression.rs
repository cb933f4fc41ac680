//! Bodies of requests, compressed while they are not read (`memory.compress`).
//!
//! The task that sweeps compresses a request after the request has been held for a second. A body is compressed in
//! blocks that are independent of one another. When the first kept span of a request is encoded, the whole body is
//! unpacked, if memory allows, because more of its spans are likely to follow. A second later it is compressed again,
//! if dropped traces still hold it. Without room for the whole body, or for reading while a lock is held, only the
//! blocks that contain the spans are unpacked. So the cost does not grow with the body, and neither does the memory,
//! which is charged to the budget.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

use super::request::{HeldSpan, Request};
use super::table::Millis;
use crate::budget::{Share, ladder};
use crate::otlp::scan::Scope;
use crate::otlp::{ByteRange, visited};

/// Milliseconds from the arrival or the last read of a body until the body is compressed. By then, traces that are kept
/// at once have usually left the request.
const AGE_MS: Millis = 1_000;

/// The smallest body that is compressed. A smaller one gains little because few of its strings repeat.
const BODY_BYTES_MIN: usize = 2 << 10;

/// The largest body that is compressed. A larger one would keep the worker busy for a few milliseconds at once.
/// Senders' batches are far smaller.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Bytes of a block before compression. A span that is smaller than a block and does not cross a border costs the
/// unpacking of one block, about 6 us of work. Larger blocks would gain little because LZ4 does not find repeated
/// strings further back.
const BLOCK_BYTES: usize = 64 << 10;

/// The largest resource or scope in a body that is compressed, because each fragment that is read unpacks them again.
/// SDKs send a few KiB.
const SHARED_BYTES_MAX: usize = 16 << 10;

/// The body of a request, with the share of the budget that covers both the body and the request's index.
#[derive(Debug)]
pub(super) struct RequestBody {
    form: BodyForm,
    share: Share,
}

#[derive(Clone, Debug)]
pub(super) enum BodyForm {
    Plain(Bytes),
    Packed(Arc<Packed>),
}

/// A compressed body.
#[derive(Debug)]
pub(super) struct Packed {
    /// The compressed blocks, one after the other.
    bytes: Box<[u8]>,
    /// The end of each block in `bytes`.
    ends: Box<[u32]>,
    plain_bytes: usize,
}

impl Packed {
    /// Compresses `plain`, with `scratch` as a buffer.
    fn new(plain: &[u8], scratch: &mut Vec<u8>) -> Self {
        scratch.clear();
        let mut ends = Vec::with_capacity(plain.len().div_ceil(BLOCK_BYTES));
        for block in plain.chunks(BLOCK_BYTES) {
            let start = scratch.len();
            scratch.resize(start + lz4_flex::block::get_maximum_output_size(block.len()), 0);
            // The output has room for any block. If a block did not fit, its spans would be found malformed and counted
            // as such.
            let len = lz4_flex::block::compress_into(block, &mut scratch[start..]).unwrap_or(0);
            scratch.truncate(start + len);
            ends.push(scratch.len() as u32);
        }
        Packed { bytes: scratch.as_slice().into(), ends: ends.into(), plain_bytes: plain.len() }
    }

    /// Returns the bytes of memory that the compressed body takes.
    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.len() + size_of_val(&*self.ends)
    }

    /// Replaces the contents of `out` with the unpacked block of this number.
    fn unpack(&self, block: usize, out: &mut Vec<u8>) {
        let start = block.checked_sub(1).map_or(0, |before| self.ends[before]) as usize;
        let end = self.ends.get(block).map_or(start, |&end| end as usize);
        let len = self.plain_bytes.saturating_sub(block * BLOCK_BYTES).min(BLOCK_BYTES);
        visited::add(len);
        out.resize(len, 0);
        // `Packed::new` made the block, so it unpacks. If it did not, its spans would be found malformed and counted as
        // such.
        if !matches!(lz4_flex::block::decompress_into(&self.bytes[start..end], out), Ok(unpacked) if unpacked == len) {
            out.fill(0);
        }
    }

    /// Returns the whole body, unpacked.
    fn plain(&self) -> Bytes {
        let (mut plain, mut block) = (Vec::with_capacity(self.plain_bytes), Vec::new());
        for number in 0..self.ends.len() {
            self.unpack(number, &mut block);
            plain.extend_from_slice(&block);
        }
        plain.into()
    }
}

/// Some spans of a compressed body, unpacked, with their resources and scopes.
#[derive(Debug)]
pub(super) struct Excerpt {
    pub(super) body: Bytes,
    /// The spans. Their scope is an index into `scopes`.
    pub(super) spans: Vec<HeldSpan>,
    /// The scopes, each with its number in the request.
    pub(super) scopes: Vec<(u32, Scope)>,
    /// Bytes of the blocks that were unpacked for the excerpt.
    pub(super) unpacked_bytes: u64,
}

impl Excerpt {
    /// Unpacks these `spans`, which must be in the order of the body and refer to `scopes`.
    pub(super) fn new(packed: &Packed, spans: &[HeldSpan], scopes: &[Scope]) -> Self {
        let mut unpacker = Unpacker { packed, block: Vec::new(), number: None, out: Vec::new(), unpacked_bytes: 0 };
        let (spans_held, scopes_held) = (Vec::with_capacity(spans.len()), Vec::new());
        let mut excerpt = Excerpt { body: Bytes::new(), spans: spans_held, scopes: scopes_held, unpacked_bytes: 0 };
        // The range of the last resource in the original body.
        let mut resource = ByteRange::default();
        for held in spans {
            let last = excerpt.scopes.last().copied();
            if last.is_none_or(|(number, _)| number != held.scope()) {
                let found = scopes.get(held.scope() as usize).copied().unwrap_or_default();
                let origin = last.filter(|_| resource == found.resource).map(|(_, scope)| scope);
                excerpt.scopes.push((held.scope(), unpacker.scope(found, origin)));
                resource = found.resource;
            }
            let scope = excerpt.scopes.len() as u32 - 1;
            excerpt.spans.push(held.at(unpacker.range(held.span), scope));
        }
        excerpt.unpacked_bytes = unpacker.unpacked_bytes;
        excerpt.body = unpacker.out.into();
        excerpt
    }

    /// Returns the bytes of memory that the excerpt takes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.body.len()
            + self.spans.capacity() * size_of::<HeldSpan>()
            + self.scopes.capacity() * size_of::<(u32, Scope)>()
    }
}

/// Copies ranges out of a compressed body.
struct Unpacker<'p> {
    packed: &'p Packed,
    /// The block that was unpacked last. `number` is its number.
    block: Vec<u8>,
    number: Option<usize>,
    out: Vec<u8>,
    unpacked_bytes: u64,
}

impl Unpacker<'_> {
    /// Copies a range to `out`. Returns the range there.
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

    /// Copies the parts that a scope refers to. If `origin` is given, its resource is already copied and is used again.
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

impl RequestBody {
    pub(super) fn new(plain: Bytes, share: Share) -> Self {
        RequestBody { form: BodyForm::Plain(plain), share }
    }

    /// Returns the bytes of the body as the sender sent them.
    #[cfg(test)]
    pub(super) fn plain(&self) -> Bytes {
        match &self.form {
            BodyForm::Plain(plain) => plain.clone(),
            BodyForm::Packed(packed) => packed.plain(),
        }
    }

    /// Adds `bytes` to the share of the request in place of `before_bytes`. They may exceed the limit.
    pub(super) fn recharge(&mut self, before_bytes: usize, bytes: usize) {
        self.share.resize((self.share.bytes() + bytes).saturating_sub(before_bytes));
    }

    /// Returns the body in its present form.
    pub(super) fn form(&self) -> BodyForm {
        self.form.clone()
    }

    /// Returns a share of `bytes` for what is read of the body. It may exceed the limit.
    pub(super) fn reading(&self, bytes: usize) -> Share {
        self.share.budget().force(bytes)
    }

    /// Unpacks the body if there is room for it. Returns true if it did.
    pub(super) fn restore(&mut self) -> bool {
        let BodyForm::Packed(packed) = &self.form else { return false };
        let more_bytes = packed.plain_bytes.saturating_sub(packed.heap_bytes());
        let has_room = self.share.budget().stays_below(ladder::RESTORE, more_bytes);
        let is_restored = has_room && self.share.grow(more_bytes);
        if is_restored {
            self.form = BodyForm::Plain(packed.plain());
        }
        is_restored
    }

    /// Moves the body, which has outlived others of its block, to a block of bodies that are as old. The body stays if
    /// there is no room.
    pub(super) fn relocate(&mut self, request: &Arc<Request>) {
        let BodyForm::Plain(plain) = &self.form else { return };
        if let Some((copy, covered)) = self.share.budget().copy_of_old(plain) {
            self.form = BodyForm::Plain(copy);
            // The share of the body covers it wherever it is, so the share of the copy is released.
            self.share.move_to(covered.block());
        }
        self.enlist(request);
    }

    /// Registers `request` with the block of the body, if it is in one, so that the block can ask the request to move
    /// the body.
    pub(super) fn enlist(&self, request: &Arc<Request>) {
        if let (Some(block), BodyForm::Plain(_)) = (self.share.block(), &self.form) {
            self.share.budget().enlist(block, Arc::downgrade(request));
        }
    }

    /// Compresses the body if that saves at least a quarter of it, with `scratch` as a buffer.
    fn compress(&mut self, scratch: &mut Vec<u8>) {
        let BodyForm::Plain(plain) = &self.form else { return };
        if !(BODY_BYTES_MIN..=BODY_BYTES_MAX).contains(&plain.len()) {
            return;
        }
        let packed = Packed::new(plain, scratch);
        let saved_bytes = plain.len().saturating_sub(packed.heap_bytes());
        if saved_bytes >= plain.len() / 4 {
            self.form = BodyForm::Packed(Arc::new(packed));
            self.share.resize(self.share.bytes() - saved_bytes);
        }
    }
}

/// Returns true if a request with these scopes can be compressed.
pub(super) fn is_compressible(scopes: &[Scope]) -> bool {
    scopes.iter().all(|scope| {
        let parts = [scope.resource, scope.resource_schema_url, scope.scope, scope.scope_schema_url];
        parts.iter().all(|part| part.len as usize <= SHARED_BYTES_MAX)
    })
}

/// The most bytes of memory that compressing takes in addition to the bodies. They are charged from the start.
pub(super) const SCRATCH_BYTES_MAX: usize = 2 * BODY_BYTES_MAX;

/// The requests that wait to be compressed, in the order of their last use.
#[derive(Debug, Default)]
pub(super) struct Compression {
    /// Requests that came or were read since the last call of [`Compression::compress_one`]. That call gives them their
    /// time.
    fresh: Mutex<Vec<Weak<Request>>>,
    aging: Mutex<Aging>,
}

#[derive(Debug, Default)]
struct Aging {
    requests: VecDeque<(Millis, Weak<Request>)>,
    /// A buffer for a compressed body, at most [`SCRATCH_BYTES_MAX`]. It keeps the size of the largest so far, because
    /// allocating it anew would cost as much as compressing.
    scratch: Vec<u8>,
}

impl Compression {
    /// Registers `request`, whose body is plain, to be compressed once the body has not been read for a while.
    pub(super) fn enlist(&self, request: &Arc<Request>) {
        self.fresh.lock().push(Arc::downgrade(request));
    }

    /// Compresses one body that is old enough. Returns true if there may be more.
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
