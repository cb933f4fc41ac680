//! A Cloud Trace that takes everything and keeps it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use spansieve::proto::google::devtools::cloudtrace::v2::trace_service_server::{TraceService, TraceServiceServer};
use spansieve::proto::google::devtools::cloudtrace::v2::{BatchWriteSpansRequest, Span};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// Spans by their trace and span ids in hex, `{trace}/{span}`, in the order of their coming.
type Spans = HashMap<String, Vec<Span>>;

/// The recorder; clones share what was recorded.
#[derive(Clone, Default)]
pub struct Recorder {
    spans: Arc<Mutex<Spans>>,
}

impl Recorder {
    /// Serves on a free port of this machine, for as long as the runtime runs. Returns the address as well.
    pub async fn start() -> io::Result<(Self, String)> {
        let recorder = Recorder::default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let service = TraceServiceServer::new(recorder.clone()).max_decoding_message_size(64 << 20);
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok((recorder, address))
    }

    /// How many different spans there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Everything that was recorded.
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
            // projects/{project}/traces/{trace}/spans/{span}
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
