//! The log lines for each kind of failure, at each sink.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tonic::{Code, Status};

use super::*;
use crate::export::batch::Batch;
use crate::export::delivery::Delivery;
use crate::export::failure::{Cause, Failure};
use crate::export::ledger::Ledger;
use crate::export::retry::Action;
use crate::export::sink::{Sink, Written};
use crate::export::testing::{Lines, export_settings, head, record};
use crate::google::testing::{Metadata, token, value};

const ACCOUNT: &str = "trace@shop.iam.gserviceaccount.com";
const NO_TOKEN: &str = "no access token: no role";

/// A sink whose calls fail. It answers all questions about the failure as the real one.
struct Failing<S>(S, Failure);

impl<S: Sink> Sink for Failing<S> {
    async fn write(&self, _: &Batch) -> Result<Written, Failure> {
        Err(self.1.clone())
    }

    fn action(&self, code: Code) -> Action {
        self.0.action(code)
    }

    fn advice(&self, cause: Cause, project: Option<&str>) -> Option<String> {
        self.0.advice(cause, project)
    }

    fn calls_per_minute(&self) -> Option<u32> {
        self.0.calls_per_minute()
    }

    fn shown_project(project: &str) -> Option<&str> {
        S::shown_project(project)
    }
}

/// Returns the first line that is logged when the calls of `sink` fail with `failure`.
async fn first_line(sink: impl Sink, project: &str, failure: &Failure) -> String {
    let (kept, metrics, budget) = (Arc::default(), Arc::new(Metrics::new()), Budget::new(0));
    let settings =
        export_settings(settings::BatchSettings { max_spans: 2, max_bytes: 1 << 20, max_delay: Duration::ZERO });
    let ledger = Arc::new(Ledger::new(kept, metrics));
    let lines = Lines::capture();
    let mut delivery = Delivery::new(Failing(sink, failure.clone()), &settings, ledger, budget.clone(), None);
    let message = [head(project), record(project, 1, "a"), record(project, 2, "b")].concat();
    delivery.push(Batch::new(Form::CloudTrace, project.into(), message.into(), 2, &budget));
    loop {
        delivery.progress().await;
        if let Some(line) = lines.take().into_iter().next() {
            return line;
        }
    }
}

/// The channel settings of a sink that is never called.
fn channel(credentials: Option<Credentials>) -> ChannelSettings {
    ChannelSettings { credentials, ..ChannelSettings::plain("http://127.0.0.1:1", Duration::from_secs(1)) }
}

/// Returns credentials that have a token and know their account.
async fn signed_in() -> Credentials {
    let credentials = Metadata::start(vec![token("t"), value(ACCOUNT)]).await.credentials();
    credentials.sign_in().await.unwrap();
    credentials
}

fn answered(code: Code, message: &str) -> Failure {
    Failure::sink(Status::new(code, message))
}

