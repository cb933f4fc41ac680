//! `spansieve record` and `spansieve simulate`: a recording of a running daemon, and the same verdicts from it.

mod bad_input;
mod document;
mod explaining;
mod record;
mod same_verdicts;

use std::path::Path;

use spansieve::daemon::Daemon;

use crate::support::{self, CONFIG};

/// The configuration of the tests, with recordings.
fn config() -> String {
    format!("{CONFIG}api: {{listen: \"127.0.0.1:0\", recording: {{enabled: true}}}}\n")
}

async fn start() -> Daemon {
    support::start(&config()).await
}

/// Waits until a client records: its memory is charged.
async fn is_recording(daemon: &Daemon, used_before: u64) {
    let observed = std::sync::Arc::clone(daemon.observed());
    support::eventually("a client records", || observed.held().used_bytes >= used_before + (8 << 20)).await;
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
