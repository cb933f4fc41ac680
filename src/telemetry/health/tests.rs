use super::*;

#[test]
fn ready_from_the_start_of_service_to_the_order_to_stop() {
    let health = Health::default();
    assert!(!health.is_ready(), "starting");
    assert_eq!(health.waits_for(), None);
    health.set_waits_for("a token".to_owned());
    assert!(!health.is_ready() && health.waits_for().as_deref() == Some("a token"));
    health.set_ready();
    assert!(health.is_ready() && !health.is_stopping());
    health.set_stopping();
    assert!(!health.is_ready() && health.is_stopping());
    health.set_ready();
    assert!(!health.is_ready(), "a process that shuts down does not become ready again");
}

#[test]
fn the_worker_that_is_silent_for_longest_is_wedged() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let health = Health::default();
    assert_eq!(health.wedged(at(1_000)), None, "no worker is watched yet");
    let (sweeper, exporter) = (Pulse::new(start), Pulse::new(start));
    health.watch("sweeper", sweeper.clone());
    health.watch("exporter", exporter.clone());
    assert_eq!(health.wedged(at(60)), None);
    sweeper.beat(at(60));
    assert_eq!(health.wedged(at(61)), Some(("exporter", Duration::from_secs(61))));
    exporter.beat(at(100));
    assert_eq!(health.wedged(at(130)), Some(("sweeper", Duration::from_secs(70))));
    sweeper.beat(at(130));
    assert_eq!(health.wedged(at(130)), None, "a worker may recover");
    health.set_stopping();
    assert_eq!(health.wedged(at(1_000)), None);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_disk_makes_the_daemon_not_ready_but_not_wedged() {
    let (health, pulse) = (Health::default(), Pulse::new(Instant::now()));
    health.set_ready();
    health.watch("journal", pulse.clone());
    pulse.at_disk(Instant::now());
    tokio::time::advance(DISK_WAIT_MAX).await;
    assert!(health.is_ready());
    tokio::time::advance(Duration::from_secs(75)).await;
    assert!(!health.is_ready() && health.wedged(Instant::now()).is_none());
    assert_eq!(health.waits_for().unwrap(), "the disk of the journal has not answered for 85 s");
    pulse.beat(Instant::now());
    assert!(health.is_ready());
}
