//! Shared parts of the tests of this module: a scripted sink, which is called directly or as a gRPC server, a plain
//! encoder, and kept spans.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span as OtlpSpan;
use parking_lot::Mutex;
use prost::Message;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};

use super::batch::{Batch, Form, Place};
use super::failure::{Cause, Failure};
use super::ledger::DropReason;
use super::retry::{self, Action};
use super::sink::{EncodeSpans, Sink, Written};
use crate::budget::Budget;
use crate::cloud_trace::client::CALLS_PER_MINUTE;
use crate::config::Settings;
use crate::export::settings;
use crate::otlp::ByteRange;
use crate::otlp::altered::AlteredSpans;
use crate::otlp::scan::Scope;
use crate::proto::google::devtools::cloudtrace::v2::trace_service_server::{TraceService, TraceServiceServer};
use crate::proto::google::devtools::cloudtrace::v2::{BatchWriteSpansRequest, Span, TruncatableString};
use crate::sampling::{Keep, Threshold};
use crate::tail::kept::KeptSpans;
use crate::tail::request::{Fragment, HeldSpan, Request as HeldRequest, SpanBytes};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::HeldAmounts;

pub(crate) use spansieve_test_support::sink::with_retry_info;

/// The name of spans that [`Script`] refuses, with their whole batch.
pub(crate) const BAD: &str = "bad";
/// The name of spans that [`PlainEncoder`] cannot encode.
pub(crate) const UNENCODABLE: &str = "unencodable";
/// The name of spans that make [`PlainEncoder`] panic.
pub(crate) const PANIC: &str = "panic";

/// The answer of a sink to one call.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Say(Status),
    /// Stores the spans, but answers with this status.
    StoreAndSay(Status),
    /// Stores the spans after this time.
    Slow(Duration),
    Hang,
}

/// A call as the sink received it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) at: Instant,
    pub(crate) request: BatchWriteSpansRequest,
    pub(crate) metadata: MetadataMap,
}

/// Returns the refusal of a request, if there is one.
type Rule = Box<dyn Fn(&BatchWriteSpansRequest) -> Option<Status> + Send + Sync>;

/// Returns the duration of a call for this number of open calls.
type Latency = Box<dyn Fn(usize) -> Duration + Send + Sync>;

/// Answers calls by its rule, then with the scripted replies, and then like Cloud Trace: it stores the spans, unless
/// one is
/// [`BAD`].
#[derive(Default)]
pub(crate) struct Script {
    rule: Option<Rule>,
    latency: Option<Latency>,
    replies: Mutex<VecDeque<Reply>>,
    calls: Mutex<Vec<Call>>,
    stored: Mutex<HashMap<String, usize>>,
    open_calls: Mutex<(usize, usize)>,
}

impl Script {
    pub(crate) fn new(replies: impl IntoIterator<Item = Reply>) -> Arc<Self> {
        Arc::new(Script { replies: Mutex::new(replies.into_iter().collect()), ..Script::default() })
    }

    pub(crate) fn with_rule(
        rule: impl Fn(&BatchWriteSpansRequest) -> Option<Status> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Script { rule: Some(Box::new(rule)), ..Script::default() })
    }

    /// Appends a reply.
    pub(crate) fn then(&self, reply: Reply) {
        self.replies.lock().push_back(reply);
    }

    pub(crate) fn with_latency(latency: impl Fn(usize) -> Duration + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Script { latency: Some(Box::new(latency)), ..Script::default() })
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().clone()
    }

    /// Returns the sorted names of the stored spans, and the number of spans that were stored again.
    pub(crate) fn stored(&self) -> (Vec<String>, usize) {
        let stored = self.stored.lock();
        let mut names = stored.keys().cloned().collect::<Vec<_>>();
        names.sort();
        (names, stored.values().sum::<usize>() - stored.len())
    }

    /// Returns the largest number of concurrent calls so far.
    pub(crate) fn open_calls_max(&self) -> usize {
        self.open_calls.lock().1
    }

    async fn answer(&self, request: BatchWriteSpansRequest, metadata: MetadataMap) -> Result<(), Status> {
        self.calls.lock().push(Call { at: Instant::now(), request: request.clone(), metadata });
        let open_calls = {
            let mut open = self.open_calls.lock();
            open.0 += 1;
            open.1 = open.1.max(open.0);
            open.0
        };
        if let Some(latency) = &self.latency {
            tokio::time::sleep(latency(open_calls)).await;
        }
        let answer = self.reply(request).await;
        self.open_calls.lock().0 -= 1;
        answer
    }

    async fn reply(&self, request: BatchWriteSpansRequest) -> Result<(), Status> {
        if let Some(status) = self.rule.as_ref().and_then(|rule| rule(&request)) {
            return Err(status);
        }
        let reply = self.replies.lock().pop_front();
        match reply {
            Some(Reply::Say(status)) => return Err(status),
            Some(Reply::Hang) => std::future::pending().await,
            Some(Reply::Slow(delay)) => tokio::time::sleep(delay).await,
            Some(Reply::StoreAndSay(status)) => return self.store(request).and(Err(status)),
            None => {}
        }
        self.store(request)
    }

    fn store(&self, request: BatchWriteSpansRequest) -> Result<(), Status> {
        if let Some(bad) = bad_span(&request) {
            return Err(Status::invalid_argument(format!("{} has no sense", bad.name)));
        }
        let mut stored = self.stored.lock();
        for span in request.spans {
            *stored.entry(span.name).or_default() += 1;
        }
        Ok(())
    }
}

