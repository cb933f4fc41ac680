//! The pure core of Spansieve: everything between the bytes of a request and the bytes of a call to the sink that needs
//! no runtime. Nothing here does I/O, reads a clock, spawns a task or a thread, or draws a random number: time,
//! randomness and bytes are arguments.
//!
//! A module may use the modules before it in this order: [`settings`], [`budget`] and [`host`]; [`condition`]; [`sampling`] and
//! [`resource`]; [`tail`]; [`span_metrics`]; the encoders in [`cloud_trace`] and [`forward`].
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

#[macro_use(labels)]
extern crate spansieve_otlp as otlp;

pub mod budget;
pub mod cloud_trace;
pub mod condition;
pub mod fleet;
pub mod forward;
pub mod host;
mod replaceable;
pub mod resource;
pub mod sampling;
pub mod settings;
pub mod span_metrics;
pub mod tail;
#[cfg(test)]
mod testing;

#[cfg(test)]
use spansieve_proto as proto;
