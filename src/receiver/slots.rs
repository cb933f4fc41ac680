//! Places for connections, in all and for one peer, and the room that they share.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// The part of all places that one peer can have. Large, because many senders can share an address: all of them behind
/// a proxy, a NAT or Cloud Run's front end, which has no more than a thousand requests in flight to an instance.
const PEER_PART: usize = 2;

/// The network that one IPv6 peer has at least, in bits: it chooses addresses within it at will (RFC 6177).
const IPV6_PEER_BITS: u32 = 64;

/// The most room of a connection: what a peer may send ahead of what was read. At 1 ms of round trip it allows 4 GB/s.
pub(super) const ROOM_BYTES_MAX: usize = 4 << 20;

/// The part of the room that is left which the next connection gets: the first ones have megabytes, the hundredth has
/// next to none, and the sum is bounded however many come.
const ROOM_PART: usize = 16;

/// The places of one group of addresses.
#[derive(Debug)]
pub(super) struct Slots {
    max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_peer: HashMap<IpAddr, usize>,
    room_bytes: usize,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    peer: IpAddr,
    /// What its connection may hold beyond what every connection may.
    pub(super) room_bytes: usize,
}

impl Slots {
    /// So many places, which share `room_bytes`.
    pub(super) fn new(max: usize, room_bytes: usize) -> Arc<Self> {
        Arc::new(Slots { max, taken: Taken { room_bytes, ..Taken::default() }.into() })
    }

    /// A place for a connection from `address`, if there is one.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
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
        Some(Slot { slots: Arc::clone(self), peer, room_bytes })
    }
}

impl Drop for Slot {
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

/// Whom `address` stands for.
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
