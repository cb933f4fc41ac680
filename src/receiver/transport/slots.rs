//! Places for connections, in total and for one peer, and the room that connections share.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// Divisor of the number of places that gives the places of one peer. The part is large, because many senders can share
/// an address: behind a proxy, a NAT or Cloud Run's front end, which has at most a thousand requests in flight to an
/// instance.
const PEER_PART: usize = 2;

/// Prefix length of the smallest network that counts as one IPv6 peer, in bits. A peer can choose any address within it
/// (RFC 6177).
const IPV6_PEER_BITS: u32 = 64;

/// Largest room of a connection: the bytes that a peer may send before they are read. At a round trip of 1 ms it allows
/// 4 GB/s.
pub(super) const ROOM_BYTES_MAX: usize = 4 << 20;

/// Divisor of the room that is left, which gives the room of the next connection. The first ones get megabytes, the
/// hundredth gets almost none, and the sum is bounded for any number of connections.
const ROOM_PART: usize = 16;

/// Places of one group of addresses.
#[derive(Debug)]
pub(super) struct ConnectionSlots {
    max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_peer: HashMap<IpAddr, usize>,
    room_bytes: usize,
}

/// A place. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    peer: IpAddr,
    /// Bytes that its connection may hold beyond what every connection may hold.
    pub(super) room_bytes: usize,
}

impl ConnectionSlots {
    /// Creates `max` places, which share `room_bytes`.
    pub(in crate::receiver) fn new(max: usize, room_bytes: usize) -> Arc<Self> {
        Arc::new(ConnectionSlots { max, taken: Taken { room_bytes, ..Taken::default() }.into() })
    }

    /// Takes a place for a connection from `address`. `None` if there is none.
    pub(in crate::receiver) fn acquire(self: &Arc<Self>, address: IpAddr) -> Option<ConnectionSlot> {
        let peer = peer(address);
        let mut taken = self.taken.lock();
        if taken.all >= self.max {
            return None;
        }
        let own = taken.by_peer.entry(peer).or_default();
        if *own >= self.max.div_ceil(PEER_PART) {
            return None;
        }
        *own += 1;
        taken.all += 1;
        let room_bytes = (taken.room_bytes / ROOM_PART).min(ROOM_BYTES_MAX);
        taken.room_bytes -= room_bytes;
        Some(ConnectionSlot { slots: Arc::clone(self), peer, room_bytes })
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        taken.all -= 1;
        taken.room_bytes += self.room_bytes;
        if let Some(own) = taken.by_peer.get_mut(&self.peer) {
            *own -= 1;
            if *own == 0 {
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
