//! Room for requests, and what the table lets go of if memory or the disk is short.

use super::*;

#[test]
fn rescuable_traces_take_no_more_than_their_part_and_the_oldest_go_first() {
    let mut small = settings();
    small.rescue.max_bytes = Size::Bytes(600 * u64::from(SPAN_LEN));
    // All traces are dropped.
    small.policies.truncate(1);
    let mut fixture = Fixture::new(&small, 64 << 20);
    for n in 0..1_000 {
        fixture.send(&[span(numbered(n))]);
        fixture.advance(10);
    }
    (0..WAIT_MS / 10).for_each(|_| fixture.advance(10));
    while fixture.table.relieve(fixture.now_ms, &mut fixture.out) {}
    let held = fixture.table.held().rescuable_traces as u32;
    // A slice lets go of 256 traces.
    assert!((344..=600).contains(&held), "{held}");
    let mut rescued = |n: u32| {
        let held_before = fixture.table.held().rescuable_traces;
        fixture.send(&[error(numbered(n))]);
        fixture.table.held().rescuable_traces < held_before
    };
    // Ten traces came in the time that one slice covers. No shard keeps older ones than another.
    let oldest = 1_000 - held;
    assert!(!(0..oldest - 10).any(&mut rescued), "the oldest are gone");
    assert!((oldest + 10..1_000).all(rescued), "the others are not");
}

#[test]
fn under_pressure_rescuable_traces_go_first_then_the_oldest_are_decided_then_requests_are_refused() {
    let mut fixture = Fixture::new(&settings(), 4 << 20);
    let mut sent = 0;
    let mut send = |fixture: &mut Fixture, make: fn(TraceId) -> SpanFact| {
        sent += 1;
        fixture.send(&(0..10).map(|_| make(numbered(sent))).collect::<Vec<_>>())
    };
    (0..500).for_each(|_| assert!(send(&mut fixture, span)));
    fixture.advance(WAIT_MS);
    assert!(fixture.table.held().rescuable_traces > 0);
    while fixture.out.tally.dropped[Trigger::Pressure as usize] == 0 {
        assert!(send(&mut fixture, span), "traces that the ratio drops make room");
    }
    assert_eq!(fixture.table.held().rescuable_traces, 0, "rescuable traces go before any trace is decided early");
    while send(&mut fixture, slow) {
        assert!(fixture.budget.used_bytes() <= fixture.budget.limit_bytes() + (1 << 16));
    }
    // One request makes room by a limited number of decisions. The next ones decide the rest.
    (0..10).for_each(|_| _ = send(&mut fixture, slow));
    assert_eq!(fixture.table.held(), HeldCounts::default(), "refused only when there is nothing left to decide");
    fixture.export();
    assert!(send(&mut fixture, span), "there is room again after the export");
}

/// Bodies that were admitted together need more memory for their indices than is left, and kept spans have exceeded the
/// limit. The reserve must stay free for small requests.
#[test]
fn indices_leave_the_reserve_to_small_requests() {
    const LIMIT: usize = 8 << 20;
    let mut traces = 0u32..;
    let mut scan = |spans: usize| {
        let mut scan = Scan::default();
        scan.facts.extend(traces.by_ref().take(spans).map(|number| {
            let mut trace = id(1, true);
            trace.0[..4].copy_from_slice(&number.to_be_bytes());
            span(trace)
        }));
        scan.scopes.push(Scope::default());
        scan
    };
    // Traces that are decided to make room are kept, and hold their memory.
    let take = |fixture: &mut Fixture, scan: &Scan, claim: &Arc<Claim>| {
        let share = fixture.budget.share().claimed(claim);
        fixture.table.insert_within(Bytes::new(), scan, share, None, 0, &mut fixture.out)
    };
    let (greedy, small) = (Arc::default(), Arc::default());
    let mut fixture = Fixture::new(&settings(), LIMIT);
    let taken = (0..1_000).take_while(|_| take(&mut fixture, &scan(1_000), &greedy).is_ok()).count();
    assert!(taken > 20, "{taken}");
    let _encoded = fixture.budget.force(LIMIT / 16);
    assert!(
        (0..100).all(|_| take(&mut fixture, &scan(1), &small).is_ok()),
        "100 small requests take less than what one connection may hold of the reserve"
    );
    assert!((0..2_000).any(|_| take(&mut fixture, &scan(1), &small).is_err()), "the reserve has an end");
    let span_bytes = size_of::<HeldSpan>() + TRACE_BYTES;
    let mut empty = Fixture::new(&settings(), LIMIT);
    let too_large = take(&mut empty, &scan(LIMIT / span_bytes), &small);
    assert!(matches!(too_large, Err(NoRoom::Ever { .. })), "the request is larger than the whole budget");
    let large = scan(LIMIT / 100 * 70 / span_bytes);
    assert_eq!(take(&mut empty, &large, &small), Ok(()), "an empty budget takes one request");
}

