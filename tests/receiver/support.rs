//! A receiver with a fake trace table, and clients for it.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use parking_lot::Mutex;
use prost::Message;
use spansieve::budget::{Budget, Room, Share};
use spansieve::otlp::scan::{self, NoProbe, Scan};
use spansieve::proto::google::rpc::{RetryInfo, Status};
use spansieve::receiver::{AcceptError, Accepted, BoundAddresses, Intake, Receiver, ReceiverSettings, RequestMemory};
use spansieve::tail::journal_hold::JournalHold;
use spansieve::telemetry::{Health, Metrics};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The value of `otlp.max_request_bytes` in these tests.
pub(crate) const LIMIT: usize = 16 << 20;

/// The memory budget in these tests.
pub(crate) const BUDGET: usize = 64 << 20;

/// Maximum wait, longer than any step takes. A test that would hang fails instead.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A fake trace table. It scans bodies and keeps them with their shares of memory.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) budget: Budget,
    pub(crate) bodies: Mutex<Vec<(Bytes, Share)>>,
    pub(crate) peak_bytes: Mutex<usize>,
    /// Processor time that each request takes.
    pub(crate) work: Mutex<Duration>,
}

impl Table {
    fn note_peak(&self) {
        let mut peak = self.peak_bytes.lock();
        *peak = self.used_bytes().max(*peak);
    }

    /// Returns the admitted bytes, without the memory that blocks hold in addition to their bodies.
    pub(crate) fn used_bytes(&self) -> usize {
        self.budget.used_bytes().saturating_sub(self.budget.slack_bytes())
    }
}

impl RequestMemory for Table {
    fn budget(&self) -> &Budget {
        &self.budget
    }

    fn admit(&self, bytes: usize) -> Option<Share> {
        let share = self.budget.reserve(bytes);
        self.note_peak();
        share
    }

    fn room(&self, bytes: usize) -> Option<Room> {
        let room = self.budget.room(bytes);
        self.note_peak();
        room
    }
}

impl Intake for Table {
    fn accept(&self, body: Bytes, share: Share, _: Option<Arc<JournalHold>>) -> Result<Accepted, AcceptError> {
        assert_eq!(share.bytes(), body.len(), "the share covers the body exactly");
        let (start, work) = (Instant::now(), *self.work.lock());
        while start.elapsed() < work {}
        let mut scan = Scan::default();
        let body = scan::scan(body, &NoProbe, &mut scan)?;
        self.bodies.lock().push((body, share));
        Ok(Accepted { spans: scan.span_count() as u32, rejected: scan.rejected })
    }
}

pub(crate) struct Daemon {
    pub(crate) address: SocketAddr,
    pub(crate) table: Arc<Table>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) receiver: Receiver,
}

impl Daemon {
    pub(crate) async fn start() -> Self {
        Self::with_budget(BUDGET).await
    }

    pub(crate) async fn with_budget(budget_bytes: usize) -> Self {
        Self::serve(Self::bind().await, budget_bytes)
    }

    pub(crate) async fn bind() -> BoundAddresses {
        Receiver::bind(&["127.0.0.1:0".to_owned()]).await.unwrap()
    }

    pub(crate) fn serve(bound: BoundAddresses, budget_bytes: usize) -> Self {
        Self::serve_with(bound, budget_bytes, ReceiverSettings { max_request_bytes: LIMIT, reflection: false })
    }

    pub(crate) fn serve_with(bound: BoundAddresses, budget_bytes: usize, settings: ReceiverSettings) -> Self {
        let address = bound.local_addrs()[0];
        let budget = Budget::new(budget_bytes);
        let table =
            Arc::new(Table { budget, bodies: Mutex::default(), peak_bytes: Mutex::default(), work: Mutex::default() });
        let (metrics, health) = (Arc::new(Metrics::new()), Arc::new(Health::default()));
        health.set_ready();
        let scrape = {
            let metrics = Arc::clone(&metrics);
            Arc::new(move |_, out: &mut dyn std::fmt::Write| out.write_str(&metrics.render(Default::default())))
        };
        let receiver = bound.serve(settings, Arc::clone(&table), Arc::clone(&metrics), Arc::clone(&health), scrape);
        Daemon { address, table, health, metrics, receiver }
    }

    /// Returns the accepted bodies, decoded by prost.
    pub(crate) fn accepted(&self) -> Vec<ExportTraceServiceRequest> {
        self.table.bodies.lock().iter().map(|(body, _)| ExportTraceServiceRequest::decode(&body[..]).unwrap()).collect()
    }

    /// Returns the value of the first metric whose line begins with `name`.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.render(Default::default());
        let line = text.lines().find(|line| line.starts_with(name));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    /// Sends one request on a connection of its own; returns the answer.
    pub(crate) async fn send(&self, version: Version, request: Request<Full<Bytes>>) -> Response<Bytes> {
        send(self.address, version, request).await
    }

