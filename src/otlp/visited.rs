//! How many bytes the code has walked over: the measure by which tests and fuzz targets hold the cost of a request
//! against its size. In any other build it counts nothing and costs nothing.
//!
//! A [`super::wire::Reader`] counts what it reads or skips, so that a field in five messages inside of one another counts
//! five times, and one that is looked up again for each span as often as there are spans. Code that goes over bytes
//! without a reader (a hash, a copy, a comparison of what spans share) counts them itself.

#[cfg(any(test, fuzzing))]
mod counter {
    use std::cell::Cell;

    thread_local! {
        static BYTES: Cell<u64> = const { Cell::new(0) };
    }

    /// Counts `bytes` more.
    #[inline]
    pub fn add(bytes: usize) {
        BYTES.set(BYTES.get() + bytes as u64);
    }

    /// The bytes that this thread has walked over since the last call.
    #[must_use]
    pub fn take() -> u64 {
        BYTES.take()
    }
}

#[cfg(any(test, fuzzing))]
pub use counter::{add, take};

/// Does nothing.
#[cfg(not(any(test, fuzzing)))]
#[inline(always)]
pub(crate) fn add(_bytes: usize) {}
