//! Spansieve: tail sampling for Google Cloud Run.
//!
//! Services send every span with their stock OTLP exporter; Spansieve waits until a trace is complete, keeps every
//! trace with an error and every slow one, keeps a ratio of the rest, rewrites resource attributes and writes the kept
//! spans to Google Cloud Trace. `ARCHITECTURE.md` has the map of the modules.
//!
//! The way of the data: [`receiver`], [`otlp`], [`journal`], [`tail`] with [`sampling`], [`export`] with [`resource`], and
//! the sink: [`cloud_trace`] or [`forward`].
//!
//! The order of use, from top to bottom: [`cli`]; [`offline`]; [`daemon`]; [`config`]; [`fleet`] and the two sinks; [`export`] and
//! [`receiver`]; [`google`] and [`journal`]; [`segment`], [`trust`] and [`clock`]; [`telemetry`]; [`terminal`]; the crates
//! `spansieve-emulator`, `spansieve-core`, `spansieve-otlp` and `spansieve-proto`. A module uses only what stands below it.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

#[macro_use(labels)]
pub extern crate spansieve_otlp as otlp;

mod activity;
pub mod api;
pub mod cli;
pub mod clock;
pub mod cloud_trace;
pub mod config;
#[cfg(any(all(test, debug_assertions), fuzzing))]
pub mod cost;
pub mod daemon;
pub mod export;
pub mod fleet;
pub mod forward;
pub mod google;
pub mod import;
pub mod journal;
pub mod offline;
pub mod policy_tests;
pub mod receiver;
pub mod segment;
#[cfg(test)]
mod simulation;
pub mod telemetry;
pub mod terminal;
pub mod trust;

pub use spansieve_core::{budget, condition, host, resource, sampling, settings, span_metrics, tail};
pub use {spansieve_emulator as emulator, spansieve_proto as proto};
