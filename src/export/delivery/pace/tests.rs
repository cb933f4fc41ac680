use super::*;

/// Returns the pace of a project of Cloud Trace.
fn pace() -> Pace {
    Pace::new(call_interval(Some(4_800)), Instant::now())
}

/// Records `rounds` rounds of full batches that take `millis` each, with all calls in use.
fn rounds(pace: &mut Pace, rounds: usize, millis: u64) {
    for _ in 0..rounds {
        for _ in 0..pace.limit() {
            pace.started(Instant::now(), pace.limit());
            pace.stored(true, Duration::from_millis(millis));
        }
    }
}

/// Starts a call and returns the milliseconds until the next call may start.
fn interval_ms(pace: &mut Pace) -> u128 {
    let now = Instant::now();
    pace.started(now, 1);
    (pace.next_call() - now).as_millis()
}

#[test]
fn a_minute_never_holds_as_many_calls_as_the_quota() {
    for quota in [1, 10, 4_800] {
        let calls_a_minute = Duration::from_secs(60).as_nanos() / call_interval(Some(quota)).as_nanos();
        assert!(calls_a_minute <= u128::from(quota), "{quota}: {calls_a_minute}");
    }
}

#[test]
fn the_limit_follows_the_time_of_answers() {
    /// A name, events of a new pace, and the expected limit after them.
    type Case = (&'static str, fn(&mut Pace), usize);
    let cases: [Case; 10] = [
        ("nothing", |_| {}, 4),
        ("steady", |pace| rounds(pace, 3, 100), 7),
        ("steady for long", |pace| rounds(pace, 100, 100), PROJECT_CALLS_MAX),
        ("a little slower", |pace| [100, 150, 200].iter().for_each(|&millis| rounds(pace, 1, millis)), 7),
        ("slow", |pace| [100, 100, 100, 250].iter().for_each(|&millis| rounds(pace, 1, millis)), 3),
        ("slow for long", |pace| [100, 300, 300, 300, 300].iter().for_each(|&millis| rounds(pace, 1, millis)), 1),
        ("slow for good", |pace| [(1, 100), (300, 300)].iter().for_each(|&(n, millis)| rounds(pace, n, millis)), 16),
        ("failures", |pace| (0..9).for_each(|_| pace.slower()), 1),
        (
            "calls to spare",
            |pace| {
                for _ in 0..100 {
                    pace.started(Instant::now(), 1);
                    pace.stored(true, Duration::from_millis(100));
                }
            },
            4,
        ),
        (
            "small batches",
            |pace| {
                for millis in [5, 1000] {
                    for _ in 0..50 {
                        pace.started(Instant::now(), 4);
                        pace.stored(false, Duration::from_millis(millis));
                    }
                }
            },
            4,
        ),
    ];
    for (case, happens, limit) in cases {
        let mut pace = pace();
        happens(&mut pace);
        assert_eq!(pace.limit(), limit, "{case}");
    }
}

#[test]
fn a_sink_of_limited_concurrency_is_used_and_not_flooded() {
    // Up to six concurrent calls take 100 ms. More calls slow each other down.
    let mut pace = pace();
    let mut limits = Vec::new();
    for _ in 0..200 {
        let millis = 100 * pace.limit().max(6) as u64 / 6;
        rounds(&mut pace, 1, millis);
        limits.push(pace.limit());
    }
    let settled = &limits[50..];
    assert!(settled.iter().all(|limit| (6..=14).contains(limit)), "{settled:?}");
}

#[test]
fn a_used_up_quota_halves_the_rate_and_success_restores_it() {
    let mut pace = pace();
    assert_eq!(interval_ms(&mut pace), 13);
    pace.quota_used_up();
    assert_eq!(interval_ms(&mut pace), 26);
    (0..20).for_each(|_| pace.quota_used_up());
    assert_eq!((interval_ms(&mut pace), pace.limit()), (1000, 1));
    // The rate grows by one call a second each second: it reaches 75 after 74 s.
    let mut elapsed = Duration::ZERO;
    while interval_ms(&mut pace) > 13 {
        elapsed += Duration::from_secs_f64(pace.rate.recip());
        pace.stored(false, Duration::from_millis(10));
    }
    assert!((70..80).contains(&elapsed.as_secs()), "{elapsed:?}");
}

#[test]
fn without_a_quota_calls_are_paced_only_after_the_sink_complained() {
    let mut pace = Pace::new(call_interval(None), Instant::now());
    assert_eq!(interval_ms(&mut pace), 0);
    pace.quota_used_up();
    assert_eq!(interval_ms(&mut pace), 2);
    (0..20).for_each(|_| pace.quota_used_up());
    assert_eq!(interval_ms(&mut pace), 1000);
    // The rate grows by one call a second each second, until calls are not paced any more.
    let mut answers = 0;
    while interval_ms(&mut pace) > 0 {
        answers += 1;
        pace.stored(false, Duration::from_millis(1));
    }
    assert!((400_000..600_000).contains(&answers), "{answers}");
}