/// A kind of failure, and the advice of Cloud Trace, of the Telemetry API and of a plain OTLP server.
type Case = (Failure, [&'static str; 3]);

fn cases() -> Vec<Case> {
    let grant = "grant roles/cloudtrace.agent on project shop to trace@shop.iam.gserviceaccount.com";
    let project_id = "check the id of project shop: it comes from export.project or the spans' resource; if it is right, \
                      grant roles/cloudtrace.agent on it to trace@shop.iam.gserviceaccount.com";
    let credentials = "check the application default credentials of trace@shop.iam.gserviceaccount.com";
    let status = "the spans are sent again by themselves; if it lasts, see https://status.cloud.google.com";
    let late = "the spans are sent again by themselves; if it lasts, lower export.batch.max_spans";
    let late_otlp =
        "look at the load of the sink, or lower export.batch.max_spans; the spans are sent again by themselves";
    let reach = "check that this machine reaches export.endpoint (name, firewall, proxy); the spans are sent again by themselves";
    let proxy = "raise the rate limit of the proxy in front of the sink";
    let again = "the spans are sent again by themselves";
    vec![
        (
            answered(Code::PermissionDenied, "no role"),
            [
                grant,
                grant,
                "let the access rules of the sink allow the writes of this daemon, or correct the credentials or the \
                 tenant in export.headers",
            ],
        ),
        (
            answered(Code::Unauthenticated, "bad token"),
            [credentials, credentials, "set the credentials that the sink asks for in export.headers"],
        ),
        (
            answered(Code::NotFound, "nothing of this name"),
            [project_id, project_id, "check export.endpoint, and the tenant in export.headers (Tempo: x-scope-orgid)"],
        ),
        (
            answered(Code::FailedPrecondition, "API off"),
            [
                "enable the API: gcloud services enable cloudtrace.googleapis.com --project shop",
                "enable the API: gcloud services enable telemetry.googleapis.com --project shop",
                "see the log of the sink: it is not ready for spans",
            ],
        ),
        (
            answered(Code::ResourceExhausted, "quota"),
            [
                "ask for more Cloud Trace quota on project shop, or keep fewer traces",
                "ask for more Telemetry API quota (bytes of spans a minute) on project shop, or keep fewer traces",
                "raise the limits of the sink (Tempo: overrides.defaults.ingestion.rate_limit_bytes), or keep fewer \
                 traces",
            ],
        ),
        (Failure::http(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new()), [proxy; 3]),
        (
            answered(Code::ResourceExhausted, "grpc: received message larger than max (5000 vs. 4096)"),
            [
                "set export.batch.max_bytes below the size limit of cloudtrace.googleapis.com",
                "set export.batch.max_bytes below the size limit of telemetry.googleapis.com",
                "set export.batch.max_bytes below the size limit of the receiver, or raise that limit (Collector, \
                 Jaeger and Tempo: max_recv_msg_size_mib of the OTLP receiver's grpc section, 4 MiB by default)",
            ],
        ),
        (
            answered(Code::Unavailable, "away"),
            [
                status,
                status,
                "see the log of the sink: it does not accept spans at present; they are sent again by themselves",
            ],
        ),
        (
            Failure::connection(Status::unavailable("tcp connect error")),
            [
                reach,
                reach,
                "check that the sink is running and that export.endpoint has the host and port of its OTLP receiver \
                 for gRPC (4317 as a rule); the spans are sent again by themselves",
            ],
        ),
        (answered(Code::DeadlineExceeded, "too slow"), [late, late, late_otlp]),
        (Failure::connection(Status::deadline_exceeded("no answer")), [late, late, late_otlp]),
        (
            answered(Code::Unimplemented, "unknown method"),
            [
                "check export.endpoint: the server there does not know the calls of cloudtrace.googleapis.com",
                "check export.endpoint: the server there does not know the calls of telemetry.googleapis.com",
                "check export.endpoint and export.api: the server there does not know OTLP over gRPC (on port 4317 \
                 as a rule; 4318 is OTLP over HTTP)",
            ],
        ),
        (answered(Code::Internal, "a bug"), [again; 3]),
        // A plain OTLP server at googleapis.com gets a token, too.
        (Failure::credentials(Status::unauthenticated(NO_TOKEN)), [credentials; 3]),
        (Failure::credentials(Status::unavailable(NO_TOKEN)), [again; 3]),
    ]
}

#[tokio::test]
async fn each_sink_gives_its_own_advice() {
    let credentials = signed_in().await;
    // From here on, waits take no time.
    tokio::time::pause();
    for (failure, [cloud_trace, telemetry, otlp]) in cases() {
        let signed = || channel(Some(credentials.clone()));
        let sink = CloudTrace::open(signed(), false).unwrap();
        check(&first_line(sink, "shop", &failure).await, cloud_trace, Some("shop"), &failure);
        let sink = OtlpSink::open(signed(), Server::Telemetry, false).unwrap();
        check(&first_line(sink, "shop", &failure).await, telemetry, Some("shop"), &failure);
        // The only failure of tokens is that of an endpoint with Google credentials.
        let is_token = failure.cause().is_some_and(|cause| matches!(cause, Cause::NoToken(_)));
        let channel = if is_token { signed() } else { channel(None) };
        let sink = OtlpSink::open(channel, Server::Other, false).unwrap();
        let line = first_line(sink, otlp::NO_PROJECT, &failure).await;
        check(&line, otlp, None, &failure);
        let googles = ["roles/", "gcloud", "googleapis", "project", "Cloud Trace", "Google"];
        assert!(googles.iter().all(|word| !line.contains(word)), "{line}");
        assert!(is_token || !line.contains("application default"), "{line}");
    }
}

fn check(line: &str, advice: &str, project: Option<&str>, failure: &Failure) {
    assert!(line.contains(&format!("advice=\"{advice}\"")), "{failure}: {line}");
    assert!(line.contains(&failure.to_string()), "{line}");
    let shown = project.map_or("project=".to_owned(), |project| format!("project=\"{project}\""));
    assert_eq!(line.contains(&shown), project.is_some(), "{line}");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_gets_no_google_credentials_is_not_told_of_roles() {
    for code in [Code::PermissionDenied, Code::Unauthenticated] {
        let failure = answered(code, "who are you?");
        let advice = "calls to an http:// endpoint carry no Google credentials: write https:// in export.endpoint, or \
                      set what the server asks for in export.headers";
        let line = first_line(CloudTrace::open(channel(None), false).unwrap(), "shop", &failure).await;
        check(&line, advice, Some("shop"), &failure);
        let sink = OtlpSink::open(channel(None), Server::Telemetry, false).unwrap();
        check(&first_line(sink, "shop", &failure).await, advice, Some("shop"), &failure);
    }
}

#[tokio::test]
async fn googles_endpoint_is_advised_as_google_with_plain_otlp_as_well() {
    let settings = |section: &str| config::load(&format!("export: {section}\n"), &|_| None).unwrap().settings.export;
    for (section, expected) in [
        ("{api: telemetry}", Server::Telemetry),
        ("{api: telemetry, endpoint: 'http://127.0.0.1:1'}", Server::Telemetry),
        ("{api: otlp, endpoint: 'https://telemetry.googleapis.com'}", Server::Telemetry),
        ("{api: otlp, endpoint: 'https://tempo.example'}", Server::Other),
        ("{api: otlp, endpoint: 'http://tempo:4317'}", Server::Other),
    ] {
        assert_eq!(server(&settings(section)), expected, "{section}");
    }
    let credentials = signed_in().await;
    tokio::time::pause();
    let failure = answered(Code::PermissionDenied, "no role");
    let sink = OtlpSink::open(channel(Some(credentials)), Server::Telemetry, false).unwrap();
    let line = first_line(sink, otlp::NO_PROJECT, &failure).await;
    let advice = format!("grant roles/cloudtrace.agent on the project of the spans to {ACCOUNT}");
    check(&line, &advice, None, &failure);
}
