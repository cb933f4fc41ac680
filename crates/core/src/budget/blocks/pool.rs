//! The list of blocks: which ones have room, are idle or are sparse. This module counts bytes. It does not know the
//! budget.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Weak;

use bytes::BytesMut;

use super::BodyOwner;

/// The number of a block. Numbers are given out in ascending order and never used again.
pub(crate) type BlockId = u64;

/// The most blocks of one age that are filled at the same time. There are several, because a body that does not fit
/// into one of them may fit into another.
const OPEN_MAX: usize = 4;

/// The most free pieces of a block. A body that is given up before it is complete leaves a piece. Further pieces are
/// not reused until the whole block is free.
const PIECES_MAX: usize = 16;

/// The length of a window, in milliseconds. Idle blocks that were not needed during a window are surplus. If a block is
/// sparse in two windows in a row, its bodies are moved.
const WINDOW_MS: u64 = 1_000;

/// One call gives back the surplus divided by this number. So the surplus after a burst of any size is gone within some
/// seconds.
const SURPLUS_DIVISOR: usize = 128;

#[derive(Debug)]
pub(super) struct Pool {
    block_bytes: usize,
    next: BlockId,
    /// The blocks in use, oldest first.
    blocks: BTreeMap<BlockId, Block>,
    /// The blocks that are being filled, by age.
    open: [Vec<BlockId>; 2],
    /// The memory of idle blocks. The last entry is the one used most recently.
    idle: Vec<BytesMut>,
    /// The smallest number of idle blocks since the window began.
    idle_min: usize,
    surplus: usize,
    window_ms: u64,
    /// The sum of [`Block::pinned_bytes`].
    pinned_bytes: usize,
    sparse: Vec<BlockId>,
    sparse_window: u64,
}

/// A block in use.
#[derive(Debug)]
struct Block {
    /// An empty handle to the block's memory. When all pieces are gone, it becomes the whole block again.
    home: BytesMut,
    /// Free pieces; empty if the block is not being filled any more.
    free: Vec<BytesMut>,
    body_bytes: usize,
    /// The number of bodies, including those of 0 bytes: each body holds a piece of the block.
    bodies: usize,
    /// The number of bodies that are not complete yet.
    unfinished: usize,
    /// The owners of the bodies; `None` if no owner has registered since they were last asked to move.
    owners: Option<Box<dyn Owners>>,
    was_sparse: bool,
}

/// The owners of the bodies of one block: a `Vec<Weak<T>>`. There is an entry for each body. The list has a dynamic
/// type, not each entry, so that an entry takes only the 8 bytes of a plain pointer.
pub(super) trait Owners: Any + Debug + Send {
    /// Asks all owners that still exist to move their bodies.
    fn relocate(&self);
}

impl<T: BodyOwner> Owners for Vec<Weak<T>> {
    fn relocate(&self) {
        for owner in self.iter().filter_map(Weak::upgrade) {
            owner.relocate();
        }
    }
}

impl Block {
    fn carve(&mut self, bytes: usize) -> Option<BytesMut> {
        let at = self.free.iter().rposition(|piece| piece.capacity() >= bytes)?;
        let mut piece = self.free.swap_remove(at);
        let rest = piece.split_off(bytes);
        if rest.capacity() > 0 {
            self.free.push(rest);
        }
        self.body_bytes += bytes;
        self.bodies += 1;
        self.unfinished += 1;
        Some(piece)
    }

    /// Returns the bytes that slow senders keep unused in a block of `block_bytes`. If a body is not complete and the
    /// block is not being filled any more, these are all bytes that belong to no body. Otherwise there are none.
    fn pinned_bytes(&self, block_bytes: usize) -> usize {
        if self.unfinished > 0 && self.free.is_empty() { block_bytes - self.body_bytes } else { 0 }
    }

    /// Returns the size of the largest free piece.
    fn free_bytes(&self) -> usize {
        self.free.iter().map(BytesMut::capacity).max().unwrap_or(0)
    }
}

