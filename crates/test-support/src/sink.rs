//! A Cloud Trace with scripted faults: a real gRPC server on loopback whose script has an answer for each call.

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
use spansieve_proto::google::devtools::cloudtrace::v2::{BatchWriteSpansRequest, Span};
use spansieve_proto::google::rpc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};
use tonic::{Code, Status};

/// The span name that makes the server refuse a batch.
pub const BAD: &str = "bad";
/// Time for which a crashed server is away.
pub const CRASH_TIME: Duration = Duration::from_secs(10);
/// Maximum commands that wait in a connection. Each call sends at most one.
const COMMANDS_MAX: usize = 64;

/// The answer to one call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Answers with this status; nothing is stored.
    Say(Status),
    /// Stores the spans, but answers with this status.
    StoreAndSay(Status),
    /// Answers as a proxy: an HTTP status, and the seconds in `Retry-After`. Nothing is stored.
    Proxy(u16, u64),
    /// Answers UNAVAILABLE with these unchanged values of `grpc-status-details-bin`.
    Details(&'static [&'static str]),
    /// Answers with this HTTP/2 answer.
    Raw(Raw),
    /// Stores the spans; the message of the answer has this number of bytes.
    StoreAndSend(usize),
    /// Answers UNAVAILABLE with a status message of this number of bytes.
    Verbose(usize),
    /// Stores the spans; the answer ends before its status.
    StoreAndBreakOff,
    /// Stores the spans after this time.
    After(Duration),
    /// Never answers; other calls of the connection continue.
    Hang,
    /// Resets the connection.
    Reset,
    /// Stores the spans and resets the connection before the answer.
    StoreAndReset,
    /// Stores the spans; the connection accepts no further calls.
    GoAway,
    /// Sends nothing more on the connection, which stays open.
    Silence,
    /// Resets all connections, and does not listen for [`CRASH_TIME`].
    Crash,
}

/// An HTTP/2 answer.
#[derive(Clone, Debug)]
pub struct Raw {
    pub http: u16,
    pub head: Vec<(&'static str, &'static str)>,
    pub data: Bytes,
    /// The trailers; if there are none, no trailers are sent.
    pub trailers: Vec<(&'static str, &'static str)>,
    /// True if the spans are stored.
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

/// A limit of a message in bytes, which applies before the script.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// The limit of a proxy, which answers HTTP 413 with a page.
    Proxy(usize),
    /// The limit of the server, which answers in the same way as grpc-go.
    Server(usize),
}

/// A command from a call to its connection.
enum Command {
    Reset,
    GoAway,
    Silence,
    Crash,
}

/// The spans that were stored, and the calls.
#[derive(Debug, Default)]
pub struct Written {
    /// The spans by name (project, trace and span), each with the number of times that it came.
    pub spans: BTreeMap<String, (Span, usize)>,
    /// Names of spans that came again with different content.
    pub changed: BTreeSet<String>,
    /// Names of the headers of all calls.
    pub headers: BTreeSet<String>,
    pub calls: usize,
}

/// A running server.
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
    /// Starts a server that listens after `away` and follows `script`. Later calls succeed.
    pub async fn start(away: Duration, script: Vec<Answer>) -> Self {
        Self::start_at(free_address().await, away, script)
    }

    /// Starts such a server on `address`.
    pub fn start_at(address: SocketAddr, away: Duration, script: Vec<Answer>) -> Self {
        Self::with_limit(address, away, script, None)
    }

    /// Starts such a server on `address` with a limit of messages.
    pub fn with_limit(address: SocketAddr, away: Duration, script: Vec<Answer>, limit: Option<Limit>) -> Self {
        let shared = Arc::new(Shared { limit, script: Mutex::new(script.into()), written: Mutex::default() });
        let task = tokio::spawn(listen(address, away, Arc::clone(&shared)));
        Sink { address, shared, task }
    }

    pub fn written(&self) -> std::sync::MutexGuard<'_, Written> {
        self.shared.written.lock().unwrap()
    }

    /// Returns the number of answers in the script that are not used yet.
    pub fn answers_left(&self) -> usize {
        self.shared.script.lock().unwrap().len()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns an address on which no process listens.
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

/// Serves a connection until it ends. Returns true if the whole server must crash with it.
async fn serve(stream: TcpStream, shared: Arc<Shared>) -> bool {
    // A connection that is dropped is reset.
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
    // A gRPC message has a prefix of five bytes.
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

/// Sends a command to the connection. The call then gets no answer: the connection ends or sends nothing more.
async fn command(commands: &mpsc::Sender<Command>, command: Command) -> ! {
    commands.send(command).await.unwrap_or_else(|_| unreachable!("a connection outlives its calls"));
    std::future::pending().await
}

/// Returns a success: a message of this number of bytes (`google.protobuf.Empty` has none), and the status in the
/// trailers.
fn stored(bytes: usize) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
    let prefix = [&[0], &u32::try_from(bytes).unwrap().to_be_bytes()[..]].concat();
    let message = Bytes::from([prefix, vec![0; bytes]].concat());
    let body = Full::new(message).with_trailers(std::future::ready(Some(Ok(trailers))));
    Response::builder().header("content-type", "application/grpc").body(body.boxed_unsync()).unwrap()
}

/// Stores a batch as Cloud Trace does: all spans or none, and each span once by its name.
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

/// Returns a status with a `google.rpc.RetryInfo`.
pub fn with_retry_info(code: Code, seconds: i64) -> Status {
    let info = rpc::RetryInfo { retry_delay: Some(prost_types::Duration { seconds, nanos: 0 }) };
    let any = prost_types::Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: info.encode_to_vec(),
    };
    let details = rpc::Status { code: code as i32, message: String::new(), details: vec![any] };
    Status::with_details(code, "later", details.encode_to_vec().into())
}
