use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use spansieve_test_support::authority::Authority;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client;

use super::*;
use crate::budget::Budget;
use crate::google::testing::slowly;
use crate::receiver::fake::FakeIntake;
use crate::receiver::{Receiver, ReceiverSettings};
use crate::telemetry::metrics::HeldAmounts;

/// A certificate chain and its private key, in PEM.
type Pair = (String, String);

/// Returns a certificate for localhost that expires at the beginning of `year`.
fn sign(authority: &Authority, year: i32) -> Pair {
    authority.certificate(&["localhost"], year)
}

fn roots(authority: &Authority) -> RootCertStore {
    pem::authorities(authority.pem().as_bytes()).unwrap()
}

fn write(folder: &Path, (chain, key): &Pair) {
    std::fs::write(folder.join("cert.pem"), chain).unwrap();
    std::fs::write(folder.join("key.pem"), key).unwrap();
}

async fn load(folder: &Path, clients: Option<&Authority>) -> Result<Tls, TlsError> {
    let client_ca_file = clients.map(|authority| {
        std::fs::write(folder.join("clients.pem"), authority.pem()).unwrap();
        folder.join("clients.pem")
    });
    let (cert_file, key_file) = (folder.join("cert.pem"), folder.join("key.pem"));
    Tls::load(&ServerTls { cert_file, key_file, client_ca_file }).await
}

/// A receiver behind TLS.
struct Server {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    _receiver: Receiver,
    _folder: TempDir,
}

impl Server {
    async fn start(authority: &Authority, clients: Option<&Authority>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &sign(authority, 2049));
        let bound = Receiver::bind(&["127.0.0.1:0".to_owned()]).await.unwrap();
        let address = bound.local_addrs()[0];
        let bound = bound.behind(Some(load(folder.path(), clients).await.unwrap()));
        let metrics = Arc::new(Metrics::new());
        let receiver = bound.serve(
            ReceiverSettings { max_request_bytes: 1000, reflection: false },
            Arc::new(FakeIntake(Budget::new(1000))),
            Arc::clone(&metrics),
            Arc::default(),
            Arc::new(|_, _| Ok(())),
        );
        Server { address, metrics, _receiver: receiver, _folder: folder }
    }

    fn metrics(&self) -> String {
        self.metrics.render(HeldAmounts::default())
    }

    /// Returns the status of `/livez` over the negotiated protocol. `None` if the connection failed.
    async fn ask(&self, config: ClientConfig) -> Option<StatusCode> {
        let stream = connect(self.address, config).await.ok()?;
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let request = Request::get("https://localhost/livez").header("host", "localhost");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let io = TokioIo::new(stream);
        let response = if is_h2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.ok()?;
            tokio::spawn(connection);
            sender.send_request(request).await
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
            tokio::spawn(connection);
            sender.send_request(request).await
        };
        response.ok().map(|response| response.status())
    }
}

async fn connect(address: SocketAddr, config: ClientConfig) -> io::Result<client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// Returns a client that trusts `roots`, presents `identity` and offers `alpn`.
fn client(
    roots: RootCertStore,
    identity: Option<Pair>,
    alpn: &[&[u8]],
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(&[version]).unwrap().with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

#[tokio::test]
async fn both_protocols_are_spoken_to_clients_that_trust_the_authority() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Server::start(&authority, None).await;
    for version in [&TLS13, &TLS12] {
        for alpn in [&[&b"h2"[..]][..], &[b"http/1.1"], &[b"http/1.1", b"h2"], &[]] {
            let answer = server.ask(client(roots(&authority), None, alpn, version)).await;
            assert_eq!(answer, Some(StatusCode::OK), "{version:?} {alpn:?}");
        }
        assert_eq!(
            server.ask(client(roots(&other), None, &[], version)).await,
            None,
            "an authority that the client does not know"
        );
    }
    let text = server.metrics();
    assert!(text.contains("spansieve_certificate_expiry_timestamp_seconds 2493072000\n"), "{text}");
}

