//! The sink of `benches/*.py`: a Cloud Trace v2 server that records what it gets, cheap enough to share a core with the
//! load generator. It reads only the parts of a span that show if the right spans arrived.
//!
//! One port (h2c and HTTP/1.1) takes `BatchWriteSpans`, and answers `GET /stats` (one JSON object), `GET /traces` (for
//! each trace a line with its id, spans, duplicates, errors and milliseconds) and `GET /reset`.
#![allow(missing_docs, clippy::expect_used)]

use std::collections::hash_map::RandomState;
use std::convert::Infallible;
use std::fmt::Write;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use clap::Parser;
use flate2::read::GzDecoder;
use hashbrown::{HashMap, HashSet};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use spansieve_otlp::wire::{Reader, WireError};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

const METHOD: &str = "/google.devtools.cloudtrace.v2.TraceService/BatchWriteSpans";
/// The bytes before a gRPC message: a flag, which is 1 if the message is compressed, and the length.
const PREFIX_BYTES: usize = 5;
/// Maximum bytes of an inflated message. Exporters send far fewer.
const MESSAGE_BYTES_MAX: u64 = 256 << 20;
/// Windows in which a whole batch fits, so that the sink never keeps an exporter waiting.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// The fields that are read: of `BatchWriteSpansRequest`, `Span`, `Timestamp` and `google.rpc.Status`.
const REQUEST_SPANS: u32 = 2;
const SPAN_NAME: u32 = 1;
const SPAN_START: u32 = 5;
const SPAN_END: u32 = 6;
const SPAN_STATUS: u32 = 11;
const TIMESTAMP_SECONDS: u32 = 1;
const TIMESTAMP_NANOS: u32 = 2;
const STATUS_CODE: u32 = 1;

#[derive(Parser)]
struct Arguments {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:9443")]
    listen: String,
    /// Passed by cargo, and ignored.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The received spans of a trace.
struct Trace {
    spans: u64,
    duplicates: u64,
    errors: u64,
    start_ns: u64,
    end_ns: u64,
}

/// The received spans. They are forgotten at `/reset`.
#[derive(Default)]
struct Received {
    batches: u64,
    spans: u64,
    duplicates: u64,
    /// Spans whose name is not that of a span, and batches that are not protobuf.
    malformed: u64,
    traces: HashMap<u128, Trace, RandomState>,
    span_ids: HashSet<u64, RandomState>,
}

impl Received {
    fn batch(&mut self, message: &[u8]) -> Result<(), WireError> {
        self.batches += 1;
        let mut reader = Reader::new(message);
        while let Some((number, value)) = reader.field()? {
            if number == REQUEST_SPANS {
                let span = Span::read(value.len_delimited()?)?;
                self.spans += 1;
                self.add(&span);
            }
        }
        Ok(())
    }

    fn add(&mut self, span: &Span) {
        let Some((trace_id, span_id)) = span.ids else {
            self.malformed += 1;
            return;
        };
        let is_duplicate = !self.span_ids.insert(span_id);
        self.duplicates += u64::from(is_duplicate);
        let trace = self.traces.entry(trace_id).or_insert(Trace {
            spans: 0,
            duplicates: 0,
            errors: 0,
            start_ns: u64::MAX,
            end_ns: 0,
        });
        trace.spans += 1;
        trace.duplicates += u64::from(is_duplicate);
        trace.errors += u64::from(span.is_error);
        trace.start_ns = trace.start_ns.min(span.start_ns);
        trace.end_ns = trace.end_ns.max(span.end_ns);
    }

    fn stats(&self) -> String {
        serde_json::json!({
            "batches": self.batches,
            "spans": self.spans,
            "duplicates": self.duplicates,
            "malformed": self.malformed,
            "traces": self.traces.len(),
        })
        .to_string()
    }

