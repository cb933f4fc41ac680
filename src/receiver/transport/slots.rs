//! Places for connections, in total and for one peer, their memory, and the room that they share.
//!
//! A peer may have as many places as it leaves for others: half of all if it is alone. That is a large part, because many
//! senders can share an address: behind a proxy, a NAT or Cloud Run's front end, which has at most a thousand requests
//! in flight to an instance.
//!
//! A connection borrows its memory from the memory budget. If the budget has no room, because it is full of spans that
//! are kept, the connection takes it from a reserve. So probes and senders can still connect. The reserve is for that
//! time only: connections in it borrow from the budget as soon as that has room.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::budget::{Budget, Loan, Share};

/// Prefix length of the smallest network that counts as one IPv6 peer, in bits. A peer can choose any address within it
/// (RFC 6177).
const IPV6_PEER_BITS: u32 = 64;

/// Largest room of a connection: the bytes that a peer may send before they are read. At a round trip of 1 ms it allows
/// 4 GB/s.
pub(super) const ROOM_BYTES_MAX: usize = 4 << 20;

/// Divisor of the room that is left, which gives the room of the next connection. The first ones get megabytes, the
/// hundredth gets almost none, and the sum is bounded for any number of connections.
const ROOM_PART: usize = 16;

/// Time after which a connection in the reserve asks the budget for room again.
const BORROW_INTERVAL: Duration = Duration::from_secs(5);

/// Places of one group of addresses.
#[derive(Debug)]
pub(super) struct ConnectionSlots {
    max: usize,
    memory: SlotMemory,
    taken: Mutex<Taken>,
}

/// The memory of connections, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotMemory {
    /// What a connection may hold.
    pub(super) each: usize,
    /// The reserve for connections that cannot borrow.
    pub(super) reserve: usize,
    /// The room that connections share beyond that.
    pub(super) room: usize,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_peer: HashMap<IpAddr, Peer>,
    reserve_bytes: usize,
    room_bytes: usize,
}

/// What one peer has taken.
#[derive(Debug, Default)]
struct Peer {
    connections: usize,
    reserve_bytes: usize,
}

/// A place. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    peer: IpAddr,
    /// The borrowed memory. `None` if the memory is from the reserve.
    loan: Option<Loan>,
    /// Bytes that its connection may hold beyond what every connection may hold.
    pub(super) room_bytes: usize,
}

impl ConnectionSlots {
    /// Creates `max` places with this `memory`.
    pub(super) fn new(max: usize, memory: SlotMemory) -> Arc<Self> {
        let taken = Taken { room_bytes: memory.room, ..Taken::default() };
        Arc::new(ConnectionSlots { max, memory, taken: taken.into() })
    }

    /// Takes a place for a connection from `address`. `None` if there is none. `admit` takes memory from the budget, if
    /// that has room.
    pub(super) fn acquire(
        self: &Arc<Self>,
        address: IpAddr,
        admit: impl FnOnce(usize) -> Option<Share>,
    ) -> Option<ConnectionSlot> {
        let peer = peer(address);
        if !self.has_place(peer) {
            return None;
        }
        // Not under the lock, because making room in the budget is work.
        let loan = admit(self.memory.each).map(Loan::from);
        let mut taken = self.taken.lock();
        let room_bytes = taken.take(peer, self.max, if loan.is_some() { 0 } else { self.memory.each }, self.memory)?;
        Some(ConnectionSlot { slots: Arc::clone(self), peer, loan, room_bytes })
    }

    fn has_place(&self, peer: IpAddr) -> bool {
        self.taken.lock().has_place(peer, self.max)
    }
}

impl Taken {
    /// Returns true if one of `max` places is left for `peer`. A peer may have as many as it leaves.
    fn has_place(&self, peer: IpAddr, max: usize) -> bool {
        let own = self.by_peer.get(&peer).map_or(0, |own| own.connections);
        self.all + own + 2 <= max.max(2)
    }

    /// Takes one of `max` places for `peer`, with `bytes` of the reserve. A peer may have as much of the reserve as it
    /// leaves. Returns the room of the connection.
    fn take(&mut self, peer: IpAddr, max: usize, bytes: usize, memory: SlotMemory) -> Option<usize> {
        let own_bytes = self.by_peer.get(&peer).map_or(0, |own| own.reserve_bytes);
        let has_place = self.has_place(peer, max);
        let has_memory = bytes == 0 || self.reserve_bytes + own_bytes + 2 * bytes <= memory.reserve;
        if !has_place || !has_memory {
            return None;
        }
        let own = self.by_peer.entry(peer).or_default();
        own.connections += 1;
        own.reserve_bytes += bytes;
        self.all += 1;
        self.reserve_bytes += bytes;
        // Without room in the budget, the daemon is short of memory, also for buffers.
        let room_bytes = if bytes > 0 { 0 } else { (self.room_bytes / ROOM_PART).min(ROOM_BYTES_MAX) };
        self.room_bytes -= room_bytes;
        Some(room_bytes)
    }

    fn give_back_reserve(&mut self, peer: IpAddr, bytes: usize) {
        self.reserve_bytes -= bytes;
        if let Some(own) = self.by_peer.get_mut(&peer) {
            own.reserve_bytes -= bytes;
        }
    }
}

impl ConnectionSlot {
    /// Moves the memory of a connection in the reserve to `budget`, once that has room. Does not end after it.
    pub(super) async fn borrow(&mut self, budget: &Budget) -> ! {
        while self.loan.is_none() {
            tokio::time::sleep(BORROW_INTERVAL).await;
            self.try_borrow(budget);
        }
        match std::future::pending::<Infallible>().await {}
    }

    fn try_borrow(&mut self, budget: &Budget) {
        let each = self.slots.memory.each;
        self.loan = budget.reserve(each).map(Loan::from);
        if self.loan.is_some() {
            self.slots.taken.lock().give_back_reserve(self.peer, each);
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        taken.all -= 1;
        taken.room_bytes += self.room_bytes;
        if self.loan.is_none() {
            taken.give_back_reserve(self.peer, self.slots.memory.each);
        }
        if let Some(own) = taken.by_peer.get_mut(&self.peer) {
            own.connections -= 1;
            if own.connections == 0 {
                taken.by_peer.remove(&self.peer);
            }
        }
    }
}

/// Returns the peer that `address` counts as: the address itself, or its network for IPv6.
fn peer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = !(u128::MAX >> IPV6_PEER_BITS);
            Ipv6Addr::from_bits(address.to_bits() & network).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests;
