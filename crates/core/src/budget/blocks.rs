//! Memory of request bodies: blocks that several bodies share, and that are used again.
//!
//! Bodies come and go at hundreds of megabytes a second. With one allocation for each, the allocator would decide when
//! freed memory goes back to the system. If it gives memory back at once, every 4 KiB of traffic costs a page fault. If
//! it gives memory back later, the process holds resident memory that is not accounted for. So bodies share blocks. A
//! block whose last body is released is idle. When a block is needed, the one that became idle last is used first.
//!
//! Invariants
//! - A block in use is charged to the budget as a whole: each body has its bytes in its own share, and the block has
//!   the rest.
//! - Idle blocks are not charged, but used and idle bytes together stay within the limit: any other charge displaces
//!   idle blocks.
//! - The bodies of a block that is less than half full are moved to another block, so that one body cannot hold a block
//!   for long.

mod pool;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

pub(crate) use self::pool::BlockId;
use self::pool::Pool;
use super::{Budget, Share, ladder};

/// The largest block. A full block wastes half a body on average: 3 % for bodies of 300 KB. A larger block would stall
/// the worker that gives it back to the system, for 0.1 ms a megabyte.
const BLOCK_BYTES_MAX: usize = 4 << 20;

/// The smallest block. Smaller blocks would not be worth their administration. If the limit allows only smaller ones,
/// each body has its own allocation.
const BLOCK_BYTES_MIN: usize = 64 << 10;

/// Returns the size of a block with a budget of `limit_bytes`; 0 if bodies do not share blocks.
pub(crate) fn block_bytes(limit_bytes: usize) -> usize {
    let part = ladder::BLOCK.of(limit_bytes).min(BLOCK_BYTES_MAX);
    if part < BLOCK_BYTES_MIN { 0 } else { 1 << part.ilog2() }
}

/// The divisor of the block size that bounds a small body. A small body gets its own memory if there is no room for a
/// block.
const SMALL_PART: usize = 16;

/// Bytes that a body takes in a block beside its own: its lease, the references to it, and its place in the list of the
/// block's owners.
pub const ENTRY_BYTES: usize = size_of::<Tenant>() + 4 * size_of::<usize>();

/// The owner of a body in a block, which can move the body to another block.
pub trait BodyOwner: Send + Sync + 'static {
    /// Moves the body to a block of bodies that are as old, if there is room.
    fn relocate(self: &Arc<Self>);
}

/// The age of the bodies that fill a block.
#[derive(Clone, Copy, Debug)]
enum Age {
    /// New bodies, which have just come.
    New,
    /// Bodies that have outlived the block that they came to. They are likely to outlive others.
    Old,
}

/// The blocks of a budget.
#[derive(Debug)]
pub(super) struct Blocks {
    block_bytes: usize,
    idle_bytes: AtomicUsize,
    pinned_bytes: AtomicUsize,
    pool: Mutex<Pool>,
}

impl Blocks {
    /// Creates the blocks for a budget of `limit_bytes`.
    pub(super) fn new(limit_bytes: usize) -> Self {
        let block_bytes = block_bytes(limit_bytes);
        let (idle_bytes, pinned_bytes) = Default::default();
        Blocks { block_bytes, idle_bytes, pinned_bytes, pool: Mutex::new(Pool::new(block_bytes)) }
    }

    /// Returns the bytes of the idle blocks.
    pub(super) fn idle_bytes(&self) -> usize {
        self.idle_bytes.load(Relaxed)
    }

    /// Returns the size of the largest body that shares a block. A larger body would leave too much of the block
    /// unused.
    pub(super) fn body_bytes_max(&self) -> usize {
        self.block_bytes / 2
    }

    /// Gives idle blocks back to the system until `excess_bytes` are freed or no idle block is left.
    pub(super) fn give_back(&self, excess_bytes: usize) {
        let count = excess_bytes.div_ceil(self.block_bytes.max(1));
        let blocks = self.with_pool(|pool| pool.take_idle(count));
        // Not under the lock, because freeing memory takes the system a while.
        drop(blocks);
    }

