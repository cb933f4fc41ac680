//! What the tests of this room share: a sink that answers as it is told, directly or as a gRPC server, a plain
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
use crate::config::{Settings, settings};
use crate::otlp::ByteRange;
use crate::otlp::altered::AlteredSpans;
use crate::otlp::scan::Scope;
use crate::proto::google::devtools::cloudtrace::v2::trace_service_server::{TraceService, TraceServiceServer};
use crate::proto::google::devtools::cloudtrace::v2::{BatchWriteSpansRequest, Span, TruncatableString};
use crate::proto::google::rpc;
use crate::sampling::{Keep, Threshold};
use crate::tail::kept::KeptSpans;
use crate::tail::request::{Fragment, HeldSpan, Request as HeldRequest, SpanBytes};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::HeldAmounts;

/// Spans of this name are refused by [`Script`], with their whole batch.
pub(crate) const BAD: &str = "bad";
/// Spans of this name cannot be encoded by [`PlainEncoder`].
pub(crate) const UNENCODABLE: &str = "unencodable";
/// Spans of this name make [`PlainEncoder`] panic.
pub(crate) const PANIC: &str = "panic";

/// What a sink says to one call.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Say(Status),
    /// Stores the spans, but says this.
    StoreAndSay(Status),
    /// Stores the spans after this time.
    Slow(Duration),
    Hang,
}

/// A call as the sink saw it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) at: Instant,
    pub(crate) request: BatchWriteSpansRequest,
    pub(crate) metadata: MetadataMap,
}

/// What is wrong with a request, if anything.
type Rule = Box<dyn Fn(&BatchWriteSpansRequest) -> Option<Status> + Send + Sync>;

/// How long a call takes, by the number of calls that are open.
type Latency = Box<dyn Fn(usize) -> Duration + Send + Sync>;

/// Answers calls by its rule, then with the scripted replies, then as Cloud Trace would: stores spans, unless one is [`BAD`].
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

    /// The names of the stored spans, sorted, and how often one was stored again.
    pub(crate) fn stored(&self) -> (Vec<String>, usize) {
        let stored = self.stored.lock();
        let mut names = stored.keys().cloned().collect::<Vec<_>>();
        names.sort();
        (names, stored.values().sum::<usize>() - stored.len())
    }

    /// The most calls that were open at a time.
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

/// The first span of a request that is [`BAD`].
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

/// A script as the gRPC service.
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

/// A server on loopback; dropping it cuts its connections, as a crash does.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Server {
    /// Serves `script` on `address` (port 0: any).
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
            // On a thread of its own: it waits until listener and connections are gone, which a test's task must not.
            std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(5))).join().unwrap();
        }
    }
}

/// A plain encoder: a name, and the project that the resource bytes spell.
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

/// What stands before the records of a batch.
pub(crate) fn head(project: &str) -> Vec<u8> {
    BatchWriteSpansRequest { name: format!("projects/{project}"), spans: Vec::new() }.encode_to_vec()
}

/// One span as a record of a batch.
pub(crate) fn record(project: &str, id: u64, name: &str) -> Vec<u8> {
    let display_name = Some(TruncatableString { value: name.to_owned(), truncated_byte_count: 0 });
    let span = Span { name: span_name(project, id), display_name, ..Span::default() };
    BatchWriteSpansRequest { name: String::new(), spans: vec![span] }.encode_to_vec()
}

/// The default settings with these batches and the own project `p`.
pub(crate) fn export_settings(batch: settings::BatchSettings) -> settings::Export {
    settings::Export { batch, project: Some("p".to_owned()), ..Settings::default().export }
}

/// The resource name of a span.
pub(crate) fn span_name(project: &str, id: u64) -> String {
    format!("projects/{project}/traces/{:032x}/spans/{id:016x}", 1)
}

pub(crate) fn decode(batch: &Batch) -> BatchWriteSpansRequest {
    assert_eq!(batch.form(), Form::CloudTrace);
    BatchWriteSpansRequest::decode(batch.message().clone()).unwrap()
}

/// A kept fragment of `project` with spans of these ids and names, with its share of `budget`.
pub(crate) fn kept(budget: &Budget, project: &str, spans: &[(u64, &str)]) -> KeptSpans {
    let mut body = project.as_bytes().to_vec();
    let held = spans.iter().map(|(id, name)| {
        let span = OtlpSpan { span_id: id.to_be_bytes().to_vec(), name: (*name).to_owned(), ..OtlpSpan::default() };
        let offset = body.len() as u32;
        span.encode(&mut body).unwrap();
        HeldSpan { span: ByteRange { offset, len: body.len() as u32 - offset }, scope: 0 }
    });
    let held = held.collect::<Box<[_]>>();
    let resource = ByteRange { offset: 0, len: project.len() as u32 };
    let scopes = Box::from([Scope { resource, ..Scope::default() }]);
    let share = budget.force(body.len());
    let count = held.len() as u32;
    let fragment = Fragment::new(HeldRequest::new(body.into(), held, scopes, share), 0, count);
    KeptSpans { fragment, keep: Keep::new(0, Threshold::ALWAYS), hold: None }
}

/// A status with a `google.rpc.RetryInfo`.
pub(crate) fn with_retry_info(code: Code, seconds: i64) -> Status {
    let info = rpc::RetryInfo { retry_delay: Some(prost_types::Duration { seconds, nanos: 0 }) };
    let any = prost_types::Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: info.encode_to_vec(),
    };
    let details = rpc::Status { code: code as i32, message: String::new(), details: vec![any] };
    Status::with_details(code, "later", details.encode_to_vec().into())
}

/// The value of the counter `name` with the labels `labels` as `/metrics` writes them.
pub(crate) fn counter(metrics: &Metrics, name: &str, labels: &str) -> u64 {
    let text = metrics.render(HeldAmounts::default());
    let prefix = if labels.is_empty() { format!("{name} ") } else { format!("{name}{{{labels}}} ") };
    text.lines().find_map(|line| line.strip_prefix(&prefix)).map_or(0, |value| value.parse().unwrap())
}

/// Exported spans, and dropped ones by reason (encode, refused, shutdown).
pub(crate) fn settled(metrics: &Metrics) -> (u64, [u64; 3]) {
    let dropped = |reason| counter(metrics, "spansieve_dropped_spans_total", &format!("reason=\"{reason}\""));
    let exported = counter(metrics, "spansieve_exported_spans_total", "");
    (exported, [dropped("encode"), dropped("refused"), dropped("shutdown")])
}

/// A pusher that cannot fail, for batches of ready records.
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

/// The lines that this thread logs from now on, until it is dropped.
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
