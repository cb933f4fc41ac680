//! The proxy of the environment. The variables are those of curl, upper case first.

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use thiserror::Error;

use crate::google::Variables;

/// The variables with the proxy. The first one that is set counts; an empty value means no proxy.
const PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const NO_PROXY_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The environment names a proxy that cannot be used. The message does not contain the value, because it may have a
/// password.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the proxy of {variable} cannot be used; write `http://[user:password@]host:port`")]
pub struct ProxyError {
    /// The environment variable.
    pub variable: &'static str,
}

/// Returns the proxy for `uri`, if the environment `variables` has one. A plaintext endpoint gets no proxy: it is in
/// the operator's own network, and proxies open tunnels only for TLS.
pub(super) fn of(uri: &Uri, variables: Variables<'_>) -> Result<Option<Intercept>, ProxyError> {
    let first = |names: &[&'static str]| names.iter().find_map(|name| Some((*name, variables(name)?)));
    let Some((variable, proxy)) = first(&PROXY_VARIABLES).filter(|(_, proxy)| !proxy.is_empty()) else {
        return Ok(None);
    };
    if uri.scheme() != Some(&http::uri::Scheme::HTTPS) {
        return Ok(None);
    }
    let matcher = || Matcher::builder().https(proxy.as_str());
    let usable = matcher().build().intercept(uri).filter(|proxy| proxy.uri().scheme_str() == Some("http"));
    usable.ok_or(ProxyError { variable })?;
    let except = first(&NO_PROXY_VARIABLES).map_or_else(String::new, |(_, except)| except);
    Ok(matcher().no(except).build().intercept(uri))
}
