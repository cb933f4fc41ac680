//! The names by which a client may call the embedded Cloud Trace.
//!
//! It asks for no credentials, so a web page must not be able to read it. The browser's same-origin rule holds such a page
//! off, until the page's own name is made to resolve to this address (DNS rebinding). The `Host` header then still has that
//! name. An IP address cannot be rebound: every one of them may be used.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri};

/// How much of a foreign name an error quotes.
const QUOTE_CHARS_MAX: usize = 100;

/// The names that are allowed beside `localhost` and IP addresses.
#[derive(Clone, Debug)]
pub(super) struct Hosts(Arc<[String]>);

impl Hosts {
    /// The host of `listen` (`host:port`) and `others`.
    pub(super) fn new(listen: &str, others: &[String]) -> Self {
        let own = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
        Hosts(others.iter().map(String::as_str).chain([own]).map(str::to_owned).collect())
    }

    /// Whether a request for `uri` with `headers` may be answered. A request without a host is not a browser's.
    ///
    /// # Errors
    /// A name that is not allowed, with what to change.
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
        // A name with a dot at its end is the same name.
        let host = host.strip_suffix('.').unwrap_or(host);
        is_loopback_name(host) || is_address(host) || self.0.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
    }
}

/// The host of `host:port`.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// `localhost` and the names below it, which resolvers must not look up (RFC 6761, 6.3).
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
