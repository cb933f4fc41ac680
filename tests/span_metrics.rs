//! Metrics of all spans, over HTTP as Prometheus asks for them, compared with what was sent and with what is in the sink.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::trace::v1::Span;
use spansieve::daemon::Daemon;
use spansieve::otlp::TraceId;

use crate::support::{
    self, Client, MS, conservation, error, eventually, metric, request, span, start, store, trace_id,
};

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const OF_PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

/// Returns the headers and the text of a scrape.
async fn scrape(daemon: &Daemon, accept: &str, encoding: &str) -> (http::HeaderMap, Vec<u8>) {
    let client = HttpClient::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let asked =
        http::Request::get(daemon.metrics_url().unwrap()).header(ACCEPT, accept).header(ACCEPT_ENCODING, encoding);
    let response = client.request(asked.body(Empty::new()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    (parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

/// Returns the trace id and the span id of each exemplar.
fn exemplars(text: &str) -> BTreeSet<(u128, String)> {
    let labels = text.lines().filter_map(|line| Some(line.split_once(" # {")?.1));
    let exemplar = |labels: &str| {
        let value = |name: &str| labels.split_once(&format!("{name}=\"")).unwrap().1.split_once('"').unwrap().0;
        (u128::from_str_radix(value("trace_id"), 16).unwrap(), value("span_id").to_owned())
    };
    labels.map(exemplar).collect()
}

/// Returns a call of `shop` to `pay`, with an internal span that is not counted.
fn call(trace: u128, fails: bool) -> Vec<(&'static str, Vec<Span>)> {
    let entry = Span { kind: SERVER, ..span(trace, "GET /orders/17") };
    let client = Span { kind: CLIENT, parent_span_id: entry.span_id.clone(), ..span(trace, "pay") };
    let inner = Span { parent_span_id: entry.span_id.clone(), ..span(trace, "inner") };
    let made = if fails { error(trace, "POST /pay") } else { span(trace, "POST /pay") };
    let server = Span { kind: SERVER, parent_span_id: client.span_id.clone(), ..made };
    vec![("pay", vec![server]), ("shop", vec![inner, client, entry])]
}

#[tokio::test]
async fn every_span_is_counted_and_every_exemplar_is_in_the_sink() {
    let daemon = start(&format!("{}span_metrics: {{}}\n", support::CONFIG)).await;
    let mut client = Client::new(&support::otlp(&daemon));
    for n in 0..300 {
        for (service, spans) in call(trace_id(n % 10 == 0), n % 25 == 0) {
            client.export(request(service, spans)).await.unwrap();
        }
    }
    let text = daemon.scrape()();
    let calls = |labels: &[&str]| metric(&text, "traces_span_metrics_calls_total", labels);
    assert_eq!((calls(&[]), calls(&["service_name=\"shop\""])), (600.0, 300.0), "the ledger");
    assert_eq!(calls(&["GET /orders/*", "SPAN_KIND_SERVER", "STATUS_CODE_UNSET"]), 300.0);
    assert_eq!(calls(&["POST /pay", "STATUS_CODE_ERROR"]), 12.0);
    assert_eq!(metric(&text, "traces_span_metrics_duration_seconds_count", &[]), 600.0);

    eventually("all is settled", || metric(&daemon.scrape()(), "spansieve_held_spans", &["pending"]) == 0.0).await;
    eventually("all is written", || metric(&daemon.scrape()(), "spansieve_held_spans", &["export"]) == 0.0).await;
    let (headers, body) = scrape(&daemon, OF_PROMETHEUS, "").await;
    let text = String::from_utf8(body).unwrap();
    assert!(headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(text.ends_with("\n# EOF\n"));
    let exemplars = exemplars(&text);
    assert_eq!(exemplars.len(), 3, "one for each series\n{text}");
    for (trace, span_id) in exemplars {
        let spans = store(&daemon).trace(&TraceId(trace.to_be_bytes())).expect("the trace is in the sink");
        assert!(spans.iter().any(|span| format!("{span:?}").contains(&span_id)), "{span_id} is in {trace:032x}");
    }
    assert_eq!(metric(&text, "traces_service_graph_request_total", &["client=\"shop\",server=\"pay\""]), 300.0);
    assert_eq!(metric(&text, "traces_service_graph_request_failed_total", &["server=\"pay\""]), 12.0);
    assert_eq!(metric(&text, "traces_service_graph_request_total", &["client=\"user\",server=\"shop\""]), 300.0);
    assert_eq!(metric(&text, "spansieve_calls_total", &[]), 600.0);
    let (received, accounted) = conservation(&daemon.scrape()());
    assert_eq!(received, accounted);
    assert_eq!(daemon.stop(Duration::from_secs(8)).await, 0);
}

#[tokio::test]
async fn the_adjusted_calls_are_those_of_kept_traces() {
    let daemon = start(&format!("{}span_metrics: {{}}\n", support::CONFIG)).await;
    let mut client = Client::new(&support::otlp(&daemon));
    let traces = [(trace_id(true), false), (trace_id(false), true), (trace_id(false), false)];
    for (trace, fails) in traces {
        for (service, spans) in call(trace, fails) {
            client.export(request(service, spans)).await.unwrap();
        }
    }
    let adjusted = || metric(&daemon.scrape()(), "spansieve_adjusted_calls_total", &[]);
    // Two calls of a trace that stands for 20, and two of one that is kept on evidence.
    eventually("the traces are decided", || adjusted() == 42.0).await;
    assert_eq!(metric(&daemon.scrape()(), "spansieve_unrepresented_calls_total", &[]), 0.0);
    assert_eq!(daemon.stop(Duration::from_secs(8)).await, 0);
}

#[tokio::test]
async fn without_the_section_nothing_is_counted_and_a_client_gets_what_it_asks_for() {
    let daemon = start(support::CONFIG).await;
    let mut client = Client::new(&support::otlp(&daemon));
    client.export(request("shop", vec![span(trace_id(true), "x")])).await.unwrap();
    let (headers, plain) = scrape(&daemon, "text/plain", "").await;
    let text = String::from_utf8(plain).unwrap();
    assert!(headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    assert!(!text.contains("traces_span_metrics") && metric(&text, "spansieve_calls_total", &[]) == 0.0, "{text}");
    let (headers, packed) = scrape(&daemon, OF_PROMETHEUS, "gzip").await;
    assert_eq!(headers["content-encoding"], "gzip");
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut unpacked).unwrap();
    let families = |text: &str| text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(families(&unpacked), families(&text), "both formats have the same families");
    assert!(unpacked.contains("# TYPE spansieve_received_spans counter\n"));
    assert!(unpacked.contains("\nspansieve_received_spans_total{protocol=\"grpc\"} 1\n"));
    assert!(!unpacked.contains("\n\n") && unpacked.ends_with("# EOF\n"));
    let spans = |start: u64| Span { start_time_unix_nano: start, ..span(1, "x") };
    assert!(client.export(request("shop", vec![spans(MS)])).await.is_ok());
    assert_eq!(daemon.stop(Duration::from_secs(8)).await, 0);
}
