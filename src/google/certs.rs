//! Fetches the public keys of Google's ID tokens from the URL at which Google publishes them.

use std::time::Duration;

use http::header::{AGE, CACHE_CONTROL};
use http::{HeaderMap, StatusCode};
use reqwest::{Client, redirect};
use thiserror::Error;

use super::causes;

/// The time limit for the whole answer. Requests of senders wait for it, so it is less than the timeout of a common
/// exporter (10 s).
const TIMEOUT: Duration = Duration::from_secs(5);

/// The most bytes of an answer: room for hundreds of keys. Google publishes two or three, with 1,500 bytes.
const BODY_BYTES_MAX: usize = 256 << 10;

/// The keys cannot be fetched. Retrying may help.
#[derive(Debug, Error)]
#[error("cannot fetch the keys of ID tokens from {url}: {cause}")]
pub struct CertsError {
    url: String,
    cause: String,
}

/// A client for the URL of the keys.
#[derive(Clone, Debug)]
pub struct Certs {
    client: Client,
    url: String,
}

/// The answer, not yet parsed.
#[derive(Debug, PartialEq, Eq)]
pub struct Fetched {
    /// A JSON Web Key Set.
    pub json: Vec<u8>,
    /// The time for which the keys stay valid, if the answer gives it.
    pub max_age: Option<Duration>,
}

impl Certs {
    /// Returns a client for the keys at `url`. A URL without TLS is on this machine, so it is fetched without a proxy.
    ///
    /// # Errors
    /// TLS cannot be set up on this machine.
    pub fn at(url: &str) -> Result<Self, CertsError> {
        // The client needs a default provider for the process. An error means that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder().timeout(TIMEOUT).redirect(redirect::Policy::none());
        let builder = if url.starts_with("https:") { builder } else { builder.no_proxy() };
        match builder.build() {
            Ok(client) => Ok(Certs { client, url: url.to_owned() }),
            Err(error) => Err(CertsError { url: url.to_owned(), cause: causes(&error) }),
        }
    }

    /// Fetches the present keys.
    ///
    /// # Errors
    /// There is no answer, the status is not 200, or the body is larger than 256 KiB.
    pub async fn fetch(&self) -> Result<Fetched, CertsError> {
        self.get().await.map_err(|cause| CertsError { url: self.url.clone(), cause })
    }

    async fn get(&self) -> Result<Fetched, String> {
        let response = self.client.get(&self.url).send().await;
        let mut response = response.map_err(|error| causes(&error.without_url()))?;
        if response.status() != StatusCode::OK {
            return Err(format!("status {}", response.status()));
        }
        let max_age = max_age(response.headers());
        let mut json = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| causes(&error.without_url()))? {
            if json.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(format!("more than {BODY_BYTES_MAX} bytes"));
            }
            json.extend_from_slice(&chunk);
        }
        Ok(Fetched { json, max_age })
    }
}

/// Returns the remaining time for which an answer is fresh (RFC 9111, 5.2.2.1 and 5.1).
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get(CACHE_CONTROL)?.to_str().ok()?.split(',');
    let max_age = directives.filter_map(|directive| directive.trim().strip_prefix("max-age=")).next()?;
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()?.parse().ok()).unwrap_or(0);
    Some(Duration::from_secs(max_age.parse::<u64>().ok()?.saturating_sub(age)))
}

#[cfg(test)]
mod tests;