/// Returns the first span of a request that is [`BAD`].
pub(crate) fn bad_span(request: &BatchWriteSpansRequest) -> Option<&Span> {
    request.spans.iter().find(|span| span.display_name.as_ref().is_some_and(|name| name.value == BAD))
}

impl Sink for Arc<Script> {
    async fn write(&self, batch: &Batch) -> Result<Written, Failure> {
        self.answer(decode(batch), MetadataMap::new()).await?;
        Ok(Written::default())
    }

    fn action(&self, code: Code) -> Action {
        if code == Code::AlreadyExists { Action::Done } else { retry::usual(code) }
    }

    fn advice(&self, cause: Cause, project: Option<&str>) -> Option<String> {
        Some(format!("advice on {cause:?} for {}", project.unwrap_or_default()))
    }

    fn calls_per_minute(&self) -> Option<u32> {
        Some(CALLS_PER_MINUTE)
    }
}

/// Serves a script as the gRPC service.
pub(crate) struct Service(pub(crate) Arc<Script>);

#[tonic::async_trait]
impl TraceService for Service {
    async fn batch_write_spans(&self, request: Request<BatchWriteSpansRequest>) -> Result<Response<()>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.0.answer(message, metadata).await.map(Response::new)
    }

    async fn create_span(&self, _: Request<Span>) -> Result<Response<Span>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

/// A server on loopback. Dropping it breaks its connections, as a crash does.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Server {
    /// Serves `script` on `address`; port 0 stands for any port.
    pub(crate) fn start(script: Arc<Script>, address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let service = TraceServiceServer::new(Service(script)).max_decoding_message_size(64 << 20);
        runtime.spawn(async move {
            let incoming =
                tonic::transport::server::TcpIncoming::from(tokio::net::TcpListener::from_std(listener).unwrap());
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await
        });
        Server { address, runtime: Some(runtime) }
    }

    pub(crate) fn any(script: Arc<Script>) -> Self {
        Self::start(script, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub(crate) fn uri(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // This runs on another thread, because it waits until the listener and the connections are closed, and a
            // test's task must not wait.
            std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(5))).join().unwrap();
        }
    }
}

/// A plain encoder. A span becomes its name, and the bytes of the resource are the name of the project.
#[derive(Debug, Default)]
pub(crate) struct PlainEncoder;

impl EncodeSpans for PlainEncoder {
    const FORM: Form = Form::CloudTrace;
    type Origin = (Arc<str>, Vec<u8>);
    type Error = &'static str;

    fn origin(&mut self, span: SpanBytes<'_>) -> Self::Origin {
        let project = std::str::from_utf8(span.resource).unwrap();
        (project.into(), head(project))
    }

    fn place((project, head): &Self::Origin) -> Place<'_> {
        Place { project, resource: &[], head, number: None }
    }

    fn span(
        &mut self,
        (project, _): &Self::Origin,
        span: SpanBytes<'_>,
        _: Keep,
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        let span = OtlpSpan::decode(span.span).unwrap();
        assert_ne!(span.name, PANIC, "as the test asked for");
        let id = u64::from_be_bytes(span.span_id.try_into().unwrap());
        out.extend(record(project, id, &span.name));
        if span.name == UNENCODABLE { Err("no sense in it") } else { Ok(()) }
    }

    fn take_altered(&mut self) -> AlteredSpans {
        AlteredSpans::default()
    }

    fn drop_reason(_: &Self::Error) -> DropReason {
        DropReason::Encode
    }
}

