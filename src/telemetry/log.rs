//! Logs: readable text on a terminal, and Cloud Logging's structured JSON otherwise.
//!
//! Logs go to standard error, because standard output is for the output of commands. Cloud Run collects both alike (in
//! JSON each line carries its own severity).
//!
//! Invariants
//! - Logging never blocks, fails or panics its caller: lines go through a bounded queue to a thread of their own. If
//!   the reader of the log is gone or too slow, lines are lost and counted, but no time is lost.
//! - An event contains everything that it says: `tracing` spans are not used for the daemon's own logs.

mod json;
mod queue;
#[cfg(test)]
mod tests;
mod throttle;

use std::io::{self, IsTerminal};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Registry, reload};

use crate::telemetry::settings::{self, LogFormat, LogLevel};
use crate::terminal::is_colored;
pub use throttle::Throttle;

use json::Json;
use queue::LineQueue;

/// The longest time that writing the last lines takes at exit: a small part of the 8 s that a shutdown has.
const FLUSH_WAIT: Duration = Duration::from_millis(500);

/// A guard that writes the lines that are still queued when it is dropped. Keep it until the process ends.
#[derive(Debug)]
#[must_use = "the last lines are written when this is dropped"]
pub struct Flush(LineQueue);

impl Drop for Flush {
    fn drop(&mut self) {
        // A reader that takes no line for that time is stuck. The last lines are not worth a longer exit.
        let _ = self.0.flush(FLUSH_WAIT);
    }
}

/// Sends the logs of the whole process to standard error. Only the first call in a process has an effect.
///
/// # Errors
/// The thread that writes the lines could not be started.
pub fn init(settings: &settings::Log) -> io::Result<Flush> {
    let terminal = io::stderr().is_terminal();
    let queue = LineQueue::start(io::stderr())?;
    let layer = layer(settings.format, terminal, is_colored(terminal), Arc::new(queue.clone()));
    let (filter, handle) = reload::Layer::new(filter(settings.level));
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
    let _ = LEVEL.set(handle);
    // An error means that a subscriber is set already. The first one stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(Flush(queue))
}

/// The filter of the logs of the whole process.
static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Changes the level of the logs that [`init`] has set up.
pub fn set_level(level: LogLevel) {
    if let Some(handle) = LEVEL.get() {
        // An error means that the subscriber is gone. Then there are no logs.
        let _ = handle.reload(filter(level));
    }
}

fn layer<S, W>(format: LogFormat, terminal: bool, ansi: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(ansi && !json);
    if json { layer.event_format(Json { now: SystemTime::now }).boxed() } else { layer.boxed() }
}

/// Returns a filter that passes the daemon's own events from `level` on. Libraries (h2, hyper, rustls) may log only
/// warnings and errors, unless the level is `debug` or `trace`.
fn filter(level: LogLevel) -> Targets {
    let own = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let libraries = if own > LevelFilter::INFO { own } else { own.min(LevelFilter::WARN) };
    Targets::new().with_target(env!("CARGO_CRATE_NAME"), own).with_default(libraries)
}
