use super::*;
use crate::receiver::fake::FakeIntake;

const LIMIT: usize = 1 << 20;
const REQUEST_BYTES_MAX: usize = 1 << 10;

/// Bytes that bodies may hold before they are in the table.
const READING: usize = ladder::READING.of(LIMIT);

struct Fixture {
    intake: Arc<FakeIntake>,
    admission: Arc<Admission>,
}

impl Fixture {
    fn new(limit_bytes: usize) -> Self {
        let intake = Arc::new(FakeIntake(Budget::new(limit_bytes)));
        let admission = Arc::new(Admission::new(intake.budget(), REQUEST_BYTES_MAX));
        Fixture { intake, admission }
    }

    fn in_flight(&self, connection: &Arc<Connection>) -> InFlightRequest<FakeIntake> {
        InFlightRequest::new(Arc::clone(&self.intake), Arc::clone(&self.admission), Arc::clone(connection))
    }

    /// Begins requests of `bytes` each until one is refused. Returns the admitted ones.
    fn begin_all(&self, connection: &Arc<Connection>, bytes: usize) -> Vec<(InFlightRequest<FakeIntake>, Share)> {
        let requests = std::iter::repeat_with(|| self.in_flight(connection));
        requests.map_while(|in_flight| in_flight.admit(bytes).map(|share| (in_flight, share))).collect()
    }
}

fn connection() -> Arc<Connection> {
    Arc::new(Connection::new())
}

#[test]
fn requests_that_never_arrive_leave_memory_to_others() {
    let fixture = Fixture::new(LIMIT);
    let (greedy, small) = (connection(), connection());
    let held = fixture.begin_all(&greedy, 1000);
    assert!(held.len() * 1000 <= READING / 2, "{}", held.len());
    assert!(held.len() * 1000 > READING / 2 - 2000, "{}", held.len());
    let more = fixture.begin_all(&connection(), 1000);
    assert!((more.len() * 2).abs_diff(held.len()) <= 4, "the next connection gets half of the rest: {}", more.len());
    for _ in 0..1000 {
        assert!(fixture.in_flight(&small).admit(100).is_some());
    }
    drop((held, more));
    assert_eq!(fixture.begin_all(&small, 1000).len() * 1000 / 10_000, READING / 2 / 10_000, "all memory is given back");
}

#[test]
fn a_single_request_may_take_all_forms_of_the_largest() {
    let fixture = Fixture::new(4 * REQUEST_BYTES_MAX);
    let in_flight = fixture.in_flight(&connection());
    let shares: Vec<_> = (0..FORMS).map(|_| in_flight.admit(REQUEST_BYTES_MAX)).collect();
    assert!(shares.iter().all(Option::is_some));
    assert!(in_flight.admit(REQUEST_BYTES_MAX).is_none());
}

#[test]
fn the_reserve_goes_to_connections_that_hold_least() {
    let fixture = Fixture::new(LIMIT);
    let reserve = LIMIT / 32;
    let (greedy, small) = (connection(), connection());
    // Each request is in the table at once and stays there.
    let take = |connection: &Arc<Connection>, bytes: usize| fixture.in_flight(connection).admit(bytes);
    let held: Vec<Share> = std::iter::from_fn(|| take(&greedy, 1000)).collect();
    let of_reserve = (held.len() * 1000).saturating_sub(LIMIT);
    assert!((reserve / 4 - 2000..=reserve / 4).contains(&of_reserve), "{of_reserve} of {reserve}");
    assert!(take(&small, reserve / 16).is_some());
    drop(held);
    assert!(take(&greedy, LIMIT / 5).is_some(), "the reserve is not needed while there is memory");
}

/// Connections that announce a body hold a small part of the memory for bodies, and small senders find room.
#[test]
fn announced_bodies_leave_memory_to_small_senders() {
    let fixture = Fixture::new(112 << 20);
    let announce = || {
        let in_flight = fixture.in_flight(&connection());
        let share = in_flight.admit(in_flight.announced_bytes_max().min(1 << 20)).unwrap();
        (in_flight, share)
    };
    let held: Vec<_> = std::iter::repeat_with(announce).take(80).collect();
    let small = fixture.in_flight(&connection());
    assert!(small.announced_bytes_max() > 50_000, "{}", small.announced_bytes_max());
    assert!(small.room(2_000).is_some());
    drop(held);
}

#[test]
fn small_requests_use_the_reserve_when_bodies_hold_all_that_they_may() {
    let fixture = Fixture::new(LIMIT);
    let large = fixture.in_flight(&connection());
    let held = large.admit(READING).unwrap();
    let own = connection();
    let small = fixture.in_flight(&own);
    let first = small.room(1_000).unwrap();
    assert!(fixture.in_flight(&own).room(1_000).is_none(), "one at a time");
    assert!(fixture.in_flight(&connection()).room(5_000).is_none(), "small requests only");
    drop((first, held));
}

