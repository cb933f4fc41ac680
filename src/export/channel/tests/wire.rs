//! The parts between a channel and the scripted sink: TLS, relays that break, and a proxy. All of them run in the
//! test's own runtime, so that a paused clock does not advance before them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};

use crate::export::testing::{Script, Service};
use crate::proto::google::devtools::cloudtrace::v2::trace_service_server::TraceServiceServer;

/// A self-signed certificate for `localhost` and `127.0.0.1`.
pub(super) struct SelfSigned {
    pub(super) pem: String,
    key_pem: String,
}

impl SelfSigned {
    pub(super) fn new() -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certified = rcgen::generate_simple_self_signed(names).unwrap();
        SelfSigned { pem: certified.cert.pem(), key_pem: certified.signing_key.serialize_pem() }
    }

    /// Returns a self-signed certificate that is marked as that of an authority.
    pub(super) fn authority() -> Self {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        SelfSigned { pem: params.self_signed(&key).unwrap().pem(), key_pem: key.serialize_pem() }
    }
}

/// The behaviour of a server towards its connections.
#[derive(Default)]
pub(super) struct Manners<'a> {
    pub(super) tls: Option<&'a SelfSigned>,
    /// The age at which the server sends GOAWAY.
    pub(super) connection_age_max: Option<Duration>,
}

/// Serves `script` and returns the address.
pub(super) async fn serve(script: &Arc<Script>, manners: Manners<'_>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = Server::builder();
    if let Some(SelfSigned { pem, key_pem }) = manners.tls {
        let _ = rustls::crypto::ring::default_provider().install_default();
        server = server.tls_config(ServerTlsConfig::new().identity(Identity::from_pem(pem, key_pem))).unwrap();
    }
    if let Some(age) = manners.connection_age_max {
        server = server.max_connection_age(age);
    }
    let service = TraceServiceServer::new(Service(Arc::clone(script)));
    tokio::spawn(server.add_service(service).serve_with_incoming(TcpIncoming::from(listener)));
    address
}

/// A relay that passes bytes on until it goes silent.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    silence: watch::Sender<()>,
}

impl Relay {
    pub(super) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (silence, silent) = watch::channel(());
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                let mut silent = silent.clone();
                silent.mark_unchanged();
                tokio::spawn(async move {
                    let mut passing = std::pin::pin!(pass_on(near, target));
                    tokio::select! {
                        () = &mut passing => {}
                        // Both connections stay open.
                        Ok(()) = silent.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Relay { address, connections, silence }
    }

    /// Returns the number of connections so far.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Stops passing on bytes of the existing connections.
    pub(super) fn silence(&self) {
        self.silence.send(()).unwrap();
    }
}

/// An HTTP proxy that only knows CONNECT. It gives the answers in turn; after them, it opens tunnels.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts the proxy. `None` stands for an answer that never comes.
    pub(super) async fn start(answers: Vec<Option<&'static str>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        tokio::spawn(async move {
            let mut answers = answers.into_iter();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let request = head(&mut near).await;
                kept.lock().push(request.clone());
                let answer = answers.next();
                tokio::spawn(async move {
                    match answer {
                        Some(Some(answer)) => near.write_all(answer.as_bytes()).await.unwrap(),
                        Some(None) => std::future::pending().await,
                        None => tunnel(near, &request).await,
                    }
                });
            }
        });
        Proxy { address, requests }
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().clone()
    }
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn tunnel(mut near: TcpStream, request: &str) {
    let target = request.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
    near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    pass_on(near, target.parse().unwrap()).await;
}

/// Passes bytes on in both directions until one connection ends.
async fn pass_on(mut near: TcpStream, target: SocketAddr) {
    let mut far = TcpStream::connect(target).await.unwrap();
    // The test's time is not the kernel's time, so no data may wait for a delayed acknowledgement.
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let _ = copy_bidirectional(&mut near, &mut far).await;
}
