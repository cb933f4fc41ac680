//! A Cloud Trace that fails as it is told: a real gRPC server on loopback whose calls follow a script, call by call.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::Message;
use spansieve::proto::google::devtools::cloudtrace::v2::{BatchWriteSpansRequest, Span};
use spansieve::proto::google::rpc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};
use tonic::{Code, Status};

/// A batch with a span of this name is refused.
pub const BAD: &str = "bad";
/// How long a server that crashed is away.
pub const CRASH_TIME: Duration = Duration::from_secs(10);
/// Connections wait for their commands; each call sends one at most.
const COMMANDS_MAX: usize = 64;

/// What happens to one call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This status, and nothing is stored.
    Say(Status),
    /// The spans are stored, and this status says otherwise.
    StoreAndSay(Status),
    /// A proxy in front answers: a status of HTTP, and seconds in `Retry-After`.
    Proxy(u16, u64),
    /// UNAVAILABLE with these values of `grpc-status-details-bin`, as they are.
    Details(&'static [&'static str]),
    /// This answer.
    Raw(Raw),
    /// The spans are stored, and the message of the answer has so many bytes.
    StoreAndSend(usize),
    /// UNAVAILABLE with a message of so many bytes.
    Verbose(usize),
    /// The spans are stored, and the answer breaks off before its status.
    StoreAndBreakOff,
    /// The spans are stored after this time.
    After(Duration),
    /// Nothing, ever; other calls of the connection go on.
    Hang,
    /// The connection is reset.
    Reset,
    /// The spans are stored, and the connection is reset before the answer.
    StoreAndReset,
    /// The spans are stored, and the connection takes no more calls.
    GoAway,
    /// The connection stays open and says nothing any more.
    Silence,
    /// All connections are reset, and nobody listens for [`CRASH_TIME`].
    Crash,
}

/// An answer as HTTP/2 has it.
#[derive(Clone, Debug)]
pub struct Raw {
    pub http: u16,
    pub head: Vec<(&'static str, &'static str)>,
    pub data: Bytes,
    /// None are sent if there are none.
    pub trailers: Vec<(&'static str, &'static str)>,
    /// The spans are stored.
    pub stores: bool,
}

impl Raw {
    fn response(self) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
        let header = |(name, value): (&str, &str)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap());
        let trailers = HeaderMap::from_iter(self.trailers.into_iter().map(header));
        let body = match (self.data.is_empty(), trailers.is_empty()) {
            (true, true) => Empty::new().boxed_unsync(),
            (_, true) => Full::new(self.data).boxed_unsync(),
            _ => Full::new(self.data).with_trailers(std::future::ready(Some(Ok(trailers)))).boxed_unsync(),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.http.try_into().unwrap();
        response.headers_mut().extend(self.head.into_iter().map(header).map(|(name, value)| (Some(name), value)));
        response
    }
}

/// A limit of a message in bytes, whatever the script says.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// Of a proxy, which answers HTTP 413 with a page.
    Proxy(usize),
    /// Of the server, which answers as grpc-go does.
    Server(usize),
}

/// What a call asks of its connection.
enum Command {
    Reset,
    GoAway,
    Silence,
    Crash,
}

/// What has been written, and how.
#[derive(Debug, Default)]
pub struct Written {
    /// The spans by name (project, trace and span), each with how often it came.
    pub spans: BTreeMap<String, (Span, usize)>,
    /// Names of spans that came again with other contents.
    pub changed: BTreeSet<String>,
    /// Names of the headers of all calls.
    pub headers: BTreeSet<String>,
    pub calls: usize,
}

/// The running server.
pub struct Sink {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    limit: Option<Limit>,
    script: Mutex<VecDeque<Answer>>,
    written: Mutex<Written>,
}

impl Sink {
    /// A server that starts to listen after `away` and follows `script`; calls after its end are answered well.
    pub async fn start(away: Duration, script: Vec<Answer>) -> Self {
        Self::start_at(free_address().await, away, script)
    }

    /// The same on `address`.
    pub fn start_at(address: SocketAddr, away: Duration, script: Vec<Answer>) -> Self {
        Self::with_limit(address, away, script, None)
    }

    /// The same with a limit of messages.
    pub fn with_limit(address: SocketAddr, away: Duration, script: Vec<Answer>, limit: Option<Limit>) -> Self {
        let shared = Arc::new(Shared { limit, script: Mutex::new(script.into()), written: Mutex::default() });
        let task = tokio::spawn(listen(address, away, Arc::clone(&shared)));
        Sink { address, shared, task }
    }

    pub fn written(&self) -> std::sync::MutexGuard<'_, Written> {
        self.shared.written.lock().unwrap()
    }

    /// Answers of the script that no call has had.
    pub fn answers_left(&self) -> usize {
        self.shared.script.lock().unwrap().len()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address that nobody listens on.
pub async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn listen(address: SocketAddr, mut away: Duration, shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(away).await;
        let listener = TcpListener::bind(address).await.unwrap();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    connections.spawn(serve(accepted.unwrap().0, Arc::clone(&shared)));
                }
                Some(Ok(true)) = connections.join_next() => break,
            }
        }
        connections.shutdown().await;
        away = CRASH_TIME;
    }
}

