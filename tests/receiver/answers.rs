//! Tests of the answers to valid and invalid requests.

use bytes::Bytes;
use http::{HeaderMap, Method, Version};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message;
use spansieve::proto::google::rpc::Status;
use spansieve::receiver::settings;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::support::{
    Daemon, EXPORT, JSON, LIMIT, frame, gzip, lz4, proto, request, retry_delay, snappy, snappy_framed, traces, zlib,
    zstd,
};

const PROTOBUF: &str = "application/x-protobuf";
const JSON_TYPE: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

/// An HTTP request and its expected answer.
struct Case {
    name: &'static str,
    request: (&'static str, &'static str),
    headers: &'static [(&'static str, &'static str)],
    body: Vec<u8>,
    status: u16,
    content_type: &'static str,
    /// Headers that the answer must have.
    expected: &'static [(&'static str, &'static str)],
    /// Text that the answer's body must contain; for refusals, text of the message.
    says: &'static str,
}

fn case(
    name: &'static str,
    request: (&'static str, &'static str),
    headers: &'static [(&'static str, &'static str)],
    body: impl Into<Vec<u8>>,
    (status, content_type): (u16, &'static str),
    says: &'static str,
) -> Case {
    Case { name, request, headers, body: body.into(), status, content_type, expected: &[], says }
}

impl Case {
    fn with(mut self, expected: &'static [(&'static str, &'static str)]) -> Self {
        self.expected = expected;
        self
    }
}

const POST: (&str, &str) = ("POST", "/v1/traces");
const AS_PROTOBUF: &[(&str, &str)] = &[("content-type", PROTOBUF)];
const AS_JSON: &[(&str, &str)] = &[("content-type", JSON_TYPE)];
const AS_GZIP: &[(&str, &str)] = &[("content-type", PROTOBUF), ("content-encoding", "gzip")];
const AS_ZSTD: &[(&str, &str)] = &[("content-type", PROTOBUF), ("content-encoding", "zstd")];
const AS_DEFLATE: &[(&str, &str)] = &[("content-type", PROTOBUF), ("content-encoding", "deflate")];
const AS_ZLIB: &[(&str, &str)] = &[("content-type", PROTOBUF), ("content-encoding", "zlib")];
const AS_SNAPPY: &[(&str, &str)] = &[("content-type", PROTOBUF), ("content-encoding", "snappy")];
const AS_SNAPPY_FRAMED: &[(&str, &str)] = &[("content-type", PROTOBUF), ("content-encoding", "x-snappy-framed")];
const AS_LZ4: &[(&str, &str)] = &[("content-type", PROTOBUF), ("content-encoding", "lz4")];

fn taken() -> Vec<Case> {
    let ok = (200, PROTOBUF);
    vec![
        case("protobuf", POST, AS_PROTOBUF, proto(1, 0), ok, ""),
        case("an empty request", POST, AS_PROTOBUF, "", ok, ""),
        case("gzip", POST, AS_GZIP, gzip(&proto(1, 0)), ok, ""),
        case("zstd", POST, AS_ZSTD, zstd(&proto(1, 0)), ok, ""),
        case("deflate", POST, AS_DEFLATE, zlib(&proto(1, 0)), ok, ""),
        case("zlib", POST, AS_ZLIB, zlib(&proto(1, 0)), ok, ""),
        case("snappy", POST, AS_SNAPPY, snappy(&proto(1, 0)), ok, ""),
        case("a stream of snappy", POST, AS_SNAPPY, snappy_framed(&proto(1, 0)), ok, ""),
        case("framed snappy", POST, AS_SNAPPY_FRAMED, snappy_framed(&proto(1, 0)), ok, ""),
        case("lz4", POST, AS_LZ4, lz4(&proto(1, 0)), ok, ""),
        case("identity", POST, &[("content-type", PROTOBUF), ("content-encoding", "identity")], proto(1, 0), ok, ""),
        case("json", POST, AS_JSON, JSON, (200, JSON_TYPE), "{}"),
        case(
            "json with a charset",
            POST,
            &[("content-type", "application/json; charset=utf-8")],
            JSON,
            (200, JSON_TYPE),
            "{}",
        ),
        case(
            "json gzip",
            POST,
            &[("content-type", JSON_TYPE), ("content-encoding", "gzip")],
            gzip(JSON.as_bytes()),
            (200, JSON_TYPE),
            "{}",
        ),
        case("bad spans", POST, AS_PROTOBUF, proto(2, 3), ok, "id"),
        case("a query", ("POST", "/v1/traces?key=value"), AS_PROTOBUF, proto(1, 0), ok, ""),
    ]
}

fn refused() -> Vec<Case> {
    let bad = (400, PROTOBUF);
    vec![
        case("malformed protobuf", POST, AS_PROTOBUF, "\x0a\x7fx", bad, "past the end"),
        case("malformed json", POST, AS_JSON, "{\"resourceSpans\":", (400, JSON_TYPE), "JSON"),
        case("not gzip", POST, AS_GZIP, proto(1, 0), bad, "gzip"),
        case("gzip cut off", POST, AS_GZIP, gzip(&proto(9, 0))[..30].to_vec(), bad, "too early"),
        case("not zstd", POST, AS_ZSTD, proto(1, 0), bad, "zstd"),
        case("not deflate", POST, AS_DEFLATE, proto(1, 0), bad, "zlib"),
        case("not snappy", POST, AS_SNAPPY, "\u{1}\u{1}\u{1}", bad, "snappy"),
        case("not lz4", POST, AS_LZ4, proto(1, 0), bad, "LZ4"),
        case("too large in lz4", POST, AS_LZ4, lz4(&vec![0; LIMIT + 1]), (413, PROTOBUF), "16777216"),
        case("too large in snappy", POST, AS_SNAPPY, snappy(&vec![0; LIMIT + 1]), (413, PROTOBUF), "16777216"),
        case("too large", POST, AS_PROTOBUF, vec![0; LIMIT + 1], (413, PROTOBUF), "16777216"),
        case("too large inflated", POST, AS_GZIP, gzip(&vec![0; LIMIT + 1]), (413, PROTOBUF), "16777216"),
        case("too large json", POST, AS_JSON, vec![b' '; LIMIT + 1], (413, JSON_TYPE), "16777216"),
        case("no type", POST, &[], proto(1, 0), (415, TEXT), "application/x-protobuf")
            .with(&[("accept", "application/x-protobuf, application/json")]),
        case("another type", POST, &[("content-type", "text/html")], proto(1, 0), (415, TEXT), "text/html")
            .with(&[("accept", "application/x-protobuf, application/json")]),
        case(
            "another coding",
            POST,
            &[("content-type", PROTOBUF), ("content-encoding", "br")],
            proto(1, 0),
            (415, PROTOBUF),
            "\"br\"",
        )
        .with(&[("accept-encoding", "gzip, zstd, deflate, zlib, snappy, x-snappy-framed, lz4")]),
        case("GET traces", ("GET", "/v1/traces"), &[], "", (405, TEXT), "POST /v1/traces").with(&[("allow", "POST")]),
        case("PUT traces", ("PUT", "/v1/traces"), AS_JSON, JSON, (405, JSON_TYPE), "POST").with(&[("allow", "POST")]),
        case("POST livez", ("POST", "/livez"), AS_JSON, JSON, (405, JSON_TYPE), "GET, HEAD")
            .with(&[("allow", "GET, HEAD")]),
        case("metrics signal", ("POST", "/v1/metrics"), AS_PROTOBUF, "", (404, PROTOBUF), "only traces"),
        case("logs signal", ("POST", "/v1/logs"), AS_JSON, "{}", (404, JSON_TYPE), "not logs"),
        case("unknown path", ("POST", "/v2/traces"), AS_PROTOBUF, proto(1, 0), (404, PROTOBUF), "/v1/traces"),
        case("unknown page", ("GET", "/favicon.ico"), &[], "", (404, TEXT), "/favicon.ico"),
    ]
}

fn pages() -> Vec<Case> {
    let prometheus = "text/plain; version=0.0.4; charset=utf-8";
    vec![
        case("metrics", ("GET", "/metrics"), &[], "", (200, prometheus), "spansieve_build_info"),
        case("livez", ("GET", "/livez"), &[], "", (200, TEXT), "ok"),
        case("readyz", ("GET", "/readyz"), &[], "", (200, TEXT), "ready"),
        case("about", ("GET", "/"), &[], "", (200, TEXT), "POST /v1/traces"),
        case("HEAD livez", ("HEAD", "/livez"), &[], "", (200, TEXT), "").with(&[("content-length", "3")]),
        case("HEAD metrics", ("HEAD", "/metrics"), &[], "", (200, prometheus), ""),
    ]
}

/// Returns the text of a page, or a refusal's message and retry delay.
fn words(content_type: &str, status: u16, body: &Bytes) -> String {
    match (content_type, status) {
        (PROTOBUF, 400..) => Status::decode(&body[..]).unwrap().message,
        (JSON_TYPE, 400..) => {
            let status: serde_json::Value = serde_json::from_slice(body).unwrap();
            status["message"].as_str().unwrap().to_owned()
        }
        (PROTOBUF, _) => {
            let partial = ExportTraceServiceResponse::decode(&body[..]).unwrap().partial_success;
            partial.map_or(String::new(), |partial| partial.error_message)
        }
        _ => String::from_utf8(body.to_vec()).unwrap(),
    }
}

fn assert_headers(name: &str, headers: &HeaderMap, expected: &[(&str, &str)]) {
    for (header, value) in expected {
        assert_eq!(headers.get(*header).map(|v| v.to_str().unwrap()), Some(*value), "{name}: {header}");
    }
}

#[tokio::test]
async fn http_requests_are_answered_according_to_the_specification() {
    let daemon = Daemon::start().await;
    for version in VERSIONS {
        for case in taken().into_iter().chain(refused()).chain(pages()) {
            let name = format!("{} over {version:?}", case.name);
            let method = Method::from_bytes(case.request.0.as_bytes()).unwrap();
            let answer = daemon.send(version, request(method, case.request.1, case.headers, case.body)).await;
            assert_eq!(answer.status().as_u16(), case.status, "{name}: {:?}", answer.body());
            assert_eq!(answer.headers()["content-type"], case.content_type, "{name}");
            assert_headers(&name, answer.headers(), case.expected);
            let says = words(case.content_type, case.status, answer.body());
            assert!(says.contains(case.says), "{name}: {says}");
            assert!(!answer.headers().contains_key("retry-after"), "{name}: a retry would not help");
        }
    }
    let used: usize = daemon.table.bodies.lock().iter().map(|(body, _)| body.len()).sum();
    assert_eq!(daemon.table.used_bytes(), used, "only accepted bodies hold memory");
}

#[tokio::test]
async fn every_protocol_and_encoding_gives_the_same_bytes() {
    let daemon = Daemon::start().await;
    for case in taken() {
        if case.name == "an empty request" || case.name == "bad spans" {
            continue;
        }
        for version in VERSIONS {
            let answer =
                daemon.send(version, request(Method::POST, case.request.1, case.headers, case.body.clone())).await;
            assert_eq!(answer.status(), 200, "{}", case.name);
        }
    }
    let plain = proto(1, 0);
    for (flag, encoding, message) in [
        (0, "identity", plain.clone()),
        (1, "gzip", gzip(&plain)),
        (1, "deflate", zlib(&plain)),
        (1, "snappy", snappy_framed(&plain)),
        (1, "zstd", zstd(&plain)),
    ] {
        assert_eq!(daemon.export(&[("grpc-encoding", encoding)], frame(flag, &message)).await.code, 0, "{encoding}");
    }
    let accepted = daemon.accepted();
    assert_eq!(accepted.len(), 2 * 14 + 5);
    assert!(accepted.iter().all(|request| *request == traces(1, 0)), "{accepted:?}");
}

#[tokio::test]
async fn grpc_calls_are_answered_according_to_the_specification() {
    let daemon = Daemon::start().await;
    let plain = proto(1, 0);
    let two = [frame(0, &plain), frame(0, &plain)].concat();
    let cases: Vec<(&str, &str, Vec<u8>, Code, &str)> = vec![
        ("one span", "identity", frame(0, &plain), Code::Ok, ""),
        ("an empty request", "identity", frame(0, b""), Code::Ok, ""),
        ("gzip", "gzip", frame(1, &gzip(&plain)), Code::Ok, ""),
        ("zstd", "zstd", frame(1, &zstd(&plain)), Code::Ok, ""),
        ("uncompressed under gzip", "gzip", frame(0, &plain), Code::Ok, ""),
        ("uncompressed under snappy", "snappy", frame(0, &plain), Code::Ok, ""),
        ("malformed", "identity", frame(0, b"\x0a\x7fx"), Code::InvalidArgument, "past the end"),
        ("no message", "identity", Vec::new(), Code::Unimplemented, "exactly one message"),
        ("two messages", "identity", two, Code::Unimplemented, "exactly one message"),
        ("half a prefix", "identity", vec![0, 0], Code::Internal, "shorter"),
        ("half a message", "identity", frame(0, &plain)[..20].to_vec(), Code::Internal, "shorter"),
        ("an odd flag", "identity", frame(7, &plain), Code::Internal, "Compressed-Flag of 7"),
        ("a flag without coding", "identity", frame(1, &plain), Code::Internal, "grpc-encoding"),
        ("deflate", "deflate", frame(1, &zlib(&plain)), Code::Ok, ""),
        ("a stream of snappy", "snappy", frame(1, &snappy_framed(&plain)), Code::Ok, ""),
        ("a block of snappy", "snappy", frame(1, &snappy(&plain)), Code::Ok, ""),
        ("an unknown coding", "lz4", frame(1, &lz4(&plain)), Code::Unimplemented, "gzip, zstd, deflate, snappy"),
        ("not gzip", "gzip", frame(1, &plain), Code::Internal, "gzip"),
        ("too large", "identity", frame(0, &vec![0; LIMIT + 1]), Code::ResourceExhausted, "16777216"),
        ("too large inflated", "zstd", frame(1, &zstd(&vec![0; LIMIT + 1])), Code::ResourceExhausted, "16777216"),
    ];
    for (name, encoding, body, code, says) in cases {
        let answer = daemon.export(&[("grpc-encoding", encoding)], body).await;
        assert_eq!(answer.code, code as i32, "{name}: {}", answer.message);
        assert!(answer.message.contains(says), "{name}: {}", answer.message);
        assert_eq!(answer.retry_after, None, "{name}: a retry would not help");
        assert_eq!(answer.body, (code == Code::Ok).then(Bytes::new), "{name}");
        assert_headers(name, &answer.headers, &[("grpc-accept-encoding", "gzip, zstd, deflate, snappy")]);
    }
}

/// An entry of the health list of grpc.health.v1: a service and its status.
#[derive(Clone, PartialEq, prost::Message)]
struct Listed {
    #[prost(btree_map = "string, message", tag = "1")]
    statuses: std::collections::BTreeMap<String, tonic_health::pb::HealthCheckResponse>,
}

#[tokio::test]
async fn the_status_of_all_services_is_listed() {
    let daemon = Daemon::start().await;
    let listed = async || {
        let answer = daemon.call("/grpc.health.v1.Health/List", &[], frame(0, b"")).await;
        assert_eq!(answer.code, 0, "{}", answer.message);
        let listed = Listed::decode(answer.body.unwrap()).unwrap();
        listed.statuses.into_iter().map(|(service, answer)| (service, answer.status)).collect::<Vec<_>>()
    };
    let both = |status| {
        ["", "opentelemetry.proto.collector.trace.v1.TraceService"].map(|service| (service.to_owned(), status)).to_vec()
    };
    assert_eq!(listed().await, both(1));
    daemon.health.set_stopping();
    assert_eq!(listed().await, both(2));
}

#[tokio::test]
async fn other_grpc_methods_are_unimplemented() {
    let daemon = Daemon::start().await;
    for (path, says) in [
        (
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            "not metrics; set OTEL_METRICS_EXPORTER=none",
        ),
        ("/opentelemetry.proto.collector.logs.v1.LogsService/Export", "not logs; set OTEL_LOGS_EXPORTER=none"),
        ("/opentelemetry.proto.collector.trace.v1.TraceService/Import", "TraceService/Export"),
        ("/v1/traces", "there is no method"),
    ] {
        let answer = daemon.call(path, &[], frame(0, b"")).await;
        assert_eq!(answer.code, Code::Unimplemented as i32, "{path}");
        assert!(answer.message.contains(says), "{path}: {}", answer.message);
    }
    for signal in ["metrics", "logs"] {
        assert_eq!(daemon.metric(&format!("spansieve_other_signal_requests_total{{signal=\"{signal}\"}}")), 1);
    }
    let plain = frame(0, &proto(1, 0));
    let cases = [
        (Version::HTTP_11, Method::POST, "application/grpc", 505),
        (Version::HTTP_11, Method::POST, "application/grpc-web", 415),
        (Version::HTTP_11, Method::POST, "application/grpc-web-text", 415),
        (Version::HTTP_2, Method::GET, "application/grpc", 405),
        (Version::HTTP_2, Method::POST, "application/grpc+json", 415),
        (Version::HTTP_2, Method::POST, "application/grpc-web", 415),
    ];
    for (version, method, content_type, status) in cases {
        let request = request(method, EXPORT, &[("content-type", content_type)], plain.clone());
        assert_eq!(daemon.send(version, request).await.status().as_u16(), status, "{content_type}");
    }
}

#[tokio::test]
async fn bad_spans_are_reported_by_number() {
    let daemon = Daemon::start().await;
    let over_http = daemon.send(Version::HTTP_11, request(Method::POST, "/v1/traces", AS_PROTOBUF, proto(2, 3))).await;
    let over_grpc = daemon.export(&[], frame(0, &proto(4, 1))).await;
    for (body, rejected) in [(over_http.into_body(), 3), (over_grpc.body.unwrap(), 1)] {
        let partial = ExportTraceServiceResponse::decode(body).unwrap().partial_success.unwrap();
        assert_eq!(partial.rejected_spans, rejected);
        assert!(!partial.error_message.is_empty());
    }
    for (metric, value) in [
        ("spansieve_received_spans_total{protocol=\"http_protobuf\"}", 5),
        ("spansieve_received_spans_total{protocol=\"grpc\"}", 5),
        ("spansieve_rejected_spans_total{reason=\"invalid_trace_id\"}", 4),
        ("spansieve_requests_total{protocol=\"grpc\",outcome=\"partial\"}", 1),
    ] {
        assert_eq!(daemon.metric(metric), value, "{metric}");
    }
}

#[tokio::test]
async fn a_full_budget_is_refused_retryably() {
    let daemon = Daemon::with_budget(1000).await;
    let body = proto(100, 0);
    assert!(body.len() > 1000);
    for version in VERSIONS {
        for (headers, content_type, body) in [
            (AS_PROTOBUF, PROTOBUF, body.clone()),
            (AS_JSON, JSON_TYPE, vec![b' '; 2000]),
            (AS_GZIP, PROTOBUF, gzip(&body)),
        ] {
            let answer = daemon.send(version, request(Method::POST, "/v1/traces", headers, body)).await;
            assert_eq!(answer.status(), 429, "{content_type}");
            assert_headers("budget", answer.headers(), &[("content-type", content_type)]);
            assert!(["1", "2"].contains(&answer.headers()["retry-after"].to_str().unwrap()));
            if content_type == PROTOBUF {
                let status = Status::decode(answer.into_body()).unwrap();
                assert_eq!(retry_delay(&status).unwrap().as_secs(), 1);
            }
        }
    }
    let answer = daemon.export(&[], frame(0, &body)).await;
    assert_eq!(answer.code, Code::ResourceExhausted as i32);
    assert_eq!(answer.retry_after.unwrap().as_secs(), 1);
    assert_eq!(daemon.table.used_bytes(), 0);
    assert_eq!(daemon.export(&[], frame(0, &proto(1, 0))).await.code, 0, "a request that fits is accepted");
}

#[tokio::test]
async fn a_stock_grpc_client_is_served() {
    let daemon = Daemon::start().await;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", daemon.address)).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    for (request, rejected) in [(traces(3, 0), None), (traces(1, 2), Some(2)), (traces(60_000, 0), None)] {
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<ExportTraceServiceRequest, ExportTraceServiceResponse>::default();
        let path = http::uri::PathAndQuery::from_static(EXPORT);
        let response = grpc.unary(tonic::Request::new(request), path, codec).await.unwrap().into_inner();
        assert_eq!(response.partial_success.map(|partial| partial.rejected_spans), rejected);
    }
    let mut health = HealthClient::new(channel);
    let ask = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let serving = health.check(ask("")).await.unwrap().into_inner();
    assert_eq!(serving.status(), ServingStatus::Serving);
    assert_eq!(health.check(ask("nobody")).await.unwrap_err().code(), Code::NotFound);
    let mut watch =
        health.watch(ask("opentelemetry.proto.collector.trace.v1.TraceService")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    daemon.health.set_stopping();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(watch.message().await.unwrap().is_none());
}

#[tokio::test]
async fn scripts_of_allowed_origins_may_send_and_read_every_answer() {
    let cors = settings::CorsSettings {
        allowed_origins: vec!["https://*.example".to_owned()],
        ..settings::CorsSettings::default()
    };
    let daemon = Daemon::serve(Daemon::bind().await.open_to(Some(cors)), super::support::BUDGET);
    let named = async |method, path, headers: &[(&'static str, &str)], body: &str| {
        let answer = daemon.send(Version::HTTP_11, request(method, path, headers, body.to_owned())).await;
        let origin =
            answer.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), origin)
    };
    let (good, bad) = (("origin", "https://shop.example"), ("origin", "https://evil"));
    let shop = Some("https://shop.example".to_owned());
    let asks = ("access-control-request-method", "POST");
    let json = ("content-type", "application/json");
    assert_eq!(named(Method::OPTIONS, "/v1/traces", &[good, asks], "").await, (204, shop.clone()));
    assert_eq!(named(Method::OPTIONS, "/v1/traces", &[bad, asks], "").await, (204, None));
    assert_eq!(named(Method::POST, "/v1/traces", &[good, json], JSON).await, (200, shop.clone()));
    assert_eq!(named(Method::POST, "/v1/traces", &[bad, json], JSON).await, (200, None));
    assert_eq!(named(Method::POST, "/v1/traces", &[good, json], "{").await, (400, shop.clone()));
    assert_eq!(named(Method::POST, "/v1/traces", &[good], JSON).await, (415, shop.clone()));
    assert_eq!(named(Method::POST, "/v1/metrics", &[good, json], "{}").await, (404, shop));
    assert_eq!(named(Method::GET, "/metrics", &[good], "").await, (200, None));
    let without = Daemon::start().await;
    let preflight = request(Method::OPTIONS, "/v1/traces", &[good, asks], "");
    assert_eq!(without.send(Version::HTTP_11, preflight).await.status(), 405);
}