/// Kept spans that cannot be written hold all the memory that they may, and do not give it back.
#[test]
fn kept_spans_leave_the_reserve_to_small_senders() {
    let fixture = Fixture::new(LIMIT);
    let budget = fixture.intake.budget();
    let kept = budget.force(LIMIT + LIMIT / 16);
    let greedy = [connection(), connection()];
    let mut held: Vec<(Bytes, Share)> = Vec::new();
    for _ in 0..1000 {
        held.extend(greedy.iter().filter_map(|connection| fixture.in_flight(connection).room(1000)).map(Room::freeze));
    }
    let small = connection();
    let taken: Vec<Room> = (0..20).map_while(|_| fixture.in_flight(&small).room(200)).collect();
    assert_eq!(taken.len(), 20, "the two greedy connections hold {} bytes of the reserve", held.len() * 1000);
    assert!(budget.used_bytes() <= kept.bytes() + LIMIT / 32);
    drop((taken, held));
    assert_eq!(budget.used_bytes(), kept.bytes());
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_body_grows_with_its_arrived_bytes() {
    /// Pieces of the body: bytes, and the seconds that they take.
    type Pieces = &'static [(usize, u64)];
    let rate = BODY_BYTES_PER_SECOND_MIN as usize;
    assert_eq!(rate, 65_536);
    let cases: [(Pieces, Result<u64, u64>); 6] = [
        (&[(100, 9)], Ok(9)),
        (&[(100, 11)], Err(10)),
        (&[(1, 4), (1, 4), (1, 4), (1, 4)], Err(10)),
        (&[(65_536 * 5, 9), (65_536, 5), (1, 1)], Ok(15)),
        (&[(65_536 * 5, 9), (65_536, 5), (1, 3)], Err(16)),
        (&[(65_536 * 100, 9), (1, 22)], Err(30)),
    ];
    for (pieces, expected) in cases {
        let fixture = Fixture::new(LIMIT);
        let in_flight = fixture.in_flight(&connection());
        let start = Instant::now();
        let read = async {
            for &(bytes, seconds) in pieces {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                in_flight.arrived_bytes.fetch_add(bytes as u64, Relaxed);
            }
            Ok(())
        };
        let came = in_flight.read(read).await;
        let seconds = start.elapsed().as_secs();
        assert_eq!(
            came.map(|()| seconds).map_err(|refusal| (refusal.outcome().as_str(), seconds)),
            expected.map_err(|s| ("timeout", s)),
            "{pieces:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn slow_bodies_are_refused_when_memory_for_bodies_is_short() {
    let fixture = Fixture::new(LIMIT);
    let others: Vec<_> = (0..3).map(|_| (fixture.in_flight(&connection()), READING / 5)).collect();
    let held: Vec<_> = others.iter().map(|(in_flight, bytes)| in_flight.admit(*bytes).unwrap()).collect();
    for (arrived_bytes, seconds) in [(0, 2), (BODY_BYTES_PER_SECOND_MIN * 3, 5)] {
        let in_flight = fixture.in_flight(&connection());
        in_flight.arrived_bytes.store(arrived_bytes, Relaxed);
        let start = Instant::now();
        let refusal = in_flight.read::<()>(std::future::pending()).await.unwrap_err();
        assert_eq!((refusal.outcome().as_str(), start.elapsed().as_secs()), ("busy", seconds));
        assert!(refusal.retry_after().is_some());
    }
    drop(held);
}

#[tokio::test]
async fn a_metered_body_counts_its_bytes() {
    use http_body_util::BodyExt;
    let fixture = Fixture::new(LIMIT);
    let in_flight = fixture.in_flight(&connection());
    let body = crate::receiver::fake::pieces(vec![Bytes::from_static(b"abc"), Bytes::new(), Bytes::from_static(b"de")]);
    assert_eq!(in_flight.meter(body).collect().await.unwrap().to_bytes(), "abcde");
    assert_eq!(in_flight.arrived_bytes.load(Relaxed), 5);
}

#[test]
fn a_request_has_a_place_in_the_queue_from_its_join_to_its_end() {
    let fixture = Fixture::new(LIMIT);
    let connection = connection();
    let let_in = fixture.in_flight(&connection);
    assert_eq!(connection.in_flight.load(Relaxed), 0, "the request has not joined yet");
    for _ in 0..2 {
        let_in.join().unwrap();
        assert_eq!(connection.in_flight.load(Relaxed), 1);
    }
    fixture.admission.queue.fill_up();
    let refused = fixture.in_flight(&connection);
    assert_eq!(refused.join().unwrap_err().outcome().as_str(), "overloaded");
    drop((let_in, refused));
    assert_eq!(connection.in_flight.load(Relaxed), 0, "only admitted requests leave the queue");
}
