//! The section `memory` of the configuration.

use crate::budget::ladder::LIMIT_PERCENT_DEFAULT;
use crate::settings::kinds::{Amount, Choice};
use crate::settings::{Limit, MIB, Size, TIB, section};

section! {
    /// The memory budget.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Memory {
        /// The budget for requests, their index and spans on their way out. A percentage is of the container's (cgroup's)
        /// memory, and leaves at least 80 MiB of it free (three quarters of less than 107 MiB). Not less than
        /// `otlp.max_request_bytes`.
        pub limit: Size = Size::Percent(LIMIT_PERCENT_DEFAULT), Amount { bytes: BYTES, percents: 1.0..=100.0 };
        /// `lz4`: requests are compressed when they have been held for a second, so that the same memory holds about
        /// four times as many spans, for 0.2 - 0.5 us of CPU time a span (`benches/RESULTS.md`). This pays off where the
        /// decision wait, not the traffic, fills the memory. Requests with a resource or scope of more than 16 KiB stay
        /// as they are. Limits that count bytes of spans (`bytes_max`, `rescue.max_bytes`) count them as they were sent.
        pub compress: Compress = Compress::Off, Choice::of("compression", &COMPRESSIONS);
    }
}

const BYTES: Limit<u64> = Limit { min: MIB, max: TIB, why: "requests, their index and kept spans must fit" };

const COMPRESSIONS: [(&str, Compress); 2] = [("off", Compress::Off), ("lz4", Compress::Lz4)];

/// The form in which the bodies of requests are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compress {
    /// The bytes that were received.
    Off,
    /// LZ4 blocks.
    Lz4,
}
