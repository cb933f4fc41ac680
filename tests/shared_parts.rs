//! Large parts that many spans share. The real program with little memory receives requests of some KiB. They would
//! become gigabytes if a resource were written, or a scope read, once for each span. Memory stays bounded, and the
//! spans arrive.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use spansieve_test_support::sink::{Sink, free_address};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::process::Program;
use crate::support::{conservation, error, metric, request};

const LIMIT_BYTES: usize = 96 << 20;

fn config(otlp: SocketAddr, sink: SocketAddr, journal: Option<&Path>) -> String {
    let journal = journal.map_or(String::new(), |path| format!("journal: {{directory: {}}}", path.display()));
    format!(
        "
otlp: {{listen: [\"{otlp}\"]}}
tail_sampling: {{decision_wait: 500ms, policies: [{{name: errors, type: error}}]}}
export: {{endpoint: \"http://{sink}\", project: p}}
memory: {{limit: {LIMIT_BYTES}}}
{journal}
"
    )
}

/// A program, its sink, and the program's peak memory.
struct Trial {
    program: Program,
    sink: Sink,
    otlp: SocketAddr,
    peak_bytes: usize,
}

impl Trial {
    async fn start(journal: Option<&Path>) -> Self {
        let (otlp, sink) = (free_address().await, Sink::start(Duration::ZERO, Vec::new()).await);
        let program = Program::start(format!("http://{otlp}"), &config(otlp, sink.address, journal)).await;
        Trial { program, sink, otlp, peak_bytes: 0 }
    }

    /// Posts a body compressed with gzip.
    async fn post(&self, body: &[u8]) {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(body).unwrap();
        let packed = gzip.finish().unwrap();
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/x-protobuf\r\n\
             content-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
            packed.len()
        );
        let mut stream = TcpStream::connect(self.otlp).await.unwrap();
        stream.write_all(&[head.as_bytes(), &packed].concat()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }

    /// Waits until `spans` spans are exported, and checks that no other spans were received.
    async fn exported(&mut self, spans: f64) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            self.peak_bytes = self.peak_bytes.max(self.program.resident_bytes());
            let text = self.program.scrape().await.unwrap();
            let exported = metric(&text, "spansieve_exported_spans_total", &[]);
            let sides = conservation(&text);
            // A scrape may count the last spans twice: as held, and as exported a moment later.
            if (exported, sides) == (spans, (spans, spans)) {
                break;
            }
            let is_late = tokio::time::Instant::now() >= deadline;
            assert!(!is_late, "{exported} of {spans} spans are exported, the sides of the law are {sides:?}");
        }
        assert!(self.peak_bytes < 2 * LIMIT_BYTES, "{} MiB", self.peak_bytes >> 20);
        assert_eq!(self.sink.written().spans.len() as f64, spans);
    }
}

fn failed(count: usize) -> Vec<Span> {
    (0..count).map(|_| error(fastrand::u128(1..), "GET /")).collect()
}

/// Returns a request of a thousand spans with a resource of a hundred attributes of this value.
fn large_resource(value: &Value) -> Vec<u8> {
    let mut request = request("shop", failed(1_000));
    let attributes = (0..100).map(|i| {
        let value = AnyValue { value: Some(value.clone()) };
        KeyValue { key: format!("k{i}"), value: Some(value), ..KeyValue::default() }
    });
    request.resource_spans[0].resource.as_mut().unwrap().attributes.extend(attributes);
    request.encode_to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_resource_is_not_written_once_for_each_span() {
    let mut trial = Trial::start(None).await;
    trial.post(&large_resource(&Value::StringValue("v".repeat(65_000)))).await;
    trial.exported(1_000.0).await;
    trial.post(&large_resource(&Value::DoubleValue(f64::MAX))).await;
    trial.exported(2_000.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_scope_is_not_read_once_for_each_span() {
    let mut trial = Trial::start(None).await;
    // A scope with a name and many empty attributes.
    let scope = [&b"\x0a\x03lib"[..], &b"\x1a\x00".repeat(4 << 20)].concat();
    let mut scope_spans = Vec::new();
    prost::encoding::bytes::encode(1, &scope, &mut scope_spans);
    failed(20_000).iter().for_each(|span| prost::encoding::message::encode(2, span, &mut scope_spans));
    let mut resource_spans = Vec::new();
    prost::encoding::bytes::encode(2, &scope_spans, &mut resource_spans);
    let mut body = Vec::new();
    prost::encoding::bytes::encode(1, &resource_spans, &mut body);
    trial.post(&body).await;
    trial.exported(20_000.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_with_a_large_resource_is_recovered() {
    let directory = TempDir::new().unwrap();
    let Trial { program, otlp, .. } = {
        let trial = Trial::start(Some(directory.path())).await;
        trial.post(&large_resource(&Value::StringValue("v".repeat(65_000)))).await;
        trial
    };
    program.signal("-KILL");
    let sink = Sink::start(Duration::ZERO, Vec::new()).await;
    let config = config(otlp, sink.address, Some(directory.path()));
    let program = Program::start(format!("http://{otlp}"), &config).await;
    let mut trial = Trial { program, sink, otlp, peak_bytes: 0 };
    trial.exported(1_000.0).await;
}
