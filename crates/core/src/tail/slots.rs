//! Values in numbered slots that lie side by side in memory in the order in which the values came.
//!
//! The slots are grouped in chunks, so that growth does not copy anything and causes no pause, and so that a chunk that
//! is empty after a burst can be given back. A new value takes the slot that was freed last, because its cache lines
//! are still warm.

/// Number of slots in a chunk. A trace has 144 B, so a chunk fills the 8 KiB that the allocator gives out, and one
/// `u64` has a bit for each slot.
const CHUNK_LEN: usize = 56;

/// The value of [`Chunk::free`] for an empty chunk.
const ALL_FREE: u64 = (1 << CHUNK_LEN) - 1;

/// The number of a slot. It is used again once its value has been taken out.
pub(super) type SlotNumber = u32;

#[derive(Debug)]
pub(super) struct Slots<T> {
    chunks: Vec<Chunk<T>>,
    /// Numbers of the chunks with a free slot. The last one is filled next.
    open: Vec<u32>,
    /// Numbers of the chunks whose memory was given back.
    vacant: Vec<u32>,
    len: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    /// [`CHUNK_LEN`] values, or none if the memory was given back.
    values: Box<[Option<T>]>,
    /// Bit set of the free slots: 1 means free.
    free: u64,
}

impl<T> Default for Chunk<T> {
    fn default() -> Self {
        Chunk { values: Box::default(), free: 0 }
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { chunks: Vec::new(), open: Vec::new(), vacant: Vec::new(), len: 0 }
    }
}

impl<T> Slots<T> {
    pub(super) fn insert(&mut self, value: T) -> SlotNumber {
        let number = self.open.last().copied().unwrap_or_else(|| self.open_chunk());
        let chunk = &mut self.chunks[number as usize];
        let at = chunk.free.trailing_zeros();
        chunk.values[at as usize] = Some(value);
        chunk.free &= chunk.free - 1;
        if chunk.free == 0 {
            self.open.pop();
        }
        self.len += 1;
        number * CHUNK_LEN as u32 + at
    }

    /// Returns the number of values.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the number that is greater than that of each slot.
    pub(super) fn slot_count(&self) -> SlotNumber {
        (self.chunks.len() * CHUNK_LEN) as SlotNumber
    }

    #[inline]
    pub(super) fn get(&self, slot: SlotNumber) -> Option<&T> {
        self.chunks.get(slot as usize / CHUNK_LEN)?.values.get(slot as usize % CHUNK_LEN)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: SlotNumber) -> Option<&mut T> {
        self.chunks.get_mut(slot as usize / CHUNK_LEN)?.values.get_mut(slot as usize % CHUNK_LEN)?.as_mut()
    }

    pub(super) fn remove(&mut self, slot: SlotNumber) -> Option<T> {
        let number = slot / CHUNK_LEN as u32;
        let at = slot as usize % CHUNK_LEN;
        let chunk = self.chunks.get_mut(number as usize)?;
        let value = chunk.values.get_mut(at)?.take()?;
        if chunk.free == 0 {
            self.open.push(number);
        }
        chunk.free |= 1 << at;
        self.len -= 1;
        Some(value)
    }

    /// Returns all values in the order of their slots.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.values.iter().flatten())
    }

    /// Gives back the memory of the empty chunks if more than three quarters of the slots are empty.
    pub(super) fn shrink(&mut self) {
        let chunks_held = self.chunks.len() - self.vacant.len();
        if chunks_held * CHUNK_LEN <= 4 * self.len.max(CHUNK_LEN) {
            return;
        }
        let Slots { chunks, open, vacant, .. } = self;
        open.retain(|&number| {
            let chunk = &mut chunks[number as usize];
            let is_empty = chunk.free == ALL_FREE;
            if is_empty {
                *chunk = Chunk::default();
                vacant.push(number);
            }
            !is_empty
        });
    }

    /// Allocates an empty chunk, appends it to `open`, and returns its number.
    fn open_chunk(&mut self) -> u32 {
        let number = self.vacant.pop().unwrap_or_else(|| {
            self.chunks.push(Chunk::default());
            self.chunks.len() as u32 - 1
        });
        let values = std::iter::repeat_with(|| None).take(CHUNK_LEN).collect();
        self.chunks[number as usize] = Chunk { values, free: ALL_FREE };
        self.open.push(number);
        number
    }
}

#[cfg(test)]
mod tests;
