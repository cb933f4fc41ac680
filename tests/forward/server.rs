//! An OTLP/gRPC server that gives scripted answers, and remembers calls and spans.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// The trace id and the span id of a span.
type SpanId = (Vec<u8>, Vec<u8>);
type Answer = Result<ExportTraceServiceResponse, Status>;

/// A call that the server received.
#[derive(Clone, Debug)]
pub struct Call {
    pub at: Instant,
    pub request: ExportTraceServiceRequest,
    pub headers: http::HeaderMap,
}

impl Call {
    pub fn spans(&self) -> impl Iterator<Item = &Span> {
        self.request.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans)
    }
}

/// Returns the error for a call, if there is one.
pub type Rule = fn(&Call) -> Option<Status>;

/// A server's behaviour. It answers by its rule, then with the scripted answers, then with success. It stores the spans
/// of each call except those that it answers with an error.
#[derive(Default)]
pub struct Script {
    rule: Option<Rule>,
    answers: Mutex<VecDeque<Answer>>,
    calls: Mutex<Vec<Call>>,
    stored: Mutex<HashMap<SpanId, (Span, usize)>>,
}

impl Script {
    pub fn new(rule: Option<Rule>, answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        Arc::new(Script { rule, answers: Mutex::new(answers.into_iter().collect()), ..Script::default() })
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Returns the stored spans, and the number of spans that were stored again.
    pub fn stored(&self) -> (Vec<Span>, usize) {
        let stored = self.stored.lock().unwrap();
        let again = stored.values().map(|(_, times)| times - 1).sum();
        (stored.values().map(|(span, _)| span.clone()).collect(), again)
    }

    /// Starts the server on loopback; returns its URI. The server runs as long as the runtime.
    pub async fn serve(self: &Arc<Self>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder().add_service(TraceService(Arc::clone(self)));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        uri
    }

    fn answer(&self, call: &Call) -> Answer {
        self.calls.lock().unwrap().push(call.clone());
        if let Some(status) = self.rule.and_then(|rule| rule(call)) {
            return Err(status);
        }
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or_else(|| Ok(Default::default()))?;
        let mut stored = self.stored.lock().unwrap();
        for span in call.spans() {
            let id = (span.trace_id.clone(), span.span_id.clone());
            stored.entry(id).or_insert_with(|| (span.clone(), 0)).1 += 1;
        }
        Ok(answer)
    }
}

/// Returns a successful answer that rejects `rejected_spans` spans.
pub fn partial(rejected_spans: i64, error_message: &str) -> Answer {
    let partial = ExportTracePartialSuccess { rejected_spans, error_message: error_message.into() };
    Ok(ExportTraceServiceResponse { partial_success: Some(partial) })
}

/// The service `opentelemetry.proto.collector.trace.v1.TraceService`, which has one method.
#[derive(Clone)]
struct TraceService(Arc<Script>);

impl NamedService for TraceService {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl Service<http::Request<Body>> for TraceService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        assert_eq!(request.uri().path(), format!("/{}/Export", Self::NAME));
        let method = Export(Arc::clone(&self.0));
        Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(method, request).await) })
    }
}

struct Export(Arc<Script>);

impl UnaryService<ExportTraceServiceRequest> for Export {
    type Response = ExportTraceServiceResponse;
    type Future = BoxFuture<Response<Self::Response>, Status>;

    fn call(&mut self, request: Request<ExportTraceServiceRequest>) -> Self::Future {
        let script = Arc::clone(&self.0);
        Box::pin(async move {
            let (metadata, _, request) = request.into_parts();
            script.answer(&Call { at: Instant::now(), request, headers: metadata.into_headers() }).map(Response::new)
        })
    }
}
