//! Places for connections, in total and for one peer, their memory, and the room that they share.
//!
//! A peer may have as many places as it leaves for others: half of all if it is alone. That is a large part, because many
//! senders can share an address: behind a proxy, a NAT or Cloud Run's front end, which has at most a thousand requests
//! in flight to an instance.
//!
//! A connection borrows its memory from the memory budget. If the budget has no room, because it is full of spans that
//! are kept, the connection takes it from a reserve. So probes and senders can still connect. The reserve is for that
//! time only: connections in it borrow from the budget as soon as that has room.
//!
//! When there is no place or no memory for a new connection, an idle one makes room: one that has had no request for the
//! longest time, of the same peer or of a peer with more places. So senders and probes get in next to any number of idle
//! connections. While there is room, no connection ends for the sake of another.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::connection::Connection;
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

/// Divisor of the number of places that gives the number of connections that may be leaving at once. Their place and
/// their part of the reserve are given away before they have ended.
const LEAVING_PART: usize = 8;

/// Largest number of connections that may be leaving at once. A search for an idle connection looks at all of them, so
/// this bounds the searches, together with [`SEARCH_INTERVAL`].
const LEAVING_MAX: usize = 64;

/// Time after which a connection in the reserve asks the budget for room again.
const BORROW_INTERVAL: Duration = Duration::from_secs(5);

/// Time after a search for an idle connection that found none until the next one. A search looks at all connections under
/// the lock, and many connections may be refused in this time.
const SEARCH_INTERVAL: Duration = Duration::from_millis(10);

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
    /// The bytes that a connection may hold.
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
    /// Connections that have a place, by the number of their slot.
    connections: HashMap<u64, Placed>,
    /// Number of the next slot.
    next: u64,
    /// Number of connections that made room for another one and have not ended yet.
    leaving: usize,
    /// The last search for an idle connection that found none at all.
    in_vain: InVain,
}

/// Times of searches for an idle connection that found none: one of all connections, and one of those that have a part of
/// the reserve.
type InVain = [Option<Instant>; 2];

/// A connection that has a place.
#[derive(Debug)]
struct Placed {
    connection: Arc<Connection>,
    /// Bytes of the reserve that it has. 0 if it has borrowed.
    reserve_bytes: usize,
}

/// The connections of one peer, and the bytes of the reserve that they have.
#[derive(Debug, Default)]
struct Peer {
    connections: usize,
    reserve_bytes: usize,
    /// The last search on behalf of this peer that found none.
    in_vain: InVain,
}

/// A place. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    number: u64,
    pub(super) connection: Arc<Connection>,
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

    /// Takes a place for a connection from `address`. `admit` takes memory from the budget, if that has room. Returns
    /// `None` if there is no room and no idle connection that can make room, or if too many connections are leaving
    /// already.
    pub(super) fn acquire(
        self: &Arc<Self>,
        address: IpAddr,
        admit: impl FnOnce(usize) -> Option<Share>,
    ) -> Option<ConnectionSlot> {
        let peer = peer(address);
        if !self.may_have_place(peer) {
            return None;
        }
        // This happens without the lock, because making room in the budget takes time.
        let loan = admit(self.memory.each).map(Loan::from);
        let reserve_bytes = if loan.is_some() { 0 } else { self.memory.each };
        let mut taken = self.taken.lock();
        let has_memory = taken.has_memory(peer, reserve_bytes, self.memory.reserve);
        if !(has_memory && taken.has_place(peer, self.max)) {
            taken.dismiss_idle(peer, !has_memory, self.leaving_max())?;
        }
        let room_bytes = taken.take(peer, reserve_bytes);
        let (number, connection) = taken.place(peer, reserve_bytes);
        Some(ConnectionSlot { slots: Arc::clone(self), number, connection, loan, room_bytes })
    }

    fn may_have_place(&self, peer: IpAddr) -> bool {
        let taken = self.taken.lock();
        taken.has_place(peer, self.max) || taken.leaving < self.leaving_max()
    }

    fn leaving_max(&self) -> usize {
        (self.max / LEAVING_PART).clamp(1, LEAVING_MAX)
    }
}

impl Taken {
    /// Returns true if one of `max` places is left for `peer`. A peer may have as many as it leaves.
    fn has_place(&self, peer: IpAddr, max: usize) -> bool {
        self.all + self.places_of(peer) + 2 <= max.max(2)
    }

    /// Returns true if `bytes` of the reserve, which has `max_bytes`, are left for `peer`. A peer may have as much of the
    /// reserve as it leaves.
    fn has_memory(&self, peer: IpAddr, bytes: usize, max_bytes: usize) -> bool {
        let own_bytes = self.by_peer.get(&peer).map_or(0, |own| own.reserve_bytes);
        bytes == 0 || self.reserve_bytes + own_bytes + 2 * bytes <= max_bytes
    }