    fn traces(&self) -> String {
        self.traces.iter().fold(String::new(), |mut lines, (id, trace)| {
            let Trace { spans, duplicates, errors, .. } = trace;
            let milliseconds = trace.end_ns.saturating_sub(trace.start_ns) / 1_000_000;
            let _ = writeln!(lines, "{id:032x} {spans} {duplicates} {errors} {milliseconds}");
            lines
        })
    }
}

/// The parts of a span that are recorded.
#[derive(Default)]
struct Span {
    /// The trace id and the span id, unless the name is not that of a span.
    ids: Option<(u128, u64)>,
    start_ns: u64,
    end_ns: u64,
    is_error: bool,
}

impl Span {
    fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let mut span = Span::default();
        let mut reader = Reader::new(bytes);
        while let Some((number, value)) = reader.field()? {
            match number {
                SPAN_NAME => span.ids = ids(value.len_delimited()?),
                SPAN_START => span.start_ns = nanoseconds(value.len_delimited()?)?,
                SPAN_END => span.end_ns = nanoseconds(value.len_delimited()?)?,
                SPAN_STATUS => span.is_error = varint(value.len_delimited()?, STATUS_CODE)? != 0,
                _ => {}
            }
        }
        Ok(span)
    }
}

/// Returns the ids in a name `projects/PROJECT/traces/TRACE/spans/SPAN`.
fn ids(name: &[u8]) -> Option<(u128, u64)> {
    let mut parts = std::str::from_utf8(name).ok()?.split('/').skip(3).step_by(2);
    let (trace, span) = (parts.next()?, parts.next()?);
    Some((u128::from_str_radix(trace, 16).ok()?, u64::from_str_radix(span, 16).ok()?))
}

fn nanoseconds(timestamp: &[u8]) -> Result<u64, WireError> {
    Ok(varint(timestamp, TIMESTAMP_SECONDS)? * 1_000_000_000 + varint(timestamp, TIMESTAMP_NANOS)?)
}

/// Returns the varint of the field `wanted` of a message. The default is 0.
fn varint(message: &[u8], wanted: u32) -> Result<u64, WireError> {
    let mut found = 0;
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.field()? {
        if number == wanted {
            found = value.varint()?;
        }
    }
    Ok(found)
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

fn page(text: String) -> Answer {
    Response::new(Full::from(text).boxed_unsync())
}

/// Returns the answer to a call: an empty message, or no message if the call failed.
fn reply(status: &'static str) -> Answer {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    let message: &'static [u8] = if status == "0" { &[0; PREFIX_BYTES] } else { &[] };
    let body = Full::from(message).with_trailers(async { Some(Ok(trailers)) });
    let mut answer = Response::new(body.boxed_unsync());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    answer
}

/// Returns the message of a call.
// The length is limited.
#[allow(clippy::disallowed_methods)]
fn message(mut body: Bytes) -> Option<Bytes> {
    let is_compressed = body.try_get_u8().ok()? == 1;
    if body.try_get_u32().ok()? as usize != body.len() {
        return None;
    }
    if !is_compressed {
        return Some(body);
    }
    let mut message = Vec::new();
    GzDecoder::new(body.reader()).take(MESSAGE_BYTES_MAX).read_to_end(&mut message).ok()?;
    Some(message.into())
}

async fn answer(received: Arc<Mutex<Received>>, request: Request<Incoming>) -> Result<Answer, hyper::Error> {
    let path = request.uri().path();
    if path != METHOD {
        let mut received = received.lock();
        return Ok(match path {
            "/stats" => page(received.stats()),
            "/traces" => page(received.traces()),
            "/reset" => {
                *received = Received::default();
                page(String::new())
            }
            _ => reply("12"), // UNIMPLEMENTED
        });
    }
    let body = request.into_body().collect().await?.to_bytes();
    let mut received = received.lock();
    let is_read = message(body).is_some_and(|message| received.batch(&message).is_ok());
    received.malformed += u64::from(!is_read);
    Ok(reply(if is_read { "0" } else { "3" })) // INVALID_ARGUMENT
}

async fn serve(listen: &str) -> io::Result<()> {
    let received: Arc<Mutex<Received>> = Arc::default();
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let received = Arc::clone(&received);
        tokio::spawn(async move {
            let mut server = auto::Builder::new(TokioExecutor::new());
            server.http1().timer(TokioTimer::new());
            server
                .http2()
                .timer(TokioTimer::new())
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
            let service = service_fn(|request| answer(Arc::clone(&received), request));
            // A broken connection is the exporter's to report.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    Builder::new_current_thread().enable_all().build()?.block_on(serve(&arguments.listen))
}