#[tokio::test]
async fn with_mutual_tls_a_client_needs_a_certificate_of_the_right_authority() {
    let (authority, clients, other) = (Authority::new(), Authority::new(), Authority::new());
    let server = Server::start(&authority, Some(&clients)).await;
    let ok = Some(StatusCode::OK);
    let cases = [
        ("none", None, None),
        ("of another authority", Some(sign(&other, 2049)), None),
        ("of the server's authority", Some(sign(&authority, 2049)), None),
        ("expired", Some(sign(&clients, 2001)), None),
        ("good", Some(sign(&clients, 2049)), ok),
    ];
    for (name, identity, expected) in cases {
        for version in [&TLS13, &TLS12] {
            let config = client(roots(&authority), identity.clone(), &[b"h2"], version);
            assert_eq!(server.ask(config).await, expected, "{name} {version:?}");
        }
    }
    let text = server.metrics();
    assert!(text.contains("spansieve_failed_handshakes_total{reason=\"client_certificate\"} 8\n"), "{text}");
}

#[tokio::test]
async fn plaintext_is_not_served() {
    let authority = Authority::new();
    let server = Server::start(&authority, None).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // The server answers with a TLS alert or a reset.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let text = server.metrics();
    assert!(text.contains("spansieve_failed_handshakes_total{reason=\"protocol\"} 1\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_handshake_times_out() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &sign(&Authority::new(), 2049));
    let tls = load(folder.path(), None).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    // The record header of a ClientHello without its contents.
    client.write_all(&[22, 3, 1, 1, 0]).await.unwrap();
    let metrics = Metrics::new();
    assert!(tls.state.accept(listener.accept().await.unwrap().0, &metrics).await.is_none());
    let text = metrics.render(HeldAmounts::default());
    assert!(text.contains("spansieve_failed_handshakes_total{reason=\"timeout\"} 1\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn silence_after_a_handshake_times_out() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    write(folder.path(), &sign(&authority, 2049));
    let tls = load(folder.path(), None).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = Metrics::new();
    let accepting = async { tls.state.accept(listener.accept().await.unwrap().0, &metrics).await };
    let connecting = connect(address, client(roots(&authority), None, &[], &TLS13));
    let (accepted, connected) = slowly(async { tokio::join!(accepting, connecting) }).await;
    assert!(accepted.is_none() && connected.is_ok());
    let text = metrics.render(HeldAmounts::default());
    assert!(text.contains("spansieve_failed_handshakes_total{reason=\"timeout\"} 1\n"), "{text}");
}

#[tokio::test]
async fn renewed_certificates_are_taken_and_broken_ones_are_not() {
    let (old, new) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &sign(&old, 2049));
    let mut tls = load(folder.path(), None).await.unwrap();
    let metrics = Metrics::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (renewed, mixed) = (sign(&new, 2050), (sign(&new, 2050).0, sign(&new, 2050).1));
    // Name, written files, the authority of the certificate that is served then, counts of `ok` and `failed`.
    let steps: [(&str, Option<&Pair>, &Authority, [u8; 2]); 5] = [
        ("nothing", None, &old, [0, 0]),
        ("a key of another certificate", Some(&mixed), &old, [0, 1]),
        ("the same again", None, &old, [0, 1]),
        ("no certificate", Some(&(String::new(), String::new())), &old, [0, 2]),
        ("a good pair", Some(&renewed), &new, [1, 2]),
    ];
    for (name, written, expected, [ok, failed]) in steps {
        if let Some(pair) = written {
            write(folder.path(), pair);
        }
        let state = tls.state();
        tls.watched.reload(&metrics, |contents| state.replace(contents, &metrics)).await;
        let config = client(roots(expected), None, &[], &TLS13);
        let (accepted, connected) =
            tokio::join!(async { state.accept(listener.accept().await.unwrap().0, &metrics).await }, async {
                let mut stream = connect(address, config).await?;
                stream.write_all(b"x").await.map(|()| stream)
            });
        assert!(accepted.is_some() && connected.is_ok(), "{name}: {connected:?}");
        let text = metrics.render(HeldAmounts::default());
        assert!(text.contains(&format!("spansieve_reloads_total{{outcome=\"ok\"}} {ok}\n")), "{name}: {text}");
        assert!(text.contains(&format!("spansieve_reloads_total{{outcome=\"failed\"}} {failed}\n")), "{name}: {text}");
    }
}

#[tokio::test]
async fn missing_or_wrong_files_at_the_start_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = load(folder.path(), None).await.unwrap_err().to_string();
    assert!(error.starts_with("otlp.tls: cannot read ") && error.contains("cert.pem"), "{error}");
    let (one, other) = (sign(&Authority::new(), 2049), sign(&Authority::new(), 2049));
    write(folder.path(), &(one.0, other.1));
    let error = load(folder.path(), None).await.unwrap_err().to_string();
    assert_eq!(error, "otlp.tls: the private key is not the one of the first certificate");
}
