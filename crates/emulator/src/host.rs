//! The host names that a client may use to call the embedded Cloud Trace.
//!
//! The server asks for no credentials, so a web page from elsewhere must not be able to read it. The browser's
//! same-origin rule prevents that, unless the page's own host name is made to resolve to this server's address (DNS
//! rebinding). The `Host` header then still contains the page's name. Every IP address is allowed: it cannot be
//! rebound.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri};

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
        match asked.find(|authority| !self.allows(host_of(authority))) {
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

    fn allows(&self, host: &str) -> bool {
        // A trailing dot does not change the meaning of a name.
        let host = host.strip_suffix('.').unwrap_or(host);
        is_loopback_name(host) || is_address(host) || self.0.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
    }
}

/// Returns the host of `host:port`.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Returns true for `localhost` and names below it, which resolvers must not look up in the DNS (RFC 6761, 6.3).
fn is_loopback_name(host: &str) -> bool {
    const NAME: &str = "localhost";
    let Some((rest, name)) = host.len().checked_sub(NAME.len()).and_then(|at| host.split_at_checked(at)) else {
        return false;
    };
    name.eq_ignore_ascii_case(NAME) && (rest.is_empty() || rest.ends_with('.'))
}

fn is_address(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    v6.map_or_else(|| host.parse::<Ipv4Addr>().is_ok(), |host| host.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests;
