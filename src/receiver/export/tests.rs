use super::super::fake::FakeIntake;
use super::super::refusal::BODY_GRACE;
use super::*;
use crate::tail::budget::Budget;

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_given_up() {
    let intake = Arc::new(FakeIntake(Budget::new(1000)));
    let metrics = Arc::new(Metrics::new());
    let exports = Exports::new(Arc::clone(&intake), Arc::clone(&metrics), Arc::new(Gate::new()), 1000);
    let visit = exports.visit(&Arc::new(Connection::new()));
    let start = tokio::time::Instant::now();
    let stalled = async {
        let _held = admit(&*intake, 500)?;
        std::future::pending().await
    };
    let refusal = exports.export(Protocol::HttpJson, &HeaderMap::new(), &visit, stalled).await.unwrap_err();
    assert_eq!((refusal.outcome(), start.elapsed()), ("timeout", BODY_GRACE));
    assert_eq!(intake.0.used_bytes(), 0, "its share is given back");
    let text = metrics.render(crate::telemetry::metrics::Held::default());
    assert!(text.contains("spansieve_requests_total{protocol=\"http_json\",outcome=\"timeout\"} 1"), "{text}");
}
