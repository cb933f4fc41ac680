//! A Cloud Trace that accepts and records all spans.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use spansieve::proto::google::devtools::cloudtrace::v2::trace_service_server::{TraceService, TraceServiceServer};
use spansieve::proto::google::devtools::cloudtrace::v2::{BatchWriteSpansRequest, Span};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// Spans by trace and span id in hex (`{trace}/{span}`), in the order of arrival.
type Spans = HashMap<String, Vec<Span>>;

/// The recorder. Clones share the recorded spans.
#[derive(Clone, Default)]
pub struct Recorder {
    spans: Arc<Mutex<Spans>>,
}

impl Recorder {
    /// Starts a recorder on a free port of this machine; returns it with its address. It runs as long as the runtime.
    pub async fn start() -> io::Result<(Self, String)> {
        let recorder = Recorder::default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let service = TraceServiceServer::new(recorder.clone()).max_decoding_message_size(64 << 20);
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok((recorder, address))
    }

    /// Returns the number of different spans.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Takes and returns all recorded spans.
    pub fn take(&self) -> Spans {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Spans> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl TraceService for Recorder {
    async fn batch_write_spans(&self, request: Request<BatchWriteSpansRequest>) -> Result<Response<()>, Status> {
        let mut spans = self.lock();
        for span in request.into_inner().spans {
            // The name is projects/{project}/traces/{trace}/spans/{span}.
            let mut parts = span.name.rsplit('/');
            let id = format!("{}/{}", parts.clone().nth(2).unwrap_or_default(), parts.next().unwrap_or_default());
            spans.entry(id).or_default().push(span);
        }
        Ok(Response::new(()))
    }

    async fn create_span(&self, _: Request<Span>) -> Result<Response<Span>, Status> {
        Err(Status::unimplemented("not compared"))
    }
}
