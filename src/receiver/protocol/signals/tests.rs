use super::*;

#[test]
fn signals_are_known_by_their_paths() {
    for (path, signal) in [
        ("/v1/metrics", Some(Signal::Metrics)),
        ("/v1development/profiles", Some(Signal::Profiles)),
        ("/v1/traces", None),
    ] {
        assert_eq!(Signal::at(path), signal, "{path}");
    }
    for (path, signal) in [
        ("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", Some(Signal::Metrics)),
        ("/opentelemetry.proto.collector.logs.v1.LogsService/Export", Some(Signal::Logs)),
        ("/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export", Some(Signal::Profiles)),
        ("/opentelemetry.proto.collector.trace.v1.TraceService/Other", None),
        ("/opentelemetry.proto.collector.logsearch.v1.X/Y", None),
    ] {
        assert_eq!(Signal::of_method(path), signal, "{path}");
    }
}

/// The throttle of profiles is static. No other test may use it.
#[test]
fn each_request_is_counted_and_few_are_logged() {
    let metrics = Metrics::new();
    (0..1000).for_each(|_| Signal::Profiles.notice(&HeaderMap::new(), &metrics));
    let text = metrics.render(crate::telemetry::metrics::HeldAmounts::default());
    assert!(text.contains("spansieve_other_signal_requests_total{signal=\"profiles\"} 1000"), "{text}");
    assert_eq!(LINES[Signal::Profiles as usize].pass(Instant::now()), None, "a line was written a moment ago");
}
