//! The real receiver over loopback, with a fake trace table behind it: every request gets the answer that the OTLP
//! specification, HTTP and gRPC ask for, and no sender can harm the others.
//!
//! Not proven here: that stock exporters understand the answers, and throughput.
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
