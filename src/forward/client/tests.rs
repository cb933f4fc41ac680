use super::*;

fn sink(server: Server) -> OtlpSink {
    OtlpSink::open(ChannelSettings::plain("http://127.0.0.1:1", CALL_DEADLINE), server, false).unwrap()
}

#[tokio::test]
async fn calls_have_no_quota_and_codes_mean_what_otlp_says() {
    for server in [Server::Telemetry, Server::Other] {
        assert_eq!(sink(server).calls_per_minute(), None);
        assert_eq!(sink(server).action(Code::OutOfRange), Action::Retry);
        assert_eq!(sink(server).action(Code::AlreadyExists), Action::Search);
    }
}
