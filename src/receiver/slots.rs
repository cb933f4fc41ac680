//! Places for connections, in all and for one peer.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// The part of all places that one peer can have. Large, because many senders can share an address: all of them behind
/// a proxy, a NAT or Cloud Run's front end, which has no more than a thousand requests in flight to an instance.
const PEER_PART: usize = 2;

/// The network that one IPv6 peer has at least, in bits: it chooses addresses within it at will (RFC 6177).
const IPV6_PEER_BITS: u32 = 64;

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
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    peer: IpAddr,
    /// How many were taken then, this one included.
    pub(super) number: usize,
}

impl Slots {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Slots { max, taken: Mutex::default() })
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
        Some(Slot { slots: Arc::clone(self), peer, number: taken.all })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        taken.all -= 1;
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
