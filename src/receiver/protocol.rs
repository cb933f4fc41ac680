//! Requests and answers in the terms of their protocols.
//!
//! - `router` finds the service of a request: gRPC by the content type, everything else by the path. It answers the
//!   pages (`/metrics`, `/livez`, `/readyz`) itself.
//! - `grpc` and `http` are OTLP over gRPC and over HTTP. `signals` are the signals of OTLP that are not accepted.
//! - `api` has the paths of the daemon's API.
//! - `health` and `reflection` are the other gRPC services.
//! - `cors` has the rules for scripts in browsers.
//! - `reply` has the bodies of answers, and `scrape` that of `/metrics`.

pub(super) mod api;
pub(super) mod cors;
mod grpc;
pub(super) mod health;
mod http;
pub(super) mod reflection;
pub(super) mod reply;
pub(super) mod router;
mod scrape;
pub(super) mod signals;
