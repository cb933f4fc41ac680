//! The embedded Cloud Trace over the network: gRPC writes and HTTP reads on one port.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost_types::Timestamp;
use spansieve::emulator::{Emulator, Query};
use spansieve::proto::google::devtools::cloudtrace::v2::attribute_value::Value;
use spansieve::proto::google::devtools::cloudtrace::v2::span::Attributes;
use spansieve::proto::google::devtools::cloudtrace::v2::trace_service_client::TraceServiceClient;
use spansieve::proto::google::devtools::cloudtrace::v2::{
    AttributeValue, BatchWriteSpansRequest, Span, TruncatableString,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

async fn start() -> Emulator {
    Emulator::start("127.0.0.1:0", 64 << 20).await.unwrap()
}

async fn writer(emulator: &Emulator) -> TraceServiceClient<Channel> {
    TraceServiceClient::new(Endpoint::new(emulator.url()).unwrap().connect().await.unwrap())
}

async fn get(url: String) -> (u16, serde_json::Value) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let response = client.get(url.parse().unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

fn text(value: impl Into<String>) -> TruncatableString {
    TruncatableString { value: value.into(), truncated_byte_count: 0 }
}

fn span(trace: u128, id: u64, parent: Option<u64>) -> Span {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let start = Timestamp { seconds: i64::try_from(now.as_secs()).unwrap(), nanos: 0 };
    Span {
        name: format!("projects/p/traces/{trace:032x}/spans/{id:016x}"),
        span_id: format!("{id:016x}"),
        parent_span_id: parent.map_or(String::new(), |parent| format!("{parent:016x}")),
        display_name: Some(text(format!("span {id}"))),
        start_time: Some(start),
        end_time: Some(start),
        ..Span::default()
    }
}

fn batch(spans: Vec<Span>) -> BatchWriteSpansRequest {
    BatchWriteSpansRequest { name: "projects/p".into(), spans }
}

#[tokio::test]
async fn spans_written_over_grpc_are_read_over_http_on_the_same_port() {
    let emulator = start().await;
    let mut writer = writer(&emulator).await;
    let mut written = emulator.store().written();

    writer.batch_write_spans(batch(vec![span(1, 1, None), span(1, 2, Some(1))])).await.unwrap();
    let created = writer.create_span(span(2, 1, None)).await.unwrap().into_inner();
    writer.batch_write_spans(batch(Vec::new())).await.unwrap();
    written.wait_for(|&spans| spans >= 3).await.unwrap();

    assert_eq!(created.span_id, "0000000000000001");
    let (status, rows) = get(format!("{}/api/traces", emulator.url())).await;
    let ids: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["span_count"].as_u64().unwrap()).collect();
    assert_eq!((status, ids), (200, vec![1, 2]));
    let (_, trace) = get(format!("{}/api/traces/{:032x}", emulator.url(), 1)).await;
    assert_eq!(trace["spans"][1]["parent_span_id"], "0000000000000001");
    assert_eq!(emulator.store().traces(&Query::default()).len(), 2);
    assert_eq!(get(format!("{}/api/traces/{:032x}", emulator.url(), 3)).await.0, 404);
    emulator.shutdown().await;
}

#[tokio::test]
async fn one_bad_span_fails_its_batch_and_stores_nothing() {
    let emulator = start().await;
    let mut writer = writer(&emulator).await;
    let bad = Span { display_name: Some(text("n".repeat(1_025))), ..span(1, 2, None) };
    let error = writer.batch_write_spans(batch(vec![span(1, 1, None), bad.clone()])).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("spans[1]") && error.message().contains("1024"), "{}", error.message());
    assert!(error.message().contains(&bad.name), "{}", error.message());
    assert_eq!(writer.create_span(bad).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(emulator.store().span_count(), 0);
    let (_, status) = get(format!("{}/api/status", emulator.url())).await;
    assert_eq!((&status["refused_calls"], &status["accepted_calls"]), (&2.into(), &0.into()));
}

#[tokio::test]
async fn a_call_of_several_mebibytes_is_accepted() {
    let emulator = start().await;
    let value = AttributeValue { value: Some(Value::StringValue(text("v".repeat(65_532)))) };
    let attributes = Attributes { attribute_map: [("k".into(), value)].into(), dropped_attributes_count: 0 };
    let large = |id| Span { attributes: Some(attributes.clone()), ..span(1, id, None) };
    writer(&emulator).await.batch_write_spans(batch((1..=128).map(large).collect())).await.unwrap();
    assert_eq!(emulator.store().span_count(), 128);
}

/// A web page whose name resolves to this address (DNS rebinding) can neither read nor write.
#[tokio::test]
async fn a_request_for_a_foreign_host_is_refused() {
    let emulator = start().await;
    let port = emulator.local_addr().port();
    let head = |method, path, host: &str| {
        format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\nconnection: close\r\n")
    };
    let local = format!("localhost:{port}");
    let foreign = format!("evil.example:{port}");
    let grpc = "content-type: application/grpc\r\n";
    let cases = [
        (head("GET", "/api/traces", &local), "200"),
        (head("GET", "/", &local), "200"),
        (head("GET", "/api/traces", &foreign), "421"),
        (head("GET", "/", &foreign), "421"),
        (head("POST", "/google.devtools.cloudtrace.v2.TraceService/CreateSpan", &foreign) + grpc, "421"),
    ];
    for (head, expected) in cases {
        let answer = exchange(&emulator, &(head.clone() + "\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{head}: {answer}");
        assert_eq!(answer.contains("allowed_hosts"), expected == "421", "{head}: {answer}");
    }
    let named = Emulator::start_as("127.0.0.1:0", 1 << 20, &["evil.example".to_owned()]).await.unwrap();
    assert!(exchange(&named, &(head("GET", "/", &foreign) + "\r\n")).await.starts_with("HTTP/1.1 200 "));
}

/// Sends `request` unchanged, and returns the whole answer.
async fn exchange(emulator: &Emulator, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(emulator.local_addr()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let emulator = start().await;
    let channel = Endpoint::new(emulator.url()).unwrap().connect().await.unwrap();
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<Span, Span>::default();
    let path = "/google.devtools.cloudtrace.v2.TraceService/Nothing".parse().unwrap();
    let error = grpc.unary(tonic::Request::new(Span::default()), path, codec).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
}

#[tokio::test]
async fn health_is_answered() {
    let emulator = start().await;
    let channel = Endpoint::new(emulator.url()).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    let request = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for service in ["", "google.devtools.cloudtrace.v2.TraceService"] {
        let answer = health.check(request(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
        let mut watch = health.watch(request(service)).await.unwrap().into_inner();
        assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    }
    assert_eq!(health.check(request("other")).await.unwrap_err().code(), Code::NotFound);
}

/// Spans written over REST can be read like all others. A web page with a host name of its own cannot write.
#[tokio::test]
async fn spans_can_be_written_over_rest() {
    let emulator = start().await;
    let now = prost_types::Timestamp::from(SystemTime::now()).to_string();
    let (trace, id) = (format!("{:032x}", 7), format!("{:016x}", 8));
    let body = format!(
        r#"{{"spans": [{{"name": "projects/p/traces/{trace}/spans/{id}", "spanId": "{id}",
        "displayName": {{"value": "over REST"}}, "startTime": "{now}", "endTime": "{now}"}}]}}"#
    );
    let request = |host: &str| {
        format!(
            "POST /v2/projects/p/traces:batchWrite?$alt=json HTTP/1.1\r\nhost: {host}\r\n\
             content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    assert!(exchange(&emulator, &request("evil.example")).await.starts_with("HTTP/1.1 421 "));
    let answer = exchange(&emulator, &request("localhost")).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n{}"), "{answer}");
    let (status, stored) = get(format!("{}/api/traces/{trace}", emulator.url())).await;
    assert_eq!((status, &stored["root_name"]), (200, &"over REST".into()));
}

#[tokio::test]
async fn a_taken_address_is_named_in_the_error_and_is_free_after_shutdown() {
    let emulator = start().await;
    let address = emulator.local_addr().to_string();
    // Open connections, idle or not, do not delay the shutdown for long.
    let _writer = writer(&emulator).await;
    let _idle = tokio::net::TcpStream::connect(&address).await.unwrap();
    let error = Emulator::start(&address, 1 << 20).await.unwrap_err();
    assert!(error.to_string().contains(&address), "{error}");
    tokio::time::timeout(Duration::from_secs(5), emulator.shutdown()).await.unwrap();
    Emulator::start(&address, 1 << 20).await.unwrap();
}
