//! Rules that say what scripts in browsers may send and see (Fetch standard, CORS protocol). They are the rules of the
//! Collector's `cors` section, which are those of the Go library rs/cors.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::reply::ReplyBody;
use crate::receiver::settings;

/// Methods that a preflight request may ask for.
const METHODS: [&str; 3] = ["GET", "POST", "HEAD"];

/// Headers that a preflight request may ask for without being in `allowed_headers`.
const HEADERS: [&str; 4] = ["accept", "content-type", "origin", "x-requested-with"];

/// Request headers that the answer to a preflight request depends on.
const PREFLIGHT_VARY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

const ANY: &str = "*";

/// CORS rules of the configuration.
#[derive(Debug)]
pub(in crate::receiver) struct Cors {
    /// Allowed origins in lower case, each with at most one wildcard.
    origins: Vec<String>,
    /// Allowed headers in lower case.
    headers: Vec<String>,
    max_age_s: Option<u32>,
}

impl Cors {
    pub(in crate::receiver) fn new(settings: &settings::CorsSettings) -> Self {
        let lower = |texts: &[String]| texts.iter().map(|text| text.to_ascii_lowercase()).collect();
        let (origins, headers) = (lower(&settings.allowed_origins), lower(&settings.allowed_headers));
        Cors { origins, headers, max_age_s: settings.max_age_s }
    }

    /// Returns the answer to a preflight request. `None` if the request is not one.
    pub(super) fn preflight(&self, parts: &Parts) -> Option<Response<ReplyBody>> {
        let method = parts.headers.get(ACCESS_CONTROL_REQUEST_METHOD).filter(|_| parts.method == Method::OPTIONS)?;
        let mut response = Response::new(ReplyBody::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let answer = response.headers_mut();
        answer.insert(VARY, HeaderValue::from_static(PREFLIGHT_VARY));
        let headers = parts.headers.get(ACCESS_CONTROL_REQUEST_HEADERS);
        let is_allowed =
            METHODS.iter().any(|allowed| method == allowed) && headers.is_none_or(|names| self.allows(names));
        if let Some(origin) = self.origin(&parts.headers).filter(|_| is_allowed) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            answer.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
            answer.extend(headers.map(|names| (ACCESS_CONTROL_ALLOW_HEADERS, names.clone())));
            answer.extend(self.max_age_s.map(|seconds| (ACCESS_CONTROL_MAX_AGE, HeaderValue::from(seconds))));
        }
        Some(response)
    }

    /// Returns the CORS headers for the answer to a request with these headers. A refusal carries them, too.
    pub(in crate::receiver) fn grant(&self, headers: &HeaderMap) -> HeaderMap {
        let mut answer = HeaderMap::with_capacity(4);
        answer.insert(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = self.origin(headers) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            // Exporters read this header, and browsers hide it from scripts unless it is exposed.
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
        }
        answer
    }

    /// Returns the origin to name in the answer. `None` if the request's origin is not allowed.
    fn origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        let name = origin.to_str().ok()?.to_ascii_lowercase();
        if self.origins.iter().any(|allowed| allowed == ANY) {
            return Some(HeaderValue::from_static(ANY));
        }
        self.origins.iter().any(|allowed| matches(allowed, &name)).then(|| origin.clone())
    }

    /// Returns true if all of the comma-separated `names` are allowed.
    fn allows(&self, names: &HeaderValue) -> bool {
        let Ok(names) = names.to_str() else { return false };
        let names = names.split(',').map(|name| name.trim().to_ascii_lowercase());
        names.filter(|name| !name.is_empty()).all(|name| {
            HEADERS.contains(&name.as_str()) || self.headers.iter().any(|allowed| *allowed == name || allowed == ANY)
        })
    }
}

/// Returns true if `origin` matches `allowed`, in which a `*` stands for any text.
fn matches(allowed: &str, origin: &str) -> bool {
    match allowed.split_once('*') {
        Some((start, end)) => {
            origin.len() >= start.len() + end.len() && origin.starts_with(start) && origin.ends_with(end)
        }
        None => allowed == origin,
    }
}

#[cfg(test)]
mod tests;