/// The traces of this sender are kept early, because an error comes second. They must not hold memory for the whole
/// wait.
#[test]
fn traces_that_go_early_leave_nothing_in_the_queues() {
    const ROUND_TRACES: u32 = 5_000;
    let mut long = settings();
    long.decision_wait_after_root_received = Duration::from_millis(WAIT_MS / 2);
    long.rescue.window = Duration::from_millis(100 * WAIT_MS);
    for is_rescued in [false, true] {
        let mut fixture = Fixture::new(&long, 64 << 20);
        for round in 0..20 {
            let ids: Vec<TraceId> = (0..ROUND_TRACES).map(|n| numbered(ROUND_TRACES * round + n)).collect();
            fixture.send(&ids.iter().map(|&id| SpanFact { root: true, ..span(id) }).collect::<Vec<_>>());
            if is_rescued {
                fixture.advance(WAIT_MS);
            }
            fixture.send(&ids.iter().map(|&id| error(id)).collect::<Vec<_>>());
            fixture.export();
            assert_eq!(fixture.table.held(), HeldCounts::default());
        }
        // Each of two queues may hold twice the traces of a round, and 64 entries for each of 64 shards.
        let queued = fixture.table.queued();
        assert!(queued <= 2 * (2 * ROUND_TRACES as usize + 64 * 64), "{queued} entries are left");
    }
}

/// Returns a fixture whose only policy keeps errors, with `count` dropped traces, one every `step_ms`.
fn dropped(count: u32, step_ms: Millis, limit_bytes: usize) -> Fixture {
    let mut errors = settings();
    errors.policies.truncate(1);
    errors.rescue = Rescue { window: Duration::from_secs(24 * 3_600), max_bytes: Size::Percent(100.0) };
    let mut fixture = Fixture::new(&errors, limit_bytes);
    for n in 0..count {
        assert!(fixture.send(&[span(numbered(n))]));
        fixture.advance(step_ms);
    }
    for _ in 0..WAIT_MS / step_ms + 1 {
        fixture.advance(step_ms);
    }
    assert_eq!(fixture.table.held().rescuable_traces, u64::from(count));
    fixture
}

#[test]
fn a_slice_of_relief_does_not_depend_on_how_far_apart_the_traces_are() {
    for step_ms in [1, 20, 500] {
        let mut fixture = dropped(3_000, step_ms, 64 << 20);
        let left = |fixture: &mut Fixture, disk_percent| {
            fixture.budget.set_disk(disk_percent, 100);
            fixture.table.relieve_disk(fixture.now_ms, &mut fixture.out);
            fixture.collect();
            fixture.table.held().rescuable_traces
        };
        assert_eq!(left(&mut fixture, 50), 3_000, "the disk has space");
        let slice = 3_000 - left(&mut fixture, 99);
        let expected = (DISK_SLICE - 64..DISK_SLICE + 64).contains(&slice);
        assert!(expected, "{slice} traces, {step_ms} ms apart");
    }
}

/// The traces that one slice lets go to make room on the disk; the shards round it up.
const DISK_SLICE: u64 = 32 * SHARDS as u64;

#[test]
fn a_request_gets_the_room_of_many_traces_that_are_far_apart() {
    let mut fixture = dropped(2_000, 200, 64 << 20);
    let before = fixture.budget.used_bytes();
    let rest = fixture.budget.limit_bytes() - before;
    let _rest = fixture.budget.reserve(rest);
    let one = before / 2_000;
    let share = fixture.table.admit(200 * one, fixture.now_ms, &mut fixture.out);
    assert!(share.is_some(), "the room of 200 traces is there");
    fixture.collect();
    let left = fixture.table.held().rescuable_traces;
    assert!((1_000..1_850).contains(&left), "{left}");
}
