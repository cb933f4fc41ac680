//! Counts the bytes that the code reads. Tests and fuzz targets compare the count with the size of a request, to bound
//! the cost of the request. It counts in debug builds and when fuzzing. In any other build it counts nothing and costs
//! nothing.
//!
//! A [`super::wire::Reader`] counts the bytes that it reads or skips. A field inside five nested messages therefore
//! counts five times, and a field that is looked up for each span counts once for each span. Code that reads bytes
//! without a reader (a hash, a copy, a comparison of data that spans share) counts them itself.

#[cfg(any(test, fuzzing, debug_assertions))]
mod counter {
    use std::cell::Cell;

    thread_local! {
        static BYTES: Cell<u64> = const { Cell::new(0) };
    }

    /// Adds `bytes` to the count of this thread.
    #[inline]
    pub fn add(bytes: usize) {
        BYTES.set(BYTES.get() + bytes as u64);
    }

    /// Returns the number of bytes that this thread has read since the last call.
    #[must_use]
    pub fn take() -> u64 {
        BYTES.take()
    }
}

#[cfg(any(test, fuzzing, debug_assertions))]
pub use counter::{add, take};

/// Does nothing in this build.
#[cfg(not(any(test, fuzzing, debug_assertions)))]
#[inline(always)]
pub fn add(_bytes: usize) {}
