use std::time::Duration;

use super::*;
use crate::telemetry::Pulse;
use crate::telemetry::health::RejectedConfig;

#[tokio::test(start_paused = true)]
async fn livez_fails_while_a_worker_is_wedged() {
    let health = Health::default();
    let pulse = Pulse::new(Instant::now());
    health.watch("sweeper", pulse.clone());
    assert_eq!(liveness(&health, Instant::now()), (StatusCode::OK, "ok\n".to_owned()));
    tokio::time::advance(Duration::from_secs(61)).await;
    let red = "the sweeper has given no sign of life for 61 s\n".to_owned();
    assert_eq!(liveness(&health, Instant::now()), (StatusCode::SERVICE_UNAVAILABLE, red));
    pulse.beat(Instant::now());
    assert_eq!(liveness(&health, Instant::now()).0, StatusCode::OK);
}

#[test]
fn readiness_details_are_shown_only_where_metrics_are() {
    let health = Health::default();
    health.set_waits_for("no access token: /home/me/secrets.json".to_owned());
    let (status, shown) = readiness(&health, true);
    assert_eq!((status, shown.as_str()), (UNREADY, "not ready: no access token: /home/me/secrets.json\n"));
    let (status, hidden) = readiness(&health, false);
    assert!(status == UNREADY && hidden.starts_with("not ready: the log says why") && !hidden.contains("secrets"));
    health.set_ready();
    health.set_rejected_config(Some(RejectedConfig {
        reason: "config.yaml: 3:7: `s3cret` is not a size".to_owned(),
        kind: "config.yaml: an error at 3:7".to_owned(),
    }));
    let (status, shown) = readiness(&health, true);
    let expected = "ready\nthe configuration on disk is not in force: config.yaml: an error at 3:7; the log says why\n";
    assert_eq!((status, shown.as_str()), (StatusCode::OK, expected));
    assert_eq!(readiness(&health, false), (StatusCode::OK, "ready\n".to_owned()));
}