    fn places_of(&self, peer: IpAddr) -> usize {
        self.by_peer.get(&peer).map_or(0, |own| own.connections)
    }

    /// Takes a place for `peer`, with `bytes` of the reserve. Returns the room of the connection.
    fn take(&mut self, peer: IpAddr, bytes: usize) -> usize {
        let own = self.by_peer.entry(peer).or_default();
        own.connections += 1;
        own.reserve_bytes += bytes;
        self.all += 1;
        self.reserve_bytes += bytes;
        // Without room in the budget, the daemon is short of memory, also for buffers.
        let room_bytes = if bytes > 0 { 0 } else { (self.room_bytes / ROOM_PART).min(ROOM_BYTES_MAX) };
        self.room_bytes -= room_bytes;
        room_bytes
    }

    /// Adds a connection of `peer` that has a place. Returns the number of its slot.
    fn place(&mut self, peer: IpAddr, reserve_bytes: usize) -> (u64, Arc<Connection>) {
        let (number, connection) = (self.next, Arc::new(Connection::of(peer)));
        self.next += 1;
        self.connections.insert(number, Placed { connection: Arc::clone(&connection), reserve_bytes });
        (number, connection)
    }

    /// Makes an idle connection leave for one of `peer`. If `needs_memory`, it is one that has a part of the reserve. Of
    /// the peers with more places than `peer`, and `peer` itself, it is one of the peer with the most places. `None` if
    /// there is none, or if `leaving_max` are leaving already.
    fn dismiss_idle(&mut self, peer: IpAddr, needs_memory: bool, leaving_max: usize) -> Option<()> {
        if self.leaving >= leaving_max || self.was_in_vain(peer, needs_memory) {
            return None;
        }
        let own = self.places_of(peer);
        let idle = self.connections.iter().filter_map(|(&number, Placed { connection, reserve_bytes })| {
            let places = self.places_of(connection.peer);
            let may_leave = connection.peer == peer || places > own;
            let helps = !needs_memory || *reserve_bytes > 0;
            let since = connection.idle_since().filter(|_| may_leave && helps)?;
            Some(((places, Reverse(since)), number))
        });
        let Some((_, number)) = idle.max() else {
            self.note_in_vain(peer, needs_memory);
            return None;
        };
        let connection = self.give_back(number)?;
        connection.dismiss();
        self.leaving += 1;
        Some(())
    }

    /// Returns true if a search has just found nothing that could leave for `peer`.
    fn was_in_vain(&self, peer: IpAddr, needs_memory: bool) -> bool {
        let own = self.by_peer.get(&peer).and_then(|own| own.in_vain[usize::from(needs_memory)]);
        let searches = [self.in_vain[usize::from(needs_memory)], own];
        searches.into_iter().flatten().any(|search| search.elapsed() < SEARCH_INTERVAL)
    }

    /// Notes a search in vain. For a peer without a place any idle connection may leave, so there is none for others.
    fn note_in_vain(&mut self, peer: IpAddr, needs_memory: bool) {
        let in_vain = self.by_peer.get_mut(&peer).map_or(&mut self.in_vain, |own| &mut own.in_vain);
        in_vain[usize::from(needs_memory)] = Some(Instant::now());
    }

    /// Gives back the place of the slot with this number, and its part of the reserve. `None` if it has made room for
    /// another connection already.
    fn give_back(&mut self, number: u64) -> Option<Arc<Connection>> {
        let Placed { connection, reserve_bytes } = self.connections.remove(&number)?;
        self.all -= 1;
        self.reserve_bytes -= reserve_bytes;
        if let Some(own) = self.by_peer.get_mut(&connection.peer) {
            own.connections -= 1;
            own.reserve_bytes -= reserve_bytes;
            if own.connections == 0 {
                self.by_peer.remove(&connection.peer);
            }
        }
        Some(connection)
    }

    /// Gives back the part of the reserve that the slot with this number has.
    fn give_back_reserve(&mut self, number: u64) {
        let Some(placed) = self.connections.get_mut(&number) else { return };
        let bytes = std::mem::take(&mut placed.reserve_bytes);
        self.reserve_bytes -= bytes;
        if let Some(own) = self.by_peer.get_mut(&placed.connection.peer) {
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
        self.loan = budget.reserve(self.slots.memory.each).map(Loan::from);
        if self.loan.is_some() {
            self.slots.taken.lock().give_back_reserve(self.number);
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        taken.room_bytes += self.room_bytes;
        if taken.give_back(self.number).is_none() {
            taken.leaving -= 1;
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