    fn with_pool<T>(&self, work: impl FnOnce(&mut Pool) -> T) -> T {
        let mut pool = self.pool.lock();
        let result = work(&mut pool);
        self.idle_bytes.store(pool.idle_bytes(), Relaxed);
        self.pinned_bytes.store(pool.pinned_bytes(), Relaxed);
        result
    }
}

impl Budget {
    /// Returns room for a body of `bytes`, with its share, or `None` if the budget has no room. Charges a new block if
    /// the blocks in use have no room for the body.
    #[must_use]
    pub fn room(&self, bytes: usize) -> Option<Room> {
        self.room_among(Age::New, bytes)
    }

    /// Returns the bytes of the blocks in use that belong to no body.
    #[must_use]
    pub fn slack_bytes(&self) -> usize {
        self.blocks().pool.lock().slack_bytes()
    }

    /// Returns true if slow senders keep more memory of blocks unused than [`ladder::PINNED`]. Then bodies that are not
    /// complete should [move out](Room::move_out) of their blocks soon.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.blocks().pinned_bytes.load(Relaxed) > ladder::PINNED.of(self.limit_bytes())
    }

    /// Returns the size of the largest body that shares a block with others; 0 if the budget is too small for blocks.
    #[must_use]
    pub fn shared_body_bytes_max(&self) -> usize {
        self.blocks().body_bytes_max()
    }

    fn room_among(&self, age: Age, bytes: usize) -> Option<Room> {
        if bytes > self.blocks().body_bytes_max() {
            return self.reserve(bytes).map(Room::alone);
        }
        let carved = self.blocks().with_pool(|pool| {
            let carved = pool.carve(age as usize, bytes);
            // An idle block if there is one, otherwise a new one.
            carved.or_else(|| self.try_charge(self.blocks().block_bytes).then(|| pool.open(age as usize, bytes)))
        });
        let Some((block, piece)) = carved else { return self.small_room(bytes) };
        let lease = Lease { budget: self.clone(), block, bytes, is_finished: false };
        // The bytes of the body were charged with the block.
        let share = Share::of_block(self.clone(), bytes, block);
        Some(Room { piece, lease: Some(lease), share })
    }

    /// Returns memory of its own for a body of `bytes`, if the body is small: the rest of the budget need not be enough
    /// for a block.
    fn small_room(&self, bytes: usize) -> Option<Room> {
        let is_small = bytes <= self.blocks().block_bytes / SMALL_PART;
        let share = is_small.then(|| self.reserve(bytes))??;
        Some(Room::alone(share))
    }

    /// Registers that `owner` has its body in `block`, so that it can be asked to move the body. All owners of one
    /// budget are of one type.
    pub(crate) fn enlist<T: BodyOwner>(&self, block: BlockId, owner: Weak<T>) {
        self.blocks().with_pool(|pool| pool.enlist(block, owner));
    }

    /// Does a little upkeep: gives back idle blocks that were not needed for a second, and moves the last bodies out of
    /// a block. Returns true if it moved any.
    /// `now_ms` is the time of a monotonic clock, in milliseconds.
    pub fn tidy(&self, now_ms: u64) -> bool {
        let (surplus, sparse) = self.blocks().with_pool(|pool| (pool.take_surplus(now_ms), pool.take_sparse(now_ms)));
        drop(surplus);
        let has_sparse = sparse.is_some();
        if let Some(owners) = sparse {
            // Not under the lock of the pool, because each owner takes a place in another block.
            owners.relocate();
        }
        has_sparse
    }

    /// Copies `body` to a block of bodies that are as old. Returns `None` if there is no room.
    pub(crate) fn copy_of_old(&self, body: &[u8]) -> Option<(Bytes, Share)> {
        let mut room = self.room_among(Age::Old, body.len())?;
        room.put(body);
        Some(room.freeze())
    }
}

