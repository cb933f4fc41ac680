use super::*;
use crate::budget::Budget;
use crate::receiver::admission::auth::Auth;
use crate::receiver::admission::refusal::BODY_GRACE;
use crate::receiver::fake::FakeIntake;
use crate::receiver::settings;

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_times_out() {
    let intake = Arc::new(FakeIntake(Budget::new(1000)));
    let metrics = Arc::new(Metrics::new());
    let exports = Exports::new(Arc::clone(&intake), Arc::clone(&metrics), Arc::new(IntakeGate::new()), 1000);
    let in_flight = exports.begin(&Arc::new(Connection::new()));
    let start = tokio::time::Instant::now();
    let stalled = async {
        let _held = admit(&*intake, 500)?;
        std::future::pending().await
    };
    let refusal = exports.export(Protocol::HttpJson, &HeaderMap::new(), &in_flight, stalled).await.unwrap_err();
    assert_eq!((refusal.outcome().as_str(), start.elapsed()), ("timeout", BODY_GRACE));
    assert_eq!(intake.0.used_bytes(), 0, "the share of the body is given back");
    let text = metrics.render(crate::telemetry::metrics::HeldAmounts::default());
    assert!(text.contains("spansieve_requests_total{protocol=\"http_json\",outcome=\"timeout\"} 1"), "{text}");
}

#[tokio::test]
async fn an_unknown_sender_takes_no_place_in_the_queue() {
    let mut tokens = crate::trust::token::Tokens::default();
    tokens.add(b"a-token-0123456789").unwrap();
    let bearer = settings::Bearer { tokens, tokens_file: None };
    let auth = Auth::load(&settings::AuthSettings { bearer: Some(bearer), google: None }).await.unwrap();
    let intake = Arc::new(FakeIntake(Budget::new(1000)));
    let mut exports = Exports::new(intake, Arc::new(Metrics::new()), Arc::new(IntakeGate::new()), 1000);
    exports.guard = Some(auth.guard());
    exports.queue().fill_up();
    let outcome = async |headers: &[(&'static str, &'static str)]| {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let in_flight = exports.begin(&Arc::new(Connection::new()));
        let read = async { panic!("the body was read") };
        exports.export(Protocol::Grpc, &headers, &in_flight, read).await.unwrap_err().outcome().as_str()
    };
    assert_eq!(outcome(&[]).await, "denied");
    assert_eq!(outcome(&[("authorization", "Bearer a-token-0123456789")]).await, "overloaded");
}

#[test]
fn the_window_of_zstd_needs_room_in_the_budget_while_it_is_used() {
    // A frame with a window of 8 MiB and one empty block (RFC 8878, 3.1.1).
    let frame = b"\x28\xb5\x2f\xfd\x00\x68\x01\0\0";
    for (limit_bytes, fits) in [(4 << 20, false), (64 << 20, true)] {
        let intake = FakeIntake(Budget::new(limit_bytes));
        let held = HeldBody { bytes: frame.as_slice().into(), share: admit(&intake, frame.len()).unwrap() };
        let payload = Payload { held, coding: Some(Coding::Zstd), encoding: Encoding::Protobuf };
        let decoded = decode(payload, 1000, &intake);
        assert_eq!(decoded.is_ok(), fits, "{decoded:?}");
        assert!(fits || matches!(decoded, Err(Refusal::NoRoom)));
        drop(decoded);
        assert_eq!(intake.0.used_bytes() - intake.0.slack_bytes(), 0, "the window is given back");
    }
}
