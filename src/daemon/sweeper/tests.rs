use super::*;
use crate::daemon::pipeline::tests::{compressing_pipeline, large_span, pipeline, small_spans};
use crate::telemetry::Health;

#[tokio::test(start_paused = true)]
async fn the_sweeper_gives_signs_of_life_as_long_as_it_works() {
    let (health, pulse) = (Health::default(), Pulse::new(Instant::now()));
    health.watch("sweeper", pulse.clone());
    let sweeper = tokio::spawn(run(Arc::new(pipeline()), pulse.clone()));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(pulse.silence(Instant::now()) <= IDLE_INTERVAL + SWEEP_INTERVAL);
    assert_eq!(health.wedged(Instant::now()), None);
    sweeper.abort();
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(health.wedged(Instant::now()).map(|(worker, _)| worker), Some("sweeper"));
}

/// Returns the longest silence of `pulse` in the next `seconds`.
async fn longest_silence(pulse: &Pulse, seconds: u64) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..seconds * 1_000 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        longest = longest.max(pulse.silence(Instant::now()));
    }
    longest
}

#[tokio::test(start_paused = true)]
async fn the_sweeper_pauses_while_no_trace_is_due_and_a_request_wakes_it() {
    let (pipeline, pulse) = (Arc::new(pipeline()), Pulse::new(Instant::now()));
    let sweeper = tokio::spawn(run(Arc::clone(&pipeline), pulse.clone()));
    tokio::time::sleep(QUIET_ROUNDS as u32 * 2 * SWEEP_INTERVAL).await;
    assert!(longest_silence(&pulse, 10).await >= IDLE_INTERVAL, "nothing is held");
    pipeline.send(small_spans(1)).unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(longest_silence(&pulse, 4).await <= 2 * SWEEP_INTERVAL, "a request has come");
    assert!(longest_silence(&pulse, 10).await >= IDLE_INTERVAL, "the trace is not due yet");
    sweeper.abort();
}

/// The bodies become old enough while the sweeper pauses, and there are more of them than it compresses in one round.
#[tokio::test(start_paused = true)]
async fn the_sweeper_does_not_pause_while_bodies_are_to_be_compressed() {
    let (pipeline, pulse) = (Arc::new(compressing_pipeline(128 << 20)), Pulse::new(Instant::now()));
    (0..30 * ROUND_COMPRESSIONS_MAX).for_each(|trace| _ = pipeline.send(large_span(trace as u128 + 1)).unwrap());
    let sweeper = tokio::spawn(run(Arc::clone(&pipeline), pulse.clone()));
    tokio::time::sleep(QUIET_ROUNDS as u32 * 2 * SWEEP_INTERVAL).await;
    #[expect(clippy::disallowed_methods, reason = "the age of a body is that of the real clock")]
    std::thread::sleep(Duration::from_millis(1_100));
    tokio::time::sleep(IDLE_INTERVAL + SWEEP_INTERVAL).await;
    assert!(longest_silence(&pulse, 1).await <= 2 * SWEEP_INTERVAL, "more are to be compressed");
    tokio::time::sleep(30 * SWEEP_INTERVAL).await;
    assert!(longest_silence(&pulse, 2).await >= IDLE_INTERVAL, "all are compressed");
    sweeper.abort();
}
