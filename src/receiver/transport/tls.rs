//! TLS and mutual TLS on the OTLP addresses. Certificates are renewed without a restart.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use thiserror::Error;
use tokio::io::AsyncBufReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::listen::FIRST_BYTE_TIME_MAX;
use crate::receiver::reload::{FileError, WatchedFiles};
use crate::receiver::settings::ServerTls;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::HandshakeFailure;
use crate::trust::pem;

/// Time from the first byte of a connection to the end of its handshake: a few round trips and milliseconds of CPU.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// Bytes of one connection that are encrypted and not sent yet. The library's default is four times as much. They are
/// part of the bytes that are counted for a connection with TLS.
const SEND_BYTES_MAX: usize = 16 << 10;

/// Protocols behind TLS in the server's order of preference (RFC 7301; RFC 9113, 3.2).
const ALPN_PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Reason why TLS cannot start.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("otlp.tls: {0}")]
    File(#[from] FileError),
    /// The contents of the files cannot be used.
    #[error("otlp.tls: {0}")]
    Content(String),
}

/// TLS server with the current certificate. It watches the files for renewed ones.
#[derive(Debug)]
pub struct Tls {
    watched: WatchedFiles,
    state: Arc<TlsState>,
}

#[derive(Debug)]
pub(super) struct TlsState(RwLock<CurrentCertificate>);

#[derive(Debug)]
struct CurrentCertificate {
    config: Arc<ServerConfig>,
    expiry_s: u64,
}

impl Tls {
    /// Reads the files of the configuration.
    ///
    /// # Errors
    /// A file cannot be read, or the files do not make a TLS server.
    pub async fn load(settings: &ServerTls) -> Result<Self, TlsError> {
        let paths =
            [&settings.cert_file, &settings.key_file].into_iter().chain(&settings.client_ca_file).cloned().collect();
        let (watched, contents) = WatchedFiles::open(paths).await?;
        let current = server(&contents).map_err(TlsError::Content)?;
        Ok(Tls { watched, state: Arc::new(TlsState(RwLock::new(current))) })
    }

    pub(super) fn state(&self) -> Arc<TlsState> {
        Arc::clone(&self.state)
    }

    /// Takes renewed certificates. Open connections keep theirs. Never returns.
    pub(in crate::receiver) async fn renew(self, metrics: Arc<Metrics>) {
        self.state.show(&metrics);
        let Tls { watched, state } = self;
        let shown = Arc::clone(&metrics);
        watched.follow(metrics, move |contents| state.replace(contents, &shown)).await;
    }
}

impl TlsState {
    fn replace(&self, contents: &[Vec<u8>], metrics: &Metrics) -> Result<(), String> {
        *self.0.write() = server(contents)?;
        self.show(metrics);
        Ok(())
    }

    fn show(&self, metrics: &Metrics) {
        metrics.certificate_expiry(self.0.read().expiry_s);
    }

    /// Runs the handshake of a new connection and waits for the first byte after it. Returns `None` and counts the
    /// failure if either fails.
    pub(in crate::receiver) async fn accept(
        &self,
        stream: TcpStream,
        metrics: &Metrics,
    ) -> Option<Box<TlsStream<TcpStream>>> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.0.read().config));
        let opened = async {
            let mut stream = timeout(HANDSHAKE_TIME_MAX, acceptor.accept(stream)).await??;
            stream.get_mut().1.set_buffer_limit(Some(SEND_BYTES_MAX));
            timeout(FIRST_BYTE_TIME_MAX, stream.fill_buf()).await??;
            io::Result::Ok(Box::new(stream))
        };
        let opened = opened.await.inspect_err(|error| {
            tracing::debug!(%error, "A TLS connection ended before its first request.");
            metrics.handshake_failed(reason(error));
        });
        opened.ok()
    }
}

/// Returns the reason of a failed handshake.
fn reason(error: &io::Error) -> HandshakeFailure {
    if error.kind() == io::ErrorKind::TimedOut {
        return HandshakeFailure::Timeout;
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)) => {
            HandshakeFailure::ClientCertificate
        }
        _ => HandshakeFailure::Protocol,
    }
}

/// Creates a server from the contents of the files of `otlp.tls`, in the order of [`Tls::load`].
fn server(contents: &[Vec<u8>]) -> Result<CurrentCertificate, String> {
    let [chain, key, authorities @ ..] = contents else { return Err("files are missing".to_owned()) };
    let provider = Arc::new(ring::default_provider());
    let certified = pem::certified_key(chain, key, &provider).map_err(|error| error.to_string())?;
    let expiry_s = certified.cert.first().and_then(|certificate| pem::not_after_s(certificate)).unwrap_or(0);
    let clients = match authorities.first() {
        Some(pem) => verifier(pem, &provider)?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = ALPN_PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(CurrentCertificate { config: Arc::new(config), expiry_s })
}

/// Creates a verifier that accepts clients with a certificate from one of the `authorities`.
fn verifier(authorities: &[u8], provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let roots = pem::authorities(authorities).map_err(|error| error.to_string())?;
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
