//! Values in numbered slots, side by side in memory in the order in which they came.
//!
//! Slots lie in chunks, so that growing copies nothing and gives nobody a pause, and a chunk that a burst has left empty
//! can be given back. A new value takes the place that was left last: its cache lines are at hand.

/// Slots of a chunk. Traces have 144 B: so many fill the 8 KiB that the allocator gives out, and a word has a bit for each.
const CHUNK_LEN: usize = 56;

/// [`Chunk::free`] of an empty chunk.
const ALL_FREE: u64 = (1 << CHUNK_LEN) - 1;

/// Which of a collection's slots. It is used again once its value has been taken out.
pub(super) type Slot = u32;

#[derive(Debug)]
pub(super) struct Slots<T> {
    chunks: Vec<Chunk<T>>,
    /// The chunks with a free slot; the last one is filled next.
    open: Vec<u32>,
    /// The chunks whose memory was given back.
    vacant: Vec<u32>,
    len: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    /// [`CHUNK_LEN`] of them, or none.
    values: Box<[Option<T>]>,
    /// A bit for each free slot.
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
    pub(super) fn insert(&mut self, value: T) -> Slot {
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

    /// How many values are held.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn get(&self, slot: Slot) -> Option<&T> {
        self.chunks.get(slot as usize / CHUNK_LEN)?.values.get(slot as usize % CHUNK_LEN)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.chunks.get_mut(slot as usize / CHUNK_LEN)?.values.get_mut(slot as usize % CHUNK_LEN)?.as_mut()
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<T> {
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

    /// All values.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.values.iter().flatten())
    }

    /// Gives back the memory of empty chunks if most of what is held is empty.
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

    /// A chunk with free slots, now the last of the open ones.
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
