//! Answers to GET requests: JSON under `/api/`, and web pages that show it.
//!
//! The pages are static files. A strict Content-Security-Policy allows them to run only their own scripts.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::header::{REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Response, StatusCode, Uri};
use serde::Serialize;

use super::check::trace_id;
use super::json::{Missing, StatusReport, TraceJson, TraceRow, error};
use super::origin::DaemonQueries;
use super::store::{Filter, Query, TraceStore};
use crate::otlp::TraceId;

/// Traces in a list if the query has no `limit`.
const LIMIT_DEFAULT: usize = 50;
/// Maximum traces in a list.
const LIMIT_MAX: usize = 1_000;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const LIST_PAGE: &str = include_str!("assets/list.html");
const TRACE_PAGE: &str = include_str!("assets/trace.html");

/// Files that the pages load: path, content type, content.
const ASSETS: [(&str, &str, &str); 5] = [
    ("/assets/style.css", "text/css; charset=utf-8", include_str!("assets/style.css")),
    ("/assets/common.js", "text/javascript; charset=utf-8", include_str!("assets/common.js")),
    ("/assets/list.js", "text/javascript; charset=utf-8", include_str!("assets/list.js")),
    ("/assets/trace.js", "text/javascript; charset=utf-8", include_str!("assets/trace.js")),
    ("/assets/icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// Allows scripts, styles, images and requests from this server only; forbids frames, forms and a base URL.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The data that the pages show.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The store with the spans.
    pub store: &'a TraceStore,
    /// The daemon that writes to the store, if it is in this process.
    pub origin: Option<&'a dyn DaemonQueries>,
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

/// Refuses a request whose host is not allowed (RFC 9110, 15.5.20).
#[must_use]
pub fn refuse_host(message: &str) -> Response<Bytes> {
    json(StatusCode::MISDIRECTED_REQUEST, &error(message))
}

fn traces(store: &TraceStore, query: &str) -> Response<Bytes> {
    match parse_query(query) {
        Ok(query) => {
            let rows: Vec<TraceRow> = store.traces(&query).into_iter().map(TraceRow::from).collect();
            json(StatusCode::OK, &rows)
        }
        Err(message) => json(StatusCode::BAD_REQUEST, &error(&message)),
    }
}

/// Reads `filter`, `policy`, `service` and `limit`. An empty value counts as absent: HTML forms send empty fields.
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
        Some((summary, spans)) => json(StatusCode::OK, &TraceJson::new(summary, &spans)),
        None => json(StatusCode::NOT_FOUND, &missing(site, id)),
    }
}

/// Returns the reason why a trace is not stored. Only a daemon in this process knows the exact reason.
fn missing(site: Site<'_>, id: TraceId) -> Missing {
    let evicted = site.store.status().counts.evicted_traces > 0;
    match site.origin.map(|origin| origin.fate(id)) {
        Some(fate) => Missing { error: fate.explain(evicted), fate: Some(fate.label()) },
        None if evicted => Missing::new("this trace is not stored: it never came, or it was evicted to make room"),
        None => Missing::new("this trace is not stored: no span of it came"),
    }
}

/// Returns the page of a trace. The page itself asks why a trace is missing, and waits for one that may still come.
fn trace_page(store: &TraceStore, id: &str) -> Response<Bytes> {
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

/// Returns a response that must not be cached: the data changes at any time, and the pages change with every build.
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