    /// Sends `bytes` on a raw connection; returns everything up to the connection's end.
    pub(crate) async fn raw(&self, bytes: &[u8], half_close: bool) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        if half_close {
            stream.shutdown().await.unwrap();
        }
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Makes a gRPC call with `body`, which is already framed.
    pub(crate) async fn call(&self, path: &str, headers: &[(&'static str, &str)], body: Vec<u8>) -> GrpcAnswer {
        let mut all = vec![("content-type", "application/grpc"), ("te", "trailers")];
        all.retain(|(name, _)| headers.iter().all(|(other, _)| other != name));
        all.extend_from_slice(headers);
        let request = request(Method::POST, path, &all, body);
        GrpcAnswer::from(self.send(Version::HTTP_2, request).await)
    }

    pub(crate) async fn export(&self, headers: &[(&'static str, &str)], body: Vec<u8>) -> GrpcAnswer {
        self.call(EXPORT, headers, body).await
    }
}

pub(crate) const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// A gRPC client's view of the answer to a unary call.
#[derive(Debug)]
pub(crate) struct GrpcAnswer {
    pub(crate) code: i32,
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Option<Bytes>,
    pub(crate) headers: HeaderMap,
}

impl From<Response<Bytes>> for GrpcAnswer {
    fn from(response: Response<Bytes>) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/grpc");
        let (parts, mut body) = response.into_parts();
        let trailers = parts.extensions.get::<Trailers>().map(|Trailers(trailers)| trailers.clone());
        let message = (!body.is_empty()).then(|| {
            assert_eq!(body.get_u8(), 0, "the answer is not compressed");
            assert_eq!(body.get_u32() as usize, body.len());
            body
        });
        let end = trailers.unwrap_or_else(|| parts.headers.clone());
        let status = tonic::Status::from_header_map(&end).expect("the answer has a grpc-status");
        let details = Status::decode(status.details()).unwrap();
        GrpcAnswer {
            code: status.code() as i32,
            message: status.message().to_owned(),
            retry_after: retry_delay(&details),
            body: message,
            headers: parts.headers,
        }
    }
}

/// Returns the delay of the `RetryInfo` in the details of `status`.
pub(crate) fn retry_delay(status: &Status) -> Option<Duration> {
    let info = status.details.iter().find(|any| any.type_url == "type.googleapis.com/google.rpc.RetryInfo")?;
    let delay = RetryInfo::decode(&info.value[..]).unwrap().retry_delay.unwrap();
    Some(Duration::from_secs(delay.seconds as u64))
}

#[derive(Clone)]
struct Trailers(HeaderMap);

/// Returns a loopback address on which no process listens.
pub(crate) async fn free_address() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

pub(crate) async fn send(address: SocketAddr, version: Version, request: Request<Full<Bytes>>) -> Response<Bytes> {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let exchange = async {
        if version == Version::HTTP_2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            collect(sender.send_request(request).await.unwrap()).await
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            collect(sender.send_request(request).await.unwrap()).await
        }
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("the answer came in time")
}

pub(crate) async fn collect(response: Response<hyper::body::Incoming>) -> Response<Bytes> {
    let (mut parts, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    if let Some(trailers) = body.trailers() {
        parts.extensions.insert(Trailers(trailers.clone()));
    }
    Response::from_parts(parts, body.to_bytes())
}

pub(crate) fn request(
    method: Method,
    path: &str,
    headers: &[(&'static str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut request =
        Request::builder().method(method).uri(format!("http://localhost{path}")).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).unwrap()
}

/// Returns a request of `spans` good spans and `bad` invalid ones.
pub(crate) fn traces(spans: usize, bad: usize) -> ExportTraceServiceRequest {
    let span = |n: usize, bad: bool| Span {
        trace_id: if bad { vec![0; 16] } else { vec![n as u8 % 100 + 1; 16] },
        span_id: vec![1; 8],
        name: "GET /orders".to_owned(),
        ..Span::default()
    };
    let spans = (0..spans).map(|n| span(n, false)).chain((0..bad).map(|n| span(n, true))).collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
}

pub(crate) fn proto(spans: usize, bad: usize) -> Vec<u8> {
    traces(spans, bad).encode_to_vec()
}

/// The request of `traces(1, 0)` in OTLP/JSON.
pub(crate) const JSON: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"01010101010101010101010101010101","spanId":"0101010101010101","name":"GET /orders"}]}]}]}"#;

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(plain, 1).unwrap()
}

pub(crate) fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn snappy(plain: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(plain).unwrap()
}

/// Compresses with snappy's framing format, which gRPC clients use.
pub(crate) fn snappy_framed(plain: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(plain).unwrap();
    encoder.into_inner().unwrap()
}

pub(crate) fn lz4(plain: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// Returns a message with its gRPC prefix.
pub(crate) fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    [&[flag][..], &(message.len() as u32).to_be_bytes(), message].concat()
}
