//! What a browser, a script or a test can read: JSON under `/api/`, and pages that show it.
//!
//! The pages are static files; a strict Content-Security-Policy lets them run nothing but themselves.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::header::{REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Response, StatusCode, Uri};
use serde::Serialize;

use super::check::trace_id;
use super::json::{Missing, StatusReport, Trace, TraceRow, error};
use super::origin::Origin;
use super::store::{Filter, Query, Store};
use crate::otlp::TraceId;

/// Traces in a list unless the query says otherwise.
const LIMIT_DEFAULT: usize = 50;
/// Traces in a list at most.
const LIMIT_MAX: usize = 1_000;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const LIST_PAGE: &str = include_str!("assets/list.html");
const TRACE_PAGE: &str = include_str!("assets/trace.html");

/// Files that the pages are made of: path, content type, content.
const ASSETS: [(&str, &str, &str); 5] = [
    ("/assets/style.css", "text/css; charset=utf-8", include_str!("assets/style.css")),
    ("/assets/common.js", "text/javascript; charset=utf-8", include_str!("assets/common.js")),
    ("/assets/list.js", "text/javascript; charset=utf-8", include_str!("assets/list.js")),
    ("/assets/trace.js", "text/javascript; charset=utf-8", include_str!("assets/trace.js")),
    ("/assets/icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// Scripts, styles and requests only from here; no markup of others, no frames, no forms.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the pages show.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// What was written.
    pub store: &'a Store,
    /// The daemon that writes, if it is in this process.
    pub origin: Option<&'a dyn Origin>,
}

/// Answers a request for a page or for JSON.
#[must_use]
pub fn respond(site: Site<'_>, method: &Method, uri: &Uri) -> Response<Bytes> {
    let store = site.store;
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = json(StatusCode::METHOD_NOT_ALLOWED, &error("only GET and HEAD are answered here"));
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match uri.path() {
        "/" => answer(StatusCode::OK, HTML, LIST_PAGE),
        "/livez" => answer(StatusCode::OK, TEXT, "ok\n"),
        "/api/status" => json(StatusCode::OK, &StatusReport::new(store.status(), site.origin)),
        "/api/traces" => traces(store, uri.query().unwrap_or_default()),
        path => match (path.strip_prefix("/api/traces/"), path.strip_prefix("/traces/")) {
            (Some(id), _) => trace(site, id),
            (_, Some(id)) => trace_page(store, id),
            _ => asset(path),
        },
    }
}

/// Refuses a request that names a host for which this server is not (RFC 9110, 15.5.20).
#[must_use]
pub fn refuse_host(message: &str) -> Response<Bytes> {
    json(StatusCode::MISDIRECTED_REQUEST, &error(message))
}

fn traces(store: &Store, query: &str) -> Response<Bytes> {
    match parse_query(query) {
        Ok(query) => {
            let rows: Vec<TraceRow> = store.traces(&query).into_iter().map(TraceRow::from).collect();
            json(StatusCode::OK, &rows)
        }
        Err(message) => json(StatusCode::BAD_REQUEST, &error(&message)),
    }
}

/// Reads `filter`, `policy`, `service` and `limit`; an empty value counts as absent, as forms send it.
fn parse_query(text: &str) -> Result<Query, String> {
    let mut query = Query { limit: LIMIT_DEFAULT, ..Query::default() };
    for (key, value) in form_urlencoded::parse(text.as_bytes()).filter(|(_, value)| !value.is_empty()) {
        match &*key {
            "filter" => query.filter = parse_filter(&value)?,
            "policy" => query.policy = Some(value.into_owned()),
            "service" => query.service = Some(value.into_owned()),
            "limit" => query.limit = parse_limit(&value)?,
            _ => return Err(format!("unknown parameter {key:?}: use filter, policy, service and limit")),
        }
    }
    Ok(query)
}

fn parse_filter(text: &str) -> Result<Filter, String> {
    match text {
        "newest" => Ok(Filter::Newest),
        "errors" => Ok(Filter::Errors),
        "slow" => Ok(Filter::Slow),
        _ => Err(format!("unknown filter {text:?}: use newest, errors or slow")),
    }
}

fn parse_limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| format!("limit must be a number from 1 to {LIMIT_MAX}"))
}

fn trace(site: Site<'_>, id: &str) -> Response<Bytes> {
    let Some(id) = trace_id(id) else {
        return json(StatusCode::BAD_REQUEST, &error("a trace id is 32 lower-case hexadecimal digits, not all zero"));
    };
    match site.store.trace_with_summary(&id) {
        Some((summary, spans)) => json(StatusCode::OK, &Trace::new(summary, &spans)),
        None => json(StatusCode::NOT_FOUND, &missing(site, id)),
    }
}

/// Why a trace is not stored. Only a daemon in this process can say more than that it is not.
fn missing(site: Site<'_>, id: TraceId) -> Missing {
    let evicted = site.store.status().counts.evicted_traces > 0;
    match site.origin.map(|origin| origin.fate(id)) {
        Some(fate) => Missing { error: fate.explain(evicted), fate: Some(fate.label()) },
        None if evicted => Missing::new("this trace is not stored: it never came, or it was evicted to make room"),
        None => Missing::new("this trace is not stored: no span of it came"),
    }
}

/// The page itself finds out why a trace cannot be shown, and waits for one that may still come.
fn trace_page(store: &Store, id: &str) -> Response<Bytes> {
    let status = match trace_id(id) {
        None => StatusCode::BAD_REQUEST,
        Some(id) if !store.holds(&id) => StatusCode::NOT_FOUND,
        Some(_) => StatusCode::OK,
    };
    answer(status, HTML, TRACE_PAGE)
}

fn asset(path: &str) -> Response<Bytes> {
    match ASSETS.iter().find(|(asset, ..)| *asset == path) {
        Some((_, content_type, content)) => answer(StatusCode::OK, content_type, *content),
        None => json(StatusCode::NOT_FOUND, &error("nothing is here: try /, /api/status or /api/traces")),
    }
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    match serde_json::to_vec(body) {
        Ok(body) => answer(status, JSON, body),
        Err(e) => answer(StatusCode::INTERNAL_SERVER_ERROR, JSON, error(&e.to_string()).to_string()),
    }
}

/// Nothing is cached: the data change, and the pages with every build.
fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().extend([
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ]);
    response
}

#[cfg(test)]
mod tests;
