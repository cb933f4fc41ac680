//! The real receiver over loopback with a fake trace table. Every request gets the answer that the OTLP specification,
//! HTTP and gRPC require, and no sender can harm other senders.
//!
//! These tests do not cover throughput, nor whether stock exporters understand the answers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

mod answers;
mod auth;
mod crowd;
mod frames;
mod heads;
mod hostile;
mod reflection;
mod stop;
mod telemetry;