/// Serves a connection until it ends; whether it has to take the whole server with it.
async fn serve(stream: TcpStream, shared: Arc<Shared>) -> bool {
    // What is dropped is reset.
    stream.set_zero_linger().unwrap();
    let (sender, mut commands) = mpsc::channel(COMMANDS_MAX);
    let service = service_fn(move |request| answer(request, Arc::clone(&shared), sender.clone()));
    let http = http2::Builder::new(TokioExecutor::new()).timer(TokioTimer::new()).clone();
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    loop {
        tokio::select! {
            _ = connection.as_mut() => return false,
            Some(command) = commands.recv() => match command {
                Command::Reset => return false,
                Command::GoAway => connection.as_mut().graceful_shutdown(),
                Command::Silence => std::future::pending().await,
                Command::Crash => return true,
            }
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, hyper::Error> {
    let (head, body) = request.into_parts();
    // A gRPC message has five bytes of its own in front.
    let message = body.collect().await?.to_bytes().slice(5..);
    let bytes = message.len();
    let request = BatchWriteSpansRequest::decode(message).unwrap();
    {
        let mut written = shared.written.lock().unwrap();
        written.calls += 1;
        written.headers.extend(head.headers.keys().map(ToString::to_string));
    }
    let scripted = shared.script.lock().unwrap().pop_front();
    let status = match scripted {
        _ if matches!(shared.limit, Some(Limit::Proxy(limit)) if bytes > limit) => {
            let page = Full::new(Bytes::from_static(b"<html>413 Request Entity Too Large</html>"));
            let response =
                Response::builder().status(413).header("server", "nginx").header("content-type", "text/html");
            return Ok(response.body(page.boxed_unsync()).unwrap());
        }
        _ if matches!(shared.limit, Some(Limit::Server(limit)) if bytes > limit) => {
            Status::resource_exhausted("grpc: received message larger than max (5000 vs. 1000)")
        }
        Some(Answer::Raw(raw)) => {
            if raw.stores {
                store(&shared, request).unwrap();
            }
            return Ok(raw.response());
        }
        Some(Answer::Details(values)) => {
            let mut response =
                Response::builder().header("content-type", "application/grpc").header("grpc-status", "14");
            for value in values {
                response = response.header("grpc-status-details-bin", *value);
            }
            return Ok(response.body(Empty::new().boxed_unsync()).unwrap());
        }
        Some(Answer::StoreAndSend(bytes)) => {
            store(&shared, request).unwrap();
            return Ok(stored(bytes));
        }
        Some(Answer::Verbose(bytes)) => Status::unavailable("long ".repeat(bytes / 5)),
        Some(Answer::StoreAndBreakOff) => {
            store(&shared, request).unwrap();
            let response = Response::builder().header("content-type", "application/grpc");
            return Ok(response.body(Full::new(Bytes::from_static(&[0; 5])).boxed_unsync()).unwrap());
        }
        Some(Answer::Proxy(status, seconds)) => {
            let response = Response::builder().status(status).header("retry-after", seconds);
            return Ok(response.body(Empty::new().boxed_unsync()).unwrap());
        }
        Some(Answer::Say(status)) => status,
        Some(Answer::StoreAndSay(status)) => store(&shared, request).err().unwrap_or(status),
        Some(Answer::After(delay)) => {
            tokio::time::sleep(delay).await;
            store(&shared, request).err().unwrap_or(Status::ok(""))
        }
        Some(Answer::Hang) => std::future::pending().await,
        Some(Answer::Reset) => command(&commands, Command::Reset).await,
        Some(Answer::Silence) => command(&commands, Command::Silence).await,
        Some(Answer::Crash) => command(&commands, Command::Crash).await,
        Some(Answer::StoreAndReset) => {
            store(&shared, request).unwrap();
            command(&commands, Command::Reset).await
        }
        Some(Answer::GoAway) => {
            commands.send(Command::GoAway).await.unwrap();
            store(&shared, request).err().unwrap_or(Status::ok(""))
        }
        None => store(&shared, request).err().unwrap_or(Status::ok("")),
    };
    Ok(if status.code() == Code::Ok { stored(0) } else { status.into_http::<Empty<_>>().map(BodyExt::boxed_unsync) })
}

/// The call has no answer: its connection ends, or falls silent.
async fn command(commands: &mpsc::Sender<Command>, command: Command) -> ! {
    commands.send(command).await.unwrap_or_else(|_| unreachable!("a connection outlives its calls"));
    std::future::pending().await
}

/// A message of so many bytes (`google.protobuf.Empty` has none), and the status in the trailers.
fn stored(bytes: usize) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
    let prefix = [&[0], &u32::try_from(bytes).unwrap().to_be_bytes()[..]].concat();
    let message = Bytes::from([prefix, vec![0; bytes]].concat());
    let body = Full::new(message).with_trailers(std::future::ready(Some(Ok(trailers))));
    Response::builder().header("content-type", "application/grpc").body(body.boxed_unsync()).unwrap()
}

/// As Cloud Trace does: all of them or none, and each span once by its name.
fn store(shared: &Shared, request: BatchWriteSpansRequest) -> Result<(), Status> {
    let is_bad = |span: &&Span| span.display_name.as_ref().is_some_and(|name| name.value == BAD);
    if let Some(bad) = request.spans.iter().find(is_bad) {
        return Err(Status::invalid_argument(format!("{} has no sense", bad.name)));
    }
    let mut written = shared.written.lock().unwrap();
    for span in request.spans {
        let (first, count) = written.spans.entry(span.name.clone()).or_insert_with(|| (span.clone(), 0));
        *count += 1;
        if *first != span {
            written.changed.insert(span.name);
        }
    }
    Ok(())
}

/// A status with a `google.rpc.RetryInfo`.
pub fn with_retry_info(code: Code, seconds: i64) -> Status {
    let info = rpc::RetryInfo { retry_delay: Some(prost_types::Duration { seconds, nanos: 0 }) };
    let any = prost_types::Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: info.encode_to_vec(),
    };
    let details = rpc::Status { code: code as i32, message: String::new(), details: vec![any] };
    Status::with_details(code, "later", details.encode_to_vec().into())
}
