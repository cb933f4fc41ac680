//! Places for requests of a kind that holds memory for long: scrapes, documents and streams of the API, watches of
//! health, calls of reflection.
//!
//! The rule is the one for bodies and heads, on two levels: a peer may hold as many places as are left for all, and a
//! connection as many as are left for its peer. Behind a proxy, and on Cloud Run, all clients have the address of one
//! peer. They can take half of all places then, and one of their connections a third.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::receiver::transport::connection::Connection;

/// Places of one kind.
#[derive(Debug)]
pub(in crate::receiver) struct Places {
    max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_peer: HashMap<IpAddr, usize>,
    by_connection: HashMap<usize, usize>,
}

/// A place. Dropping it gives it back.
#[derive(Debug)]
pub(in crate::receiver) struct Place {
    places: Arc<Places>,
    connection: Arc<Connection>,
}

impl Places {
    pub(in crate::receiver) fn new(max: usize) -> Arc<Self> {
        Arc::new(Places { max, taken: Mutex::default() })
    }

    /// Takes a place for a request of `connection`. `None` if the connection or its peer has its part already.
    pub(in crate::receiver) fn take(self: &Arc<Self>, connection: &Arc<Connection>) -> Option<Place> {
        let mut taken = self.taken.lock();
        let left = self.max - taken.all;
        let of_peer = taken.by_peer.get(&connection.peer).copied().unwrap_or_default();
        let of_connection = taken.by_connection.get(&key(connection)).copied().unwrap_or_default();
        let left_for_peer = left.saturating_sub(of_peer);
        if of_connection >= left_for_peer {
            return None;
        }
        taken.all += 1;
        *taken.by_peer.entry(connection.peer).or_default() += 1;
        *taken.by_connection.entry(key(connection)).or_default() += 1;
        Some(Place { places: Arc::clone(self), connection: Arc::clone(connection) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all -= 1;
        decrement(&mut taken.by_peer, self.connection.peer);
        decrement(&mut taken.by_connection, key(&self.connection));
    }
}

/// Returns a number that is unique to `connection` as long as it has a place, because the place keeps it alive.
fn key(connection: &Arc<Connection>) -> usize {
    Arc::as_ptr(connection).addr()
}

/// Takes one from the number of `key`, and removes the number if it is 0.
pub(in crate::receiver) fn decrement<K: Eq + Hash>(numbers: &mut HashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut number) = numbers.entry(key) {
        *number.get_mut() -= 1;
        if *number.get() == 0 {
            number.remove();
        }
    }
}

#[cfg(test)]
mod tests;
