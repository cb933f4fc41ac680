//! The public keys of Google's ID tokens, from where Google publishes them.

use std::time::Duration;

use http::header::{AGE, CACHE_CONTROL};
use http::{HeaderMap, StatusCode};
use reqwest::{Client, redirect};
use thiserror::Error;

use super::causes;

/// From the question to the end of the answer. Requests wait for it: less than any exporter's patience (10 s).
const TIMEOUT: Duration = Duration::from_secs(5);

/// Of an answer, in bytes: hundreds of keys. Google's two or three have 1,500.
const BODY_BYTES_MAX: usize = 256 << 10;

/// Why there are no keys. Retrying may help.
#[derive(Debug, Error)]
#[error("cannot fetch the keys of ID tokens from {url}: {cause}")]
pub struct CertsError {
    url: String,
    cause: String,
}

/// Where keys are fetched.
#[derive(Clone, Debug)]
pub struct Certs {
    client: Client,
    url: String,
}

/// An answer, not read yet.
#[derive(Debug, PartialEq, Eq)]
pub struct Fetched {
    /// A JSON Web Key Set.
    pub json: Vec<u8>,
    /// For how long it is said to stay true.
    pub max_age: Option<Duration>,
}

impl Certs {
    /// The keys at `url`. One without TLS, which is on this machine, is not asked through a proxy.
    ///
    /// # Errors
    /// There can be no TLS on this machine.
    pub fn at(url: &str) -> Result<Self, CertsError> {
        // The client wants one for the process; an error says that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder().timeout(TIMEOUT).redirect(redirect::Policy::none());
        let builder = if url.starts_with("https:") { builder } else { builder.no_proxy() };
        match builder.build() {
            Ok(client) => Ok(Certs { client, url: url.to_owned() }),
            Err(error) => Err(CertsError { url: url.to_owned(), cause: causes(&error) }),
        }
    }

    /// The keys of this moment.
    ///
    /// # Errors
    /// There was no answer, or another than 200 with a body of at most 256 KiB.
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

/// How much longer an answer is fresh (RFC 9111, 5.2.2.1 and 5.1).
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get(CACHE_CONTROL)?.to_str().ok()?.split(',');
    let max_age = directives.filter_map(|directive| directive.trim().strip_prefix("max-age=")).next()?;
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()?.parse().ok()).unwrap_or(0);
    Some(Duration::from_secs(max_age.parse::<u64>().ok()?.saturating_sub(age)))
}

#[cfg(test)]
mod tests;
