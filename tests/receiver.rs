//! The real receiver over loopback with a fake trace table. Every request gets the answer that the OTLP specification,
//! HTTP and gRPC require, and no sender can harm other senders.
//!
//! These tests do not cover throughput, nor whether stock exporters understand the answers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/process.rs"]
mod process;
#[path = "receiver/support.rs"]
mod support;

#[path = "receiver/answers.rs"]
mod answers;
#[path = "receiver/auth.rs"]
mod auth;
#[path = "receiver/crowd.rs"]
mod crowd;
#[path = "receiver/frames.rs"]
mod frames;
#[path = "receiver/heads.rs"]
mod heads;
#[path = "receiver/hostile.rs"]
mod hostile;
#[path = "receiver/reflection.rs"]
mod reflection;
#[path = "receiver/stop.rs"]
mod stop;
#[path = "receiver/telemetry.rs"]
mod telemetry;