/// Memory for a body that is being read. If the body is given up before [`Room::freeze`], its memory goes back to the
/// block at once.
#[derive(Debug)]
pub struct Room {
    piece: BytesMut,
    lease: Option<Lease>,
    share: Share,
}

impl Room {
    /// Returns memory of its own for the body that `share` covers.
    #[must_use]
    pub fn alone(share: Share) -> Self {
        Room { piece: BytesMut::with_capacity(share.bytes()), lease: None, share }
    }

    /// Appends as much of `bytes` as there is room for. Returns the number of bytes taken.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.missing_bytes());
        self.piece.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// Returns the number of bytes that are not filled yet.
    #[must_use]
    pub fn missing_bytes(&self) -> usize {
        self.share.bytes().saturating_sub(self.piece.len())
    }

    /// Returns true if the body keeps a block in use.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.lease.is_some()
    }

    /// Moves the bytes read so far to an allocation of their own, if the budget has room for it. A body that comes
    /// slowly would otherwise keep the whole block in use. Returns true if the body keeps no block in use any more.
    pub fn move_out(&mut self) -> bool {
        let budget = self.share.budget();
        if self.is_shared() && budget.filled_bytes() + self.share.bytes() <= budget.limit_bytes() {
            let mut own = BytesMut::with_capacity(self.share.bytes());
            own.extend_from_slice(&self.piece);
            let piece = std::mem::replace(&mut self.piece, own);
            self.give_back(piece);
            self.share.move_to(None);
        }
        !self.is_shared()
    }

    /// Returns the body as read so far, with its share.
    #[must_use]
    pub fn freeze(mut self) -> (Bytes, Share) {
        let bytes = std::mem::take(&mut self.piece).freeze();
        let bytes = match self.lease.take() {
            Some(mut lease) => {
                lease.finish();
                Bytes::from_owner(Tenant { bytes, _lease: lease })
            }
            None => bytes,
        };
        let empty = self.share.budget().share();
        (bytes, std::mem::replace(&mut self.share, empty))
    }

    fn give_back(&mut self, piece: BytesMut) {
        if let Some(lease) = self.lease.take() {
            lease.budget.blocks().with_pool(|pool| pool.put_back(lease.block, piece));
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let piece = std::mem::take(&mut self.piece);
        self.give_back(piece);
    }
}

/// A body in a block. Fields are dropped in order: the bytes go first, so that nothing refers to the block any more
/// when its last lease is gone.
struct Tenant {
    bytes: Bytes,
    _lease: Lease,
}

impl AsRef<[u8]> for Tenant {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The right to use some bytes of a block.
#[derive(Debug)]
struct Lease {
    budget: Budget,
    block: BlockId,
    bytes: usize,
    is_finished: bool,
}

impl Lease {
    /// Notes that the body is complete.
    fn finish(&mut self) {
        self.is_finished = true;
        self.budget.blocks().with_pool(|pool| pool.finish(self.block));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let budget = &self.budget;
        let (is_idle, surplus) = budget.blocks().with_pool(|pool| {
            if !pool.release(self.block, self.bytes, self.is_finished) {
                return (false, None);
            }
            let buffer = pool.close(self.block);
            // The block is still charged, except for the bytes of this body.
            let held_bytes = budget.filled_bytes().saturating_sub(budget.blocks().block_bytes) + pool.idle_bytes();
            let has_room = held_bytes + budget.blocks().block_bytes <= budget.limit_bytes();
            (true, buffer.and_then(|buffer| if has_room { pool.keep(buffer) } else { Some(buffer) }))
        });
        // The share of the body still has the body's own bytes.
        if is_idle {
            budget.uncharge(budget.blocks().block_bytes - self.bytes);
        } else {
            budget.charge_block(self.bytes);
        }
        drop(surplus);
    }
}

#[cfg(test)]
mod tests;
