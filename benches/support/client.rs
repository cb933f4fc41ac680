//! A sender with one connection, which waits for each answer.
#![allow(dead_code)] // Each benchmark uses a part.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::Runtime;

/// Maximum wait for an answer. A request with a later answer counts as lost.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Maximum bytes of an answer's body.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// The path of the gRPC method.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// The bytes before a gRPC message: a flag, which is 1 if the message is compressed, and the length.
const PREFIX_BYTES: usize = 5;

/// The answer to a request. An answer that rejects some of the spans counts as refused, because all spans are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Taken,
    Refused,
}

/// A sender. It connects again after a failure.
#[derive(Debug)]
pub(crate) enum Client {
    Http(HttpClient),
    Grpc(GrpcClient),
}

impl Client {
    /// Returns a sender over HTTP/1.1, which compresses its requests if `is_gzip`.
    pub(crate) fn http(endpoint: &str, content_type: &'static str, is_gzip: bool) -> Self {
        Client::Http(HttpClient { endpoint: endpoint.to_owned(), content_type, is_gzip, connection: None })
    }

    /// Returns a sender over gRPC, which compresses its requests if `is_gzip`. Senders may share a runtime.
    pub(crate) fn grpc(endpoint: &str, is_gzip: bool, runtime: Arc<Runtime>) -> Self {
        let url = format!("http://{endpoint}{EXPORT}");
        Client::Grpc(GrpcClient { endpoint: endpoint.to_owned(), url, is_gzip, runtime, connection: None })
    }

    /// Opens the connection.
    pub(crate) fn connect(&mut self) -> io::Result<()> {
        match self {
            Client::Http(client) => client.connection = Some(client.open()?),
            Client::Grpc(client) => client.connection = Some(client.open()?),
        }
        Ok(())
    }

    /// Returns the body of the request that carries `message`.
    pub(crate) fn prepare(&self, message: &[u8]) -> Bytes {
        match self {
            Client::Http(client) => written(Vec::new(), message, client.is_gzip).into(),
            Client::Grpc(client) => framed(message, client.is_gzip),
        }
    }

    /// Sends a body of [`Client::prepare`], and waits for the answer.
    pub(crate) fn send(&mut self, body: Bytes) -> io::Result<Answer> {
        match self {
            Client::Http(client) => client.send(&body),
            Client::Grpc(client) => client.send(body),
        }
    }
}

/// Appends the message to `body`, compressed if `is_gzip`.
fn written(mut body: Vec<u8>, message: &[u8], is_gzip: bool) -> Vec<u8> {
    if is_gzip {
        let mut encoder = GzEncoder::new(body, Compression::fast());
        encoder.write_all(message).expect("memory takes all");
        return encoder.finish().expect("memory takes all");
    }
    body.extend_from_slice(message);
    body
}

/// Returns the message with its gRPC prefix.
fn framed(message: &[u8], is_gzip: bool) -> Bytes {
    let mut body = written(vec![0; PREFIX_BYTES], message, is_gzip);
    let length = (body.len() - PREFIX_BYTES) as u32;
    body[0] = is_gzip.into();
    body[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    body.into()
}

/// A sender over HTTP/1.1.
#[derive(Debug)]
pub(crate) struct HttpClient {
    endpoint: String,
    content_type: &'static str,
    is_gzip: bool,
    connection: Option<BufReader<TcpStream>>,
}

impl HttpClient {
    fn open(&self) -> io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect(&self.endpoint)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
        stream.set_write_timeout(Some(ANSWER_TIME_MAX))?;
        Ok(BufReader::new(stream))
    }

    fn send(&mut self, body: &[u8]) -> io::Result<Answer> {
        let encoding = if self.is_gzip { "content-encoding: gzip\r\n" } else { "" };
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: {}\r\ncontent-type: {}\r\n{encoding}content-length: {}\r\n\r\n",
            self.endpoint,
            self.content_type,
            body.len()
        );
        let mut connection = self.connection.take().map_or_else(|| self.open(), Ok)?;
        connection.get_mut().write_all(head.as_bytes())?;
        connection.get_mut().write_all(body)?;
        let answer = read_answer(&mut connection)?;
        self.connection = Some(connection);
        Ok(answer)
    }
}

/// Reads one answer, which must have a length. An `ExportTraceServiceResponse` that rejects nothing is empty or has an
/// empty `partial_success`.
fn read_answer(connection: &mut BufReader<TcpStream>) -> io::Result<Answer> {
    let mut line = String::new();
    let mut status = None;
    let mut length = 0;
    loop {
        line.clear();
        if connection.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = line.trim_end();
        match text.split_once(':') {
            None if text.is_empty() => break,
            None => status = text.split(' ').nth(1).map(str::to_owned),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
            }
            Some(_) => {}
        }
    }
    if length > ANSWER_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    let whole = [&b""[..], b"{}", b"\n\0", br#"{"partialSuccess":{}}"#].contains(&&body[..]);
    Ok(if status.as_deref() == Some("200") && whole { Answer::Taken } else { Answer::Refused })
}

/// A sender over gRPC.
#[derive(Debug)]
pub(crate) struct GrpcClient {
    endpoint: String,
    url: String,
    is_gzip: bool,
    runtime: Arc<Runtime>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl GrpcClient {
    fn open(&self) -> io::Result<SendRequest<Full<Bytes>>> {
        self.runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(&self.endpoint).await?;
            stream.set_nodelay(true)?;
            let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
            let (sender, connection) = handshake.await.map_err(io::Error::other)?;
            tokio::spawn(connection);
            Ok(sender)
        })
    }

    fn send(&mut self, body: Bytes) -> io::Result<Answer> {
        let mut sender = self.connection.take().map_or_else(|| self.open(), Ok)?;
        let mut request =
            http::Request::post(&self.url).header("content-type", "application/grpc").header("te", "trailers");
        if self.is_gzip {
            request = request.header("grpc-encoding", "gzip");
        }
        let request = request.body(Full::new(body)).map_err(io::Error::other)?;
        let exchange = async {
            sender.ready().await?;
            let answer = sender.send_request(request).await?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await?;
            let status =
                body.trailers().and_then(|trailers| trailers.get("grpc-status")).or(head.headers.get("grpc-status"));
            let is_ok = status.is_some_and(|status| status == "0");
            let message = body.to_bytes();
            let whole = matches!(message.get(PREFIX_BYTES..), Some(b"" | b"\n\0"));
            hyper::Result::Ok(if is_ok && whole { Answer::Taken } else { Answer::Refused })
        };
        let answer = self.runtime.block_on(async { tokio::time::timeout(ANSWER_TIME_MAX, exchange).await });
        let answer = answer.map_err(|_| io::ErrorKind::TimedOut)?.map_err(io::Error::other)?;
        self.connection = Some(sender);
        Ok(answer)
    }
}
