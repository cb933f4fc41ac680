use super::*;

/// A reader that gives up to `piece` bytes at a time, and then an error if there is one.
struct Pieces<'a> {
    bytes: &'a [u8],
    piece: usize,
    error: Option<io::ErrorKind>,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self.piece.min(self.bytes.len()).min(buffer.len());
        if piece == 0 && self.bytes.is_empty() {
            return self.error.take().map_or(Ok(0), |kind| Err(kind.into()));
        }
        buffer[..piece].copy_from_slice(&self.bytes[..piece]);
        self.bytes = &self.bytes[piece..];
        Ok(piece)
    }
}

fn numbers(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n * 7 + n / 251) as u8).collect()
}

#[test]
fn the_bytes_come_as_they_are_read_and_blocks_are_used_again() {
    let bytes = numbers(12 * BLOCK_BYTES);
    for (piece, is_eager) in [(BLOCK_BYTES, true), (10_000, true), (10_000, false)] {
        let mut blocks = Blocks::new(Pieces { bytes: &bytes, piece, error: None }, is_eager);
        let (mut at, mut held) = (0, VecDeque::new());
        for len in [1, 29, 300_000, SHARED_BYTES_MAX, 7].into_iter().cycle() {
            if !blocks.has(len).unwrap() {
                break;
            }
            let taken = blocks.take(len);
            assert_eq!(taken, bytes[at..at + len]);
            at += len;
            held.push_back(taken);
            // A simulation lets bodies go in the order in which they came.
            if held.len() > 5 {
                held.pop_front();
            }
        }
        let mut rest = Vec::new();
        io::copy(&mut blocks.next_bytes(u32::MAX), &mut rest).unwrap();
        assert_eq!(rest, bytes[at..]);
        assert!(blocks.blocks.len() <= 6, "{} blocks", blocks.blocks.len());
        assert!(!blocks.has(1).unwrap());
    }
}

#[test]
fn a_reader_that_is_not_eager_does_not_wait_for_more_than_it_needs() {
    let bytes = numbers(1_000);
    let mut blocks = Blocks::new(Pieces { bytes: &bytes, piece: 100, error: Some(io::ErrorKind::Other) }, false);
    assert!(blocks.has(150).unwrap());
    assert_eq!((blocks.ahead().len(), blocks.reader.bytes.len()), (200, 800));
}

#[test]
fn an_error_comes_after_the_bytes_before_it() {
    let bytes = numbers(100);
    let mut blocks = Blocks::new(Pieces { bytes: &bytes, piece: 64, error: Some(io::ErrorKind::InvalidData) }, true);
    assert!(blocks.has(100).unwrap());
    assert_eq!(blocks.take(60), bytes[..60]);
    assert_eq!(blocks.has(41).unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert!(!blocks.has(41).unwrap(), "nothing more can be read");
}
