//! `spansieve demo`: a shop of five services sends its spans to the daemon's real OTLP port.

mod player;
mod report;
mod shop;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use crate::daemon::{Daemon, Observed};
use crate::emulator::TraceStore;

/// The interval of the reports about received and kept spans.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// The addresses and the data that the demo uses.
pub struct Stage {
    /// An OTLP address, `http://host:port`.
    pub otlp: String,
    /// The page of the embedded Cloud Trace, `http://host:port`.
    pub page: String,
    /// The store of kept spans.
    pub store: Arc<TraceStore>,
    /// The counts of the daemon.
    pub observed: Arc<Observed>,
}

impl Stage {
    /// Returns the stage of `daemon`, or `None` if it does not write to the embedded Cloud Trace.
    #[must_use]
    pub fn of(daemon: &Daemon) -> Option<Self> {
        let emulator = daemon.emulator()?;
        Some(Stage {
            otlp: daemon.endpoint()?,
            page: emulator.url(),
            store: Arc::clone(emulator.store()),
            observed: Arc::clone(daemon.observed()),
        })
    }
}

/// Plays until it is aborted. Prints a report on standard output every few seconds.
///
/// # Errors
/// The OTLP address is not a URL, or spans cannot be sent to it.
pub async fn play(stage: Stage) -> Result<(), tonic::Status> {
    let mut player = player::Player::new(stage.otlp.clone())?;
    let mut tick = tokio::time::interval(player::TICK);
    let mut report = tokio::time::interval_at(tokio::time::Instant::now() + REPORT_INTERVAL, REPORT_INTERVAL);
    loop {
        tokio::select! {
            _ = tick.tick() => player.send().await?,
            // If standard output is closed, there is no reader to tell.
            _ = report.tick() => drop(writeln!(io::stdout(), "{}", report::render(&stage))),
        }
    }
}
