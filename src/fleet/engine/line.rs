//! A connection to one server: TCP, TLS, the sign-in, and a limit on the bytes of each answer. The client reads a whole answer
//! before it looks at it, so without the limit another program could make it take as much memory as it likes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, RedisError, RedisResult, Value};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{ANSWER_TIMEOUT, EngineError, READ_BLOCK};
use crate::settings::values;

/// The most bytes of an answer that has neither batches nor members.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    host: String,
    port: u16,
}

const DEFAULT_PORT: u16 = 6379;

impl Node {
    /// Reads `host[:port]`.
    pub(super) fn read(address: &str) -> Option<Self> {
        let (host, port) = values::host_and_port(address)?;
        Some(Node { host: host.to_owned(), port: port.unwrap_or(DEFAULT_PORT) })
    }

    /// Reads the address to which the server `self` redirects. Without a host, it is that of `self`; IPv6 comes without
    /// brackets.
    pub(super) fn redirected(&self, address: &str) -> Option<Self> {
        let (host, port) = address.rsplit_once(':')?;
        let host = match host {
            "" | "?" => self.host.clone(),
            _ if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
            _ => host.to_owned(),
        };
        Node::read(&format!("{host}:{port}"))
    }

    /// The host without the brackets of IPv6.
    fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// A connection to one server.
pub(super) struct Line {
    node: Node,
    login: RedisConnectionInfo,
    redis: MultiplexedConnection,
    meter: Arc<Meter>,
    driver: JoinHandle<()>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Line {
    /// Connects and signs in.
    pub(super) async fn open(
        node: &Node,
        tls: Option<&TlsConnector>,
        login: &RedisConnectionInfo,
    ) -> Result<Self, EngineError> {
        let failed = |cause| EngineError::Connect { node: node.to_string(), cause };
        let stream = dial(node, tls).await.map_err(failed)?;
        let meter = Arc::new(Meter::default());
        meter.allow(ANSWER_BYTES_MAX);
        let stream = Metered { stream, meter: Arc::clone(&meter) };
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER_TIMEOUT + READ_BLOCK));
        let signed_in = timeout(ANSWER_TIMEOUT, MultiplexedConnection::new_with_config(login, stream, config)).await;
        let (redis, driver) = signed_in.map_err(|_| failed(late("no answer to the sign-in")))??;
        Ok(Line { node: node.clone(), login: login.clone(), redis, meter, driver: tokio::spawn(driver) })
    }

    /// Returns true if the connection has signed in with this password.
    pub(super) fn has_password(&self, password: &str) -> bool {
        self.login.password() == Some(password)
    }

    /// Signs in again.
    pub(super) async fn sign_in(&mut self, login: RedisConnectionInfo) -> Result<(), EngineError> {
        let mut command = redis::cmd("AUTH");
        command.arg(login.username()).arg(login.password());
        self.query(&command, ANSWER_BYTES_MAX).await?;
        self.login = login;
        Ok(())
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// Returns the answer to a command. It has at most `bytes_max` bytes.
    pub(super) async fn query(&mut self, command: &Cmd, bytes_max: usize) -> Result<Value, EngineError> {
        self.meter.allow(bytes_max);
        let answer = command.query_async(&mut self.redis).await;
        answer.map_err(|error| self.explained(error))
    }

    /// Returns the answer of a server that takes over the keys of the command at present.
    pub(super) async fn ask(&mut self, command: &Cmd, bytes_max: usize) -> Result<Value, EngineError> {
        let mut pipe = redis::pipe();
        pipe.ignore_errors().cmd("ASKING").ignore().add_command(command.clone());
        let answers = self.query_all(&pipe, bytes_max).await?;
        answers.into_iter().next().unwrap_or(Ok(Value::Nil)).map_err(EngineError::Redis)
    }

    /// Returns the answers to several commands. Together, they have at most `bytes_max` bytes.
    pub(super) async fn query_all(
        &mut self,
        pipe: &Pipeline,
        bytes_max: usize,
    ) -> Result<Vec<RedisResult<Value>>, EngineError> {
        self.meter.allow(bytes_max);
        let answers = pipe.query_async(&mut self.redis).await;
        answers.map_err(|error| self.explained(error))
    }

    fn explained(&self, error: RedisError) -> EngineError {
        if self.meter.is_exceeded() { EngineError::TooLarge } else { EngineError::Redis(error) }
    }
}

async fn dial(node: &Node, tls: Option<&TlsConnector>) -> io::Result<Box<dyn Socket>> {
    let connect = TcpStream::connect((node.bare_host(), node.port));
    let stream = timeout(ANSWER_TIMEOUT, connect).await.map_err(|_| late("no answer"))??;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(node.bare_host().to_owned()).map_err(io::Error::other)?;
    let secured = timeout(ANSWER_TIMEOUT, tls.connect(name, stream)).await;
    let secured =
        secured.map_err(|_| late("no answer to the start of TLS; does the server have TLS at this port?"))??;
    Ok(Box::new(secured))
}

fn late(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, text)
}

/// The bytes that may still come.
#[derive(Debug, Default)]
struct Meter(AtomicUsize);

const EXCEEDED: usize = usize::MAX;

impl Meter {
    fn allow(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// Takes the bytes that came. Returns false if they are too many.
    fn take(&self, bytes: usize) -> bool {
        let is_good = self.0.load(Ordering::Relaxed) >= bytes && !self.is_exceeded();
        let left = if is_good { self.0.load(Ordering::Relaxed) - bytes } else { EXCEEDED };
        self.0.store(left, Ordering::Relaxed);
        is_good
    }

    fn is_exceeded(&self) -> bool {
        self.0.load(Ordering::Relaxed) == EXCEEDED
    }
}

/// A stream that fails once more bytes come than the meter allows.
struct Metered {
    stream: Box<dyn Socket>,
    meter: Arc<Meter>,
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let is_good = self.meter.take(buf.filled().len() - before);
        Poll::Ready(if is_good { Ok(()) } else { Err(io::Error::other("the answer is too large")) })
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
