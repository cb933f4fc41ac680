use super::*;
use crate::daemon::pipeline::tests::pipeline;
use crate::telemetry::Health;

#[tokio::test(start_paused = true)]
async fn the_sweeper_gives_signs_of_life_as_long_as_it_works() {
    let (health, pulse) = (Health::default(), Pulse::new(Instant::now()));
    health.watch("sweeper", pulse.clone());
    let sweeper = tokio::spawn(run(Arc::new(pipeline()), pulse.clone()));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(pulse.silence(Instant::now()) <= SWEEP_INTERVAL);
    assert_eq!(health.wedged(Instant::now()), None);
    sweeper.abort();
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(health.wedged(Instant::now()).map(|(worker, _)| worker), Some("sweeper"));
}