/// Returns the part of a message before the records.
pub(crate) fn head(project: &str) -> Vec<u8> {
    BatchWriteSpansRequest { name: format!("projects/{project}"), spans: Vec::new() }.encode_to_vec()
}

/// Returns one span as a record of a batch.
pub(crate) fn record(project: &str, id: u64, name: &str) -> Vec<u8> {
    let display_name = Some(TruncatableString { value: name.to_owned(), truncated_byte_count: 0 });
    let span = Span { name: span_name(project, id), display_name, ..Span::default() };
    BatchWriteSpansRequest { name: String::new(), spans: vec![span] }.encode_to_vec()
}

/// Returns the default settings with these batches and the own project `p`.
pub(crate) fn export_settings(batch: settings::BatchSettings) -> settings::Export {
    settings::Export { batch, project: Some("p".to_owned()), ..Settings::default().export }
}

/// Returns the resource name of a span.
pub(crate) fn span_name(project: &str, id: u64) -> String {
    format!("projects/{project}/traces/{:032x}/spans/{id:016x}", 1)
}

pub(crate) fn decode(batch: &Batch) -> BatchWriteSpansRequest {
    assert_eq!(batch.form(), Form::CloudTrace);
    BatchWriteSpansRequest::decode(batch.message().clone()).unwrap()
}

/// Returns a kept fragment of `project` with spans of these ids and names. It holds a share of `budget`.
pub(crate) fn kept(budget: &Budget, project: &str, spans: &[(u64, &str)]) -> KeptSpans {
    let mut body = project.as_bytes().to_vec();
    let held = spans.iter().map(|(id, name)| {
        let span = OtlpSpan { span_id: id.to_be_bytes().to_vec(), name: (*name).to_owned(), ..OtlpSpan::default() };
        let offset = body.len() as u32;
        span.encode(&mut body).unwrap();
        HeldSpan::new(ByteRange { offset, len: body.len() as u32 - offset }, 0)
    });
    let held = held.collect::<Box<[_]>>();
    let resource = ByteRange { offset: 0, len: project.len() as u32 };
    let scopes = Box::from([Scope { resource, ..Scope::default() }]);
    let share = budget.force(body.len());
    let count = held.len() as u32;
    let fragment = Fragment::new(HeldRequest::new(body.into(), held, scopes, share), 0, count);
    KeptSpans { fragment, keep: Keep::new(0, Threshold::ALWAYS), hold: None }
}

/// Returns the value of the counter `name` with these labels in `/metrics`.
pub(crate) fn counter(metrics: &Metrics, name: &str, labels: &str) -> u64 {
    let text = metrics.render(HeldAmounts::default());
    let prefix = if labels.is_empty() { format!("{name} ") } else { format!("{name}{{{labels}}} ") };
    text.lines().find_map(|line| line.strip_prefix(&prefix)).map_or(0, |value| value.parse().unwrap())
}

/// Returns the number of exported spans, and of dropped ones by reason (encode, refused, shutdown).
pub(crate) fn settled(metrics: &Metrics) -> (u64, [u64; 3]) {
    let dropped = |reason| counter(metrics, "spansieve_dropped_spans_total", &format!("reason=\"{reason}\""));
    let exported = counter(metrics, "spansieve_exported_spans_total", "");
    (exported, [dropped("encode"), dropped("refused"), dropped("shutdown")])
}

/// Pushes a finished record to a batcher. This cannot fail.
pub(crate) fn push_record(
    batcher: &mut super::batch::Batcher,
    project: &Arc<str>,
    now: std::time::Instant,
    record: &[u8],
) {
    let place = Place { project, resource: &[], head: &head(project), number: None };
    let Ok(()) = batcher.push(place, now, |out| {
        out.extend_from_slice(record);
        Ok::<(), Infallible>(())
    });
}

/// The lines that this thread logs until this value is dropped.
pub(crate) struct Lines {
    text: Arc<Mutex<Vec<u8>>>,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Lines {
    pub(crate) fn capture() -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let writer = Writer(Arc::clone(&text));
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        Lines { text, _guard: tracing::subscriber::set_default(subscriber) }
    }

    pub(crate) fn take(&self) -> Vec<String> {
        let text = std::mem::take(&mut *self.text.lock());
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }
}

#[derive(Clone)]
struct Writer(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
