use super::*;

fn connection(peer: u8) -> Arc<Connection> {
    Arc::new(Connection::of([192, 0, 2, peer].into()))
}

/// Takes as many places as `connection` gets.
fn fill(places: &Arc<Places>, connection: &Arc<Connection>) -> Vec<Place> {
    std::iter::from_fn(|| places.take(connection)).collect()
}

#[test]
fn a_connection_and_a_peer_leave_places_for_others() {
    for (max, parts) in [(8, [3, 1, 0, 2, 0, 1]), (64, [22, 7, 2, 11, 4, 6]), (1024, [342, 114, 38, 177, 59, 98])] {
        let places = Places::new(max);
        let connections = [1, 1, 1, 2, 2, 3].map(connection);
        let mut held: Vec<_> = connections.iter().map(|connection| fill(&places, connection)).collect();
        let found: Vec<_> = held.iter().map(Vec::len).collect();
        assert_eq!(found, parts, "of {max}");
        assert!(held.iter().flatten().count() <= max);
        held.clear();
        let taken = places.taken.lock();
        assert!(taken.all == 0 && taken.by_peer.is_empty() && taken.by_connection.is_empty());
    }
}
