//! Memory for the bodies of a recording that is read ahead: blocks that several bodies share, and that are used again.
//!
//! A simulation holds bodies for seconds of virtual time, and lets them go in the order in which they came. With one
//! allocation for each, every body would be copied, into memory that the system has to clear first.

use std::collections::VecDeque;
use std::io::{self, Read};

use bytes::{Buf, Bytes, BytesMut};

/// The size of a block. What is left of a record at its end is copied to the next block: a seventh, for bodies of 300 KB.
const BLOCK_BYTES: usize = 1 << 20;

/// The largest record that is read within a block. A larger one has memory of its own.
pub(super) const SHARED_BYTES_MAX: usize = BLOCK_BYTES / 2;

/// The blocks that are looked at, beside the oldest one, before there is a new one.
const BLOCKS_LOOKED_AT: usize = 32;

/// The bytes of a reader, block by block.
#[derive(Debug)]
pub(super) struct Blocks<R> {
    reader: R,
    /// The bytes that are read and not taken yet.
    ahead: Bytes,
    /// All blocks, the oldest ones first. Most become free in this order.
    blocks: VecDeque<Bytes>,
    /// The next block to look at beside the oldest one.
    look: usize,
    /// True if blocks are filled. Otherwise no more is read than was asked for, and what the reader gives with it.
    is_eager: bool,
    /// The end of the reader, or the error after which nothing can be read.
    end: Option<io::Result<()>>,
}

impl<R: Read> Blocks<R> {
    pub(super) fn new(reader: R, is_eager: bool) -> Self {
        Blocks { reader, ahead: Bytes::new(), blocks: VecDeque::new(), look: 0, is_eager, end: None }
    }

    /// Reads until there are `bytes`, at most [`SHARED_BYTES_MAX`], to take. Returns false if the input ends before.
    ///
    /// # Errors
    /// The input cannot be read.
    pub(super) fn has(&mut self, bytes: usize) -> io::Result<bool> {
        if self.ahead.len() < bytes && self.end.is_none() {
            self.fill(bytes);
        }
        if self.ahead.len() >= bytes {
            return Ok(true);
        }
        match self.end.replace(Ok(())) {
            Some(Err(error)) => Err(error),
            _ => Ok(false),
        }
    }

    /// Returns the bytes that are read and not taken yet.
    pub(super) fn ahead(&self) -> &[u8] {
        &self.ahead
    }

    /// Takes bytes that [are there](Self::has).
    pub(super) fn take(&mut self, bytes: usize) -> Bytes {
        self.ahead.split_to(bytes)
    }

    /// Returns a reader of the next `bytes`, or of what there is of them.
    pub(super) fn next_bytes(&mut self, bytes: u32) -> impl Read {
        let ahead = self.take(self.ahead.len().min(bytes as usize));
        let rest = if self.end.is_none() { u64::from(bytes) - ahead.len() as u64 } else { 0 };
        ahead.reader().chain((&mut self.reader).take(rest))
    }

    /// Fills the next block. It begins with what the last one has left.
    fn fill(&mut self, bytes: usize) {
        let rest = std::mem::take(&mut self.ahead);
        let mut block = self.free_block();
        block[..rest.len()].copy_from_slice(&rest);
        let (mut len, wanted) = (rest.len(), if self.is_eager { BLOCK_BYTES } else { bytes });
        while len < wanted && self.end.is_none() {
            match self.reader.read(&mut block[len..]) {
                Ok(0) => self.end = Some(Ok(())),
                Ok(read) => len += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.end = Some(Err(error)),
            }
        }
        let block = block.freeze();
        self.ahead = block.slice(..len);
        self.blocks.push_back(block);
    }

    /// Returns a block without readers, or a new one. Looks at some blocks only.
    fn free_block(&mut self) -> BytesMut {
        self.look = (self.look + BLOCKS_LOOKED_AT) % self.blocks.len().max(1);
        for index in std::iter::once(0).chain(self.look..self.look + BLOCKS_LOOKED_AT) {
            if !self.blocks.get(index).is_some_and(Bytes::is_unique) {
                continue;
            }
            if let Some(Ok(block)) = self.blocks.remove(index).map(Bytes::try_into_mut) {
                return block;
            }
        }
        BytesMut::zeroed(BLOCK_BYTES)
    }
}

#[cfg(test)]
mod tests;
