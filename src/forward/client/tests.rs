use tonic::{Code, Status};

use super::*;

fn sink(google: Option<Api>) -> OtlpSink {
    OtlpSink::open(ChannelSettings::plain("http://127.0.0.1:1", CALL_DEADLINE), google, false).unwrap()
}

#[tokio::test]
async fn advice_fits_the_sink() {
    let codes = [
        Code::PermissionDenied,
        Code::NotFound,
        Code::FailedPrecondition,
        Code::Unimplemented,
        Code::Unauthenticated,
        Code::ResourceExhausted,
    ];
    for code in codes {
        let failure = Failure::sink(Status::new(code, "as scripted"));
        let any = sink(None).advice(&failure, "otlp").unwrap();
        let googles = ["roles/", "gcloud", "googleapis", "project", "Cloud Trace", "application default"];
        assert!(googles.iter().all(|word| !any.contains(word)), "{code:?}: {any}");
        let telemetry = sink(Some(Api::Telemetry)).advice(&failure, "shop").unwrap();
        assert!(!telemetry.contains("cloudtrace.googleapis.com"), "{code:?}: {telemetry}");
    }
    let telemetry = |code| sink(Some(Api::Telemetry)).advice(&Failure::sink(Status::new(code, "")), "shop").unwrap();
    assert!(telemetry(Code::FailedPrecondition).contains("enable telemetry.googleapis.com --project shop"));
    assert!(telemetry(Code::PermissionDenied).starts_with("grant roles/cloudtrace.agent on project shop to "));
    assert!(telemetry(Code::ResourceExhausted).contains("Telemetry API quota"));
}

#[tokio::test]
async fn otlp_sinks_have_no_quota_of_calls() {
    assert_eq!(sink(None).calls_per_minute(), None);
    assert_eq!(sink(Some(Api::Telemetry)).calls_per_minute(), None);
}