impl Pool {
    pub(super) fn new(block_bytes: usize) -> Self {
        Pool {
            block_bytes,
            next: 0,
            blocks: BTreeMap::new(),
            open: Default::default(),
            idle: Vec::new(),
            idle_min: 0,
            surplus: 0,
            window_ms: 0,
            pinned_bytes: 0,
            sparse: Vec::new(),
            sparse_window: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn in_use(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn idle_bytes(&self) -> usize {
        self.idle.len() * self.block_bytes
    }

    /// Returns the bytes of the blocks in use that belong to no body.
    pub(super) fn slack_bytes(&self) -> usize {
        self.blocks.values().map(|block| self.block_bytes - block.body_bytes).sum()
    }

    /// Returns the bytes that slow senders keep unused in all blocks. They are few, because most bodies are complete
    /// soon after they begin.
    pub(super) fn pinned_bytes(&self) -> usize {
        self.pinned_bytes
    }

    /// Changes a block, and updates the sum of pinned bytes.
    fn change<T>(&mut self, id: BlockId, change: impl FnOnce(&mut Block) -> T) -> Option<T> {
        let block = self.blocks.get_mut(&id)?;
        self.pinned_bytes -= block.pinned_bytes(self.block_bytes);
        let result = change(block);
        self.pinned_bytes += block.pinned_bytes(self.block_bytes);
        Some(result)
    }

    /// Returns a piece of a block that is being filled, if one has room.
    pub(super) fn carve(&mut self, age: usize, bytes: usize) -> Option<(BlockId, BytesMut)> {
        (0..self.open[age].len()).find_map(|at| {
            let id = *self.open[age].get(at)?;
            Some((id, self.change(id, |block| block.carve(bytes))??))
        })
    }

    /// Returns a piece of an idle block, or of a new one. If [`OPEN_MAX`] blocks of this age are being filled already,
    /// this block replaces the fullest of them.
    pub(super) fn open(&mut self, age: usize, bytes: usize) -> (BlockId, BytesMut) {
        let mut home = self.idle.pop().unwrap_or_else(|| BytesMut::with_capacity(self.block_bytes));
        self.idle_min = self.idle_min.min(self.idle.len());
        let mut piece = home.split_off(0);
        let rest = piece.split_off(bytes);
        let free = if rest.capacity() > 0 { vec![rest] } else { Vec::new() };
        let block = Block { home, free, body_bytes: bytes, bodies: 1, unfinished: 1, owners: None, was_sparse: false };
        let (id, open) = (self.next, &mut self.open[age]);
        self.next += 1;
        self.blocks.insert(id, block);
        if open.len() >= OPEN_MAX {
            let blocks = &self.blocks;
            let fullest = (0..open.len()).min_by_key(|&at| blocks.get(&open[at]).map_or(0, Block::free_bytes));
            let full = fullest.map(|at| open.swap_remove(at));
            full.and_then(|full| self.change(full, |block| block.free.clear()));
        }
        self.open[age].push(id);
        (id, piece)
    }

    /// Returns `piece` to its block, because its body was given up before it was complete.
    pub(super) fn put_back(&mut self, block: BlockId, mut piece: BytesMut) {
        if self.open.iter().flatten().any(|&open| open == block) {
            self.change(block, |block| {
                if block.free.len() < PIECES_MAX {
                    piece.clear();
                    block.free.push(piece);
                }
            });
        }
    }

    /// Notes that a body of `block` is complete.
    pub(super) fn finish(&mut self, block: BlockId) {
        self.change(block, |block| block.unfinished -= 1);
    }

    /// Releases a body of `bytes`. Returns true if it was the last of its block.
    pub(super) fn release(&mut self, block: BlockId, bytes: usize, is_finished: bool) -> bool {
        let is_last = self.change(block, |block| {
            block.body_bytes -= bytes;
            block.bodies -= 1;
            block.unfinished -= usize::from(!is_finished);
            block.bodies == 0
        });
        is_last.unwrap_or(false)
    }

    /// Takes the memory of a block that has no bodies any more. Returns `None` if a reader still has a piece of it.
    pub(super) fn close(&mut self, block: BlockId) -> Option<BytesMut> {
        self.open.iter_mut().for_each(|open| open.retain(|&open| open != block));
        let Block { mut home, free, .. } = self.blocks.remove(&block)?;
        drop(free);
        // If a reader still holds a piece, the memory goes back to the allocator with the last piece.
        home.try_reclaim(self.block_bytes).then_some(home)
    }

    /// Keeps the memory of a block as an idle block.
    pub(super) fn keep(&mut self, block: BytesMut) -> Option<BytesMut> {
        self.idle.push(block);
        None
    }

    /// Takes up to `count` idle blocks, beginning with the one that has been idle for the longest time.
    pub(super) fn take_idle(&mut self, count: usize) -> Vec<BytesMut> {
        let count = count.min(self.idle.len());
        let taken = self.idle.drain(..count).collect();
        self.idle_min = self.idle_min.min(self.idle.len());
        taken
    }

    /// Takes a part of the idle blocks that were not needed during the last window.
    pub(super) fn take_surplus(&mut self, now_ms: u64) -> Vec<BytesMut> {
        if self.surplus == 0 && now_ms >= self.window_ms + WINDOW_MS {
            (self.surplus, self.idle_min, self.window_ms) = (self.idle_min, self.idle.len(), now_ms);
        }
        let count = self.surplus.div_ceil(SURPLUS_DIVISOR);
        self.surplus -= count;
        self.take_idle(count)
    }

    /// Registers that `owner` has its body in `block`.
    pub(super) fn enlist<T: BodyOwner>(&mut self, block: BlockId, owner: Weak<T>) {
        let Some(block) = self.blocks.get_mut(&block) else { return };
        let owners = block.owners.get_or_insert_with(|| Box::new(Vec::<Weak<T>>::new()));
        let owners: &mut dyn Any = owners.as_mut();
        if let Some(list) = owners.downcast_mut::<Vec<Weak<T>>>() {
            list.push(owner);
        }
    }

    /// Takes the owners of one sparse block: it is less than half full and is not being filled, and it was sparse at
    /// the last look, about a second before.
    pub(super) fn take_sparse(&mut self, now_ms: u64) -> Option<Box<dyn Owners>> {
        if self.sparse.is_empty() && now_ms / WINDOW_MS != self.sparse_window {
            self.sparse_window = now_ms / WINDOW_MS;
            self.look_for_sparse();
        }
        let block = self.sparse.pop().and_then(|id| self.blocks.get_mut(&id));
        block?.owners.take()
    }

    fn look_for_sparse(&mut self) {
        let open = &self.open;
        for (id, block) in &mut self.blocks {
            let is_open = open.iter().flatten().any(|open| open == id);
            let is_sparse = !is_open && 2 * block.body_bytes < self.block_bytes && block.owners.is_some();
            if is_sparse && block.was_sparse {
                self.sparse.push(*id);
            }
            block.was_sparse = is_sparse;
        }
    }
}
