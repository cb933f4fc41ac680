//! The host names that a client may use to call the embedded Cloud Trace.
//!
//! The server asks for no credentials, so a web page from elsewhere must not be able to read it (see
//! [`spansieve_core::host`]).

use std::sync::Arc;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri};
use spansieve_core::host::{host_of, is_allowed};

/// Maximum characters of a refused host name in an error.
const QUOTE_CHARS_MAX: usize = 100;

/// The host names that are allowed in addition to `localhost` and IP addresses.
#[derive(Clone, Debug)]
pub(super) struct Hosts(Arc<[String]>);

impl Hosts {
    /// Allows the host of `listen` (`host:port`) and the hosts `others`.
    pub(super) fn new(listen: &str, others: &[String]) -> Self {
        let own = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
        Hosts(others.iter().map(String::as_str).chain([own]).map(str::to_owned).collect())
    }

    /// Checks that a request for `uri` with `headers` may be answered. A request without a host does not come from a
    /// browser, and is allowed.
    ///
    /// # Errors
    /// Returns a message that names the refused host and the setting that allows it.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), String> {
        let named = headers.get_all(HOST).iter().map(|value| value.to_str().unwrap_or("?"));
        let mut asked = uri.authority().map(Authority::as_str).into_iter().chain(named);
        match asked.find(|authority| !is_allowed(host_of(authority), &self.0)) {
            None => Ok(()),
            Some(authority) => {
                let host: String = host_of(authority).chars().take(QUOTE_CHARS_MAX).collect();
                Err(format!(
                    "the host {host:?} is not allowed here: a web page could use it to read these traces; call \
                     http://localhost or an IP address, or add the host to export.embedded.allowed_hosts \
                     (spansieve emulator: --allowed-host)"
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests;
