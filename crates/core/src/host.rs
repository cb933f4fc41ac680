//! Host names that a web page from elsewhere cannot use to reach a server without credentials.
//!
//! The browser's same-origin rule keeps such a page from reading the answers, unless the page's own host name is made to
//! resolve to the server's address (DNS rebinding). The `Host` header then still contains the page's name. IP addresses
//! and `localhost` cannot be rebound.

use core::net::{Ipv4Addr, Ipv6Addr};

/// Returns the host of `host:port`.
#[must_use]
pub fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Returns true if `host` is an IP address, `localhost` or a name below it, or one of `others`.
#[must_use]
pub fn is_allowed(host: &str, others: &[String]) -> bool {
    // A trailing dot does not change the meaning of a name.
    let host = host.strip_suffix('.').unwrap_or(host);
    is_loopback_name(host) || is_address(host) || others.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
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
