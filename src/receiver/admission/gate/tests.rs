use super::*;

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_requests_in_flight() {
    let gate = IntakeGate::new();
    let in_flight = gate.enter().unwrap();
    let request = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(gate.enter().is_none(), "a request came in after the stop");
        let passed = gate.pass(|| true);
        drop(in_flight);
        passed
    };
    let ((), passed) = tokio::join!(gate.close(Duration::from_secs(5)), request);
    assert_eq!(passed, Some(true));
    assert!(gate.enter().is_none());
    assert_eq!(gate.pass(|| true), None);
}

#[tokio::test(start_paused = true)]
async fn a_stop_cuts_off_requests_that_take_too_long() {
    let gate = IntakeGate::new();
    let _in_flight = gate.enter().unwrap();
    let start = tokio::time::Instant::now();
    gate.close(Duration::from_secs(5)).await;
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(gate.pass(|| true), None);
}
