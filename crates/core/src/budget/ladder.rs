//! The ladder of memory pressure: all parts of the memory limit (`memory.limit`) at which the daemon changes what it
//! does, or that bound one use of memory.
//!
//! As the budget fills, the daemon takes the cheapest measure first: spooling costs only disk, giving up rescuable
//! traces costs traces that were dropped already, deciding early costs late spans, and refusing costs the senders a
//! retry. The first three measures also apply to the journal's disk, at the same marks. The assertions at the end check
//! the order when the crate is compiled.

/// A part of the memory limit, of the reserve, or of the limit of the journal's disk: 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part(f64);

impl Part {
    /// Creates the part `part`, from 0 to 1.
    #[must_use]
    pub const fn new(part: f64) -> Self {
        assert!(0.0 <= part && part <= 1.0);
        Part(part)
    }

    /// Returns this part of `bytes`.
    #[must_use]
    pub const fn of(self, bytes: usize) -> usize {
        self.exactly_of(bytes as f64) as usize
    }

    /// Returns this part of `bytes`, not rounded.
    pub(super) const fn exactly_of(self, bytes: f64) -> f64 {
        bytes * self.0
    }
}

// 1. Marks: the fill of the budget from which a measure is taken, in ascending order.

/// Up to here, a compressed body that is read is unpacked for good. Above it, the unpacked body would take the memory
/// that the next marks are about to free.
pub const RESTORE: Part = Part::new(0.75);

/// Spooling stops here. The distance to [`SPILL`] makes the daemon write the disk in large pieces.
pub const SPILL_TARGET: Part = Part::new(0.75);

/// From here, the oldest encoded batches go to the spool. It is the first measure because it costs nothing but disk.
/// Batches come back from the spool one at a time.
pub const SPILL: Part = Part::new(0.80);

/// From here, traces that were sampled out and can still be rescued are let go, the oldest first. They are the
/// cheapest to lose: their verdict is known, and few of them would be rescued.
pub const RESCUE: Part = Part::new(0.85);

/// From here, the oldest pending traces are decided before their time. This can cost traces: evidence that is still to
/// come finds that the spans of a trace that was dropped early are gone.
pub const EARLY: Part = Part::new(0.92);

/// Here, requests are refused as retryable, unless the reserve has room for them. A request that finds no room first
/// lets go of rescuable traces and has traces decided early, in a bounded number.
pub const FULL: Part = Part::new(1.0);

// 2. Room beyond the limit.

/// The reserve: requests may exceed the limit by this part, so that small senders get through. It is half of
/// [`ENCODED`].
pub const RESERVE: Part = Part::new(1.0 / 32.0);

/// A request takes at most this part of the reserve at once, which is a batch of some 400 spans in a container of
/// 192 MiB. Large requests are not what the reserve is for, and a few of them would fill it.
pub const RESERVE_REQUEST: Part = Part::new(1.0 / 16.0);

/// A connection that alone asks for the reserve leaves this part of it free. Others leave less, the less they ask
/// for: see `Budget::reserve_left_free`.
pub const RESERVE_ALONE: Part = Part::new(3.0 / 4.0);

/// Encoded spans may exceed the limit by this part, with the requests of the reserve. The other half is the
/// exporter's alone. Without it, the memory that calls to the sink give back would go to new requests first.
pub const ENCODED: Part = Part::new(1.0 / 16.0);

// 3. Bounds of one use of memory within the limit.

/// A block of bodies has at most this size. The last bodies of a few blocks can each hold a whole block, so a block
/// must be a small part of the limit.
pub const BLOCK: Part = Part::new(1.0 / 32.0);

/// Unused bytes of blocks that bodies in arrival keep in use. From here, such bodies have to leave their blocks at once.
pub const PINNED: Part = Part::new(1.0 / 16.0);

/// Encoded batches of this size stay in memory in any case. Some batches wait for a moment while there is no trouble,
/// and pending traces alone must not send them to the disk.
pub const STAY: Part = Part::new(1.0 / 16.0);

/// Batches of this size are read from the spool before the first of them is settled.
pub const READ_AHEAD: Part = Part::new(1.0 / 8.0);

/// Bodies may hold this part before they are in the trace table. Requests that are announced and never sent cannot take
/// more, however many there are.
pub const READING: Part = Part::new(1.0 / 4.0);

/// Connections borrow at most this part. In 512 MiB this allows 2,150 connections, enough for two thousand processes
/// with one each.
pub const CONNECTIONS: Part = Part::new(3.0 / 8.0);

// 4. Memory beside the budget, in relation to the limit. Probes and scrapes must get through when the budget is used
// up, so the budget does not cover it.

/// The reserve for connections that find no room in the budget.
pub const CONNECTION_RESERVE: Part = Part::new(1.0 / 32.0);

/// The reserve for heads of requests and for streams.
pub const HEADS: Part = Part::new(1.0 / 16.0);

/// The bytes that peers of all connections together may send before they are read, beyond the least that HTTP/2 allows.
/// It is a promise, and not memory: [`BUFFERS`] bounds what is read and not served yet.
pub const CONNECTION_ROOM: Part = Part::new(1.0 / 8.0);

/// The buffers of connections that have more than the least [`CONNECTION_ROOM`].
pub const BUFFERS: Part = Part::new(1.0 / 32.0);

/// The program itself, its tasks, and memory that the allocator has not given back yet.
pub const PROCESS: Part = Part::new(1.0 / 16.0);

/// The memory that the process may use beside the budget: the sum of the four parts above. The daemon measures the
/// memory of the process, and charges the excess to the budget.
pub const UNACCOUNTED: Part = Part::new(CONNECTION_RESERVE.0 + HEADS.0 + BUFFERS.0 + PROCESS.0);

/// All that the process holds when everything is used up: the budget, the room beyond it, and the memory beside it.
pub const ALL: f64 = FULL.0 + ENCODED.0 + RESERVE.0 + UNACCOUNTED.0;

/// The default of `memory.limit`, in percent of the container's memory. The room beyond the limit and the memory beside
/// the budget have to fit into the rest.
pub const LIMIT_PERCENT_DEFAULT: f64 = 70.0;

const _: () = assert!(RESTORE.0 <= SPILL.0, "an unpacked body must not be what makes batches go to the disk");
const _: () = assert!(STAY.0 < SPILL_TARGET.0 && SPILL_TARGET.0 < SPILL.0, "spooling must have something to free");
const _: () = assert!(SPILL.0 < RESCUE.0, "batches go to the disk before any trace is given up");
const _: () = assert!(RESCUE.0 < EARLY.0, "rescuable traces are let go before pending ones are decided early");
const _: () = assert!(EARLY.0 < FULL.0, "traces are decided early before requests are refused");
const _: () = assert!(BLOCK.0 < FULL.0 - EARLY.0, "opening a block must not skip the last mark before the limit");
const _: () = assert!(RESERVE.0 * 2.0 <= ENCODED.0, "half of the room beyond the limit is the exporter's alone");
const _: () = assert!(READING.0 + READ_AHEAD.0 < RESTORE.0, "reading bodies and the spool alone cause no pressure");
const _: () = assert!(CONNECTIONS.0 + READING.0 < RESTORE.0, "connections and bodies alone cause no pressure");
const _: () = assert!(CONNECTION_RESERVE.0 < CONNECTIONS.0, "most connections borrow from the budget");
const _: () =
    assert!(LIMIT_PERCENT_DEFAULT / 100.0 * ALL < 0.9, "with the default limit, a tenth of the container is free");
