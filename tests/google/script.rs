//! A fake Google Cloud on loopback: HTTP servers for metadata and tokens, and a Cloud Trace with TLS that records
//! tokens.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use spansieve::proto::google::devtools::cloudtrace::v2::trace_service_server::{TraceService, TraceServiceServer};
use spansieve::proto::google::devtools::cloudtrace::v2::{BatchWriteSpansRequest, Span};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::metadata::MetadataMap;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// Returns the answer for a path: the end of the status line, and the body. `None` means that no answer is sent.
type Answer = dyn Fn(&str) -> Option<(&'static str, String)> + Send + Sync;

/// An HTTP server for metadata and tokens.
pub struct Http {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Http {
    pub async fn start(answer: impl Fn(&str) -> Option<(&'static str, String)> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, requests): (Arc<Answer>, Arc<Mutex<Vec<String>>>) = (Arc::new(answer), Arc::default());
        let kept = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answer), Arc::clone(&kept)));
            }
        });
        Http { address, requests }
    }

    /// Returns the requested paths.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, answer: Arc<Answer>, requests: Arc<Mutex<Vec<String>>>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let body_bytes =
        head.split("content-length: ").nth(1).map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
    stream.read_exact(&mut vec![0; body_bytes]).await?;
    let path = head.split(' ').nth(1).unwrap().to_owned();
    requests.lock().unwrap().push(path.clone());
    let Some((status, body)) = answer(&path) else { std::future::pending().await };
    let length = body.len();
    let headers = "Metadata-Flavor: Google\r\nContent-Type: application/json\r\nConnection: close\r\n";
    stream.write_all(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}").as_bytes()).await
}

/// A call that Cloud Trace received.
#[derive(Clone)]
pub struct Call {
    pub metadata: MetadataMap,
    pub request: BatchWriteSpansRequest,
}

impl Call {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A Cloud Trace v2 with TLS.
pub struct CloudTrace {
    pub uri: String,
    /// The certificate authority that the client must trust.
    pub ca_pem: String,
    calls: Calls,
}

#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<Call>>>);

impl CloudTrace {
    pub async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let ca_pem = certified.cert.pem();
        let identity = Identity::from_pem(&ca_pem, certified.signing_key.serialize_pem());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("https://{}", listener.local_addr().unwrap());
        let calls = Calls::default();
        let mut server = Server::builder().tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
        let service = TraceServiceServer::new(calls.clone());
        tokio::spawn(server.add_service(service).serve_with_incoming(TcpIncoming::from(listener)));
        CloudTrace { uri, ca_pem, calls }
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.0.lock().unwrap().clone()
    }
}

#[tonic::async_trait]
impl TraceService for Calls {
    async fn batch_write_spans(&self, request: Request<BatchWriteSpansRequest>) -> Result<Response<()>, Status> {
        let (metadata, _, request) = request.into_parts();
        let is_signed = metadata.get("authorization").is_some_and(|token| token.as_bytes().starts_with(b"Bearer "));
        self.0.lock().unwrap().push(Call { metadata, request });
        if is_signed { Ok(Response::new(())) } else { Err(Status::unauthenticated("who is there?")) }
    }

    async fn create_span(&self, _: Request<Span>) -> Result<Response<Span>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}
