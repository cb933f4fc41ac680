//! Logs: readable on a terminal, Cloud Logging's structured JSON otherwise.
//!
//! They go to standard error: standard output belongs to what a command was asked to print, and Cloud Run collects
//! both alike (in JSON each line carries its own severity).
//!
//! Invariants
//! - Logging never blocks, fails or panics its caller: lines go through a bounded queue to a thread of their own, and
//!   a reader that is gone or too slow costs lines, which are counted, never time.
//! - An event holds everything that it says: `tracing` spans are not used for the daemon's own logs.

mod json;
mod queue;
#[cfg(test)]
mod tests;
mod throttle;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use crate::config::settings::{self, LogFormat, LogLevel};
pub use throttle::Throttle;

use json::Json;
use queue::Queue;

/// How long the last lines may take to be written at exit: a small part of the 8 s that a shutdown has.
const FLUSH_WAIT: Duration = Duration::from_millis(500);

/// Writes what is still queued when it is dropped. Keep it until the process ends.
#[derive(Debug)]
#[must_use = "the last lines are written when this is dropped"]
pub struct Flush(Queue);

impl Drop for Flush {
    fn drop(&mut self) {
        // Late lines are not worth a late exit: a reader that takes none for so long is stuck.
        let _ = self.0.flush(FLUSH_WAIT);
    }
}

/// Sends the logs of the whole process to standard error. Only the first call in a process has an effect.
///
/// # Errors
/// The thread that writes the lines could not be started.
pub fn init(settings: &settings::Log) -> io::Result<Flush> {
    let terminal = io::stderr().is_terminal();
    let queue = Queue::start(io::stderr())?;
    let layer = layer(settings.format, terminal, ansi(terminal), Arc::new(queue.clone()));
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter(settings.level)));
    // An error says that a subscriber is there already: the first one stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(Flush(queue))
}

/// Colours are for terminals, and not for those who asked for none (no-color.org: set and not empty).
fn ansi(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
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

/// Our own events from `level` on. Libraries (h2, hyper, rustls) speak only of trouble, unless one is debugging.
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
