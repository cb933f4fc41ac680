use super::*;

#[test]
fn the_waits_of_a_member_follow_the_configuration() {
    let settings = |wait_s, window_s| {
        let mut settings = TailSampling { decision_wait: Duration::from_secs(wait_s), ..TailSampling::default() };
        settings.rescue.window = Duration::from_secs(window_s);
        settings
    };
    let expected = MemberWaits { rescue_ms: Some(60_000), retain_ms: 80_000, trace_wait_ms_max: 13_000 };
    let grace = Duration::from_millis(500);
    assert_eq!(waits(&settings(10, 60), grace), expected);
    let expected = MemberWaits { rescue_ms: None, retain_ms: 11_000, trace_wait_ms_max: 4_000 };
    assert_eq!(waits(&settings(1, 0), grace), expected);
    // Its holders wait for 12.5 s for a verdict.
    let expected = MemberWaits { rescue_ms: Some(60_000), retain_ms: 89_500, trace_wait_ms_max: 13_000 };
    assert_eq!(waits(&settings(10, 60), Duration::from_secs(10)), expected);
}

#[test]
fn a_holder_waits_for_a_verdict_longer_than_its_owner_waits_for_summaries() {
    let wait_ms = |grace_ms| times(Duration::from_millis(grace_ms)).verdict_wait_ms;
    assert_eq!([0, 500, 10_000].map(wait_ms), [3_000, 3_000, 12_500]);
}

#[test]
fn members_have_different_numbers() {
    let numbers: std::collections::BTreeSet<u64> = (0..1_000).map(|_| random_number()).collect();
    assert_eq!(numbers.len(), 1_000);
}

#[tokio::test]
async fn waits_reach_the_member() {
    let (port, mut commands) = FleetPort::new();
    let other = MemberWaits { rescue_ms: None, retain_ms: 1, trace_wait_ms_max: 2 };
    port.set_waits(other).await;
    assert!(matches!(commands.recv().await, Some(Command::SetWaits(waits)) if waits == other));
}
