use std::sync::Arc;

use super::*;

const SHORT: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_millis(60);

/// Runs an interval in which `served` requests waited for `wait` and workers were busy for the part `busy`. Returns the
/// limit after it.
fn interval(queue: &RequestQueue, served: usize, wait: Duration, busy: f64) -> usize {
    (0..served).for_each(|_| queue.served(wait));
    queue.adjust(INTERVAL, busy);
    queue.limit.load(Relaxed)
}

/// Returns a connection with a request in flight.
fn someone() -> Connection {
    let connection = Connection::new();
    connection.in_flight.store(1, Relaxed);
    connection
}

/// Admits requests of new connections until one is refused. Returns the number of admitted requests.
fn fill(queue: &RequestQueue) -> usize {
    (0..).take_while(|_| queue.join(&Connection::new())).count()
}

#[test]
fn only_a_busy_daemon_whose_shortest_wait_is_long_has_a_queue() {
    for (served, wait, busy, limited) in [
        (200, SHORT, 1.0, false),
        (200, LONG, 0.5, false),
        (0, LONG, 1.0, false),
        (200, WAIT_MAX, 1.0, false),
        (200, LONG, 1.0, true),
    ] {
        let queue = RequestQueue::new();
        assert_eq!(interval(&queue, served, wait, busy) < LIMIT_MAX, limited, "{served} {wait:?} {busy}");
    }
    let queue = RequestQueue::new();
    queue.served(SHORT);
    assert_eq!(interval(&queue, 200, LONG, 1.0), LIMIT_MAX, "a request with a short wait shows that there is no queue");
}

#[test]
fn the_limit_is_the_number_served_in_time() {
    let per_interval = |wait: usize| wait * WAIT_MAX.as_millis() as usize / INTERVAL.as_millis() as usize;
    for (served, limit) in [(200, per_interval(200)), (5000, per_interval(5000)), (3, LIMIT_MIN)] {
        let queue = RequestQueue::new();
        interval(&queue, served, LONG, 1.0);
        assert_eq!(fill(&queue), limit, "{served}");
        queue.leave(&someone());
        assert_eq!(fill(&queue), 1, "a new request gets the place of the one that left");
    }
}

#[test]
fn the_limit_goes_away_within_seconds() {
    let queue = RequestQueue::new();
    interval(&queue, 0, SHORT, 0.0);
    assert_eq!(interval(&queue, 1, LONG, 1.0), LIMIT_MIN);
    let intervals = (1..).find(|_| interval(&queue, 200, SHORT, 1.0) > 4096).unwrap();
    assert!((10..50).contains(&intervals), "{intervals}");
    for _ in 0..10 {
        interval(&queue, 0, SHORT, 0.0);
    }
    assert_eq!(fill(&queue), LIMIT_MAX, "the limit stays at its maximum");
}

#[test]
fn an_interval_in_which_nothing_was_served_changes_nothing() {
    let queue = RequestQueue::new();
    let limit = interval(&queue, 100, LONG, 1.0);
    assert_eq!(interval(&queue, 0, LONG, 1.0), limit);
}

#[test]
fn greedy_connections_leave_places_to_others() {
    for greedy in 1..=4 {
        let queue = RequestQueue::new();
        let limit = interval(&queue, 1000, LONG, 1.0);
        let connections: Vec<_> = (0..greedy).map(|_| Connection::new()).collect();
        for _ in 0..limit {
            for connection in &connections {
                queue.join(connection);
            }
        }
        let own: Vec<_> = connections.iter().map(|connection| connection.in_flight.load(Relaxed)).collect();
        let share = limit / (greedy + 1);
        assert!(own.iter().all(|own| own.abs_diff(share) <= 1), "{own:?} of {limit}");
        assert!(fill(&queue) + 1 >= share, "others get as much as one greedy connection");
    }
}

#[test]
fn requests_from_before_the_limit_fell_are_shed_after_a_long_wait() {
    let queue = RequestQueue::new();
    (0..1000).for_each(|_| assert!(queue.join(&Connection::new())));
    assert!(!queue.sheds(LONG), "there is no limit yet");
    let limit = interval(&queue, 100, LONG, 1.0);
    assert!(queue.sheds(LONG));
    assert!(!queue.sheds(SHORT));
    (limit..1000).for_each(|_| queue.leave(&someone()));
    assert!(!queue.sheds(LONG), "the rest is served in time");
}

#[tokio::test(start_paused = true)]
async fn the_limit_is_adjusted_until_the_queue_is_dropped() {
    let queue = std::sync::Arc::new(RequestQueue::new());
    queue.limit.store(100, Relaxed);
    let watched = tokio::spawn(keep_short(Arc::downgrade(&queue)));
    tokio::time::sleep(INTERVAL * 5 / 2).await;
    assert_eq!(queue.limit.load(Relaxed), 156, "two intervals of growth");
    drop(queue);
    watched.await.unwrap();
}

#[tokio::test]
async fn the_tasks_of_a_queue_end_when_it_is_dropped() {
    let queue = Arc::new(RequestQueue::new());
    let tasks = [tokio::spawn(keep_probing(Arc::downgrade(&queue))), tokio::spawn(keep_short(Arc::downgrade(&queue)))];
    tokio::time::sleep(Duration::from_millis(1)).await;
    drop(queue);
    for task in tasks {
        tokio::time::timeout(Duration::from_secs(30), task).await.expect("the task ends").unwrap();
    }
}
