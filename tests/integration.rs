//! The tests of the whole daemon and of the documents, as modules of one program. Tests that need a process of their own
//! are programs of their own: `heavy`, and `noise`, whose subscriber is that of the process.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

mod bad_input;
mod collector_oddities;
mod config_files;
mod config_schema;
mod conservation;
mod daemon_api;
mod delivery;
mod documentation;
mod emulator;
mod fleet;
mod forward;
mod google;
mod handoff;
mod import;
mod journal;
mod lateness;
mod metrics_table;
mod policy_order;
mod policy_tests;
mod program;
mod receiver;
mod recording;
mod reload;
mod rooms;
mod shared_parts;
mod span_metrics;
mod spool;
mod stock_exporters;
mod support;
mod validating;
