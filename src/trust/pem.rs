//! Certificates and private keys in PEM (RFC 7468).

mod validity;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use thiserror::Error;

pub use self::validity::not_after_s;

/// Why PEM cannot be used. It does not repeat the key.
#[derive(Debug, Error)]
pub enum PemError {
    /// There is no certificate in it, or a broken one.
    #[error("there is no certificate in it: in PEM, each begins with `-----BEGIN CERTIFICATE-----`")]
    NoCertificate,
    /// A certificate is none of X.509.
    #[error("certificate {number} cannot be used: {source}")]
    Certificate {
        /// Which one, from 1.
        number: usize,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// There is no key in it, or a broken or encrypted one.
    #[error(
        "there is no private key in it: in PEM, one begins with `-----BEGIN PRIVATE KEY-----`, and is not encrypted"
    )]
    NoKey,
    /// The key is of a kind that TLS here has no use for.
    #[error("the private key cannot be used: {0}")]
    Key(rustls::Error),
    /// The key is another certificate's.
    #[error("the private key is not the one of the first certificate")]
    Mismatch,
}

/// All certificates of `pem`, at least one.
///
/// # Errors
/// There is none, or one is broken.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    certificates.ok().filter(|certificates| !certificates.is_empty()).ok_or(PemError::NoCertificate)
}

/// The certificates of `pem` as those that may sign others'.
///
/// # Errors
/// As [`certificates`], or one of them cannot be used.
pub fn authorities(pem: &[u8]) -> Result<RootCertStore, PemError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates(pem)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|source| PemError::Certificate { number: index + 1, source })?;
    }
    Ok(roots)
}

/// A server's certificate, those that lead from it to an authority, and its private key.
///
/// # Errors
/// One of them is missing or broken, or they do not belong together.
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
