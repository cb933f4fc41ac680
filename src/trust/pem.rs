//! Certificates and private keys in PEM (RFC 7468).

mod validity;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use thiserror::Error;

pub use self::validity::not_after_s;

/// Reason why PEM text cannot be used. The message does not repeat the private key.
#[derive(Debug, Error)]
pub enum PemError {
    /// The text has no certificate, or a broken one.
    #[error("there is no certificate in it: in PEM, each begins with `-----BEGIN CERTIFICATE-----`")]
    NoCertificate,
    /// A certificate is not a valid X.509 certificate.
    #[error("certificate {number} cannot be used: {source}")]
    Certificate {
        /// Number of the certificate in the text, from 1.
        number: usize,
        /// The error of the TLS library.
        source: rustls::Error,
    },
    /// The text has no private key, or a broken or encrypted one.
    #[error(
        "there is no private key in it: in PEM, one begins with `-----BEGIN PRIVATE KEY-----`, and is not encrypted"
    )]
    NoKey,
    /// The TLS library does not support the kind of key.
    #[error("the private key cannot be used: {0}")]
    Key(rustls::Error),
    /// The key belongs to another certificate.
    #[error("the private key is not the one of the first certificate")]
    Mismatch,
}

/// Reads all certificates of `pem`, at least one.
///
/// # Errors
/// The text has no certificate, or a broken one.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    certificates.ok().filter(|certificates| !certificates.is_empty()).ok_or(PemError::NoCertificate)
}

/// Reads the certificates of `pem` as authorities that may sign other certificates.
///
/// # Errors
/// The same as of [`certificates`], or a certificate cannot be used.
pub fn authorities(pem: &[u8]) -> Result<RootCertStore, PemError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates(pem)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|source| PemError::Certificate { number: index + 1, source })?;
    }
    Ok(roots)
}

/// Reads a server's certificate, the certificates that lead from it to an authority, and its private key.
///
/// # Errors
/// A certificate or the key is missing or broken, or the key does not belong to the first certificate.
pub fn certified_key(chain: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<CertifiedKey, PemError> {
    let chain = certificates(chain)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| PemError::NoKey)?;
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => PemError::Mismatch,
        rustls::Error::InvalidCertificate(_) => PemError::Certificate { number: 1, source: error },
        error => PemError::Key(error),
    })?;
    Ok(certified)
}

#[cfg(test)]
mod tests;
