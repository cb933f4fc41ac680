//! `spansieve emulator`: the embedded Cloud Trace on its own.

use std::io::{self, Write};

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

use crate::emulator::Emulator;

/// The reason why the embedded Cloud Trace does not run.
#[derive(Debug, Error)]
pub enum EmulatorError {
    /// The address is in use, belongs to another machine, or is not valid. The message names it.
    #[error("{0}")]
    Listen(io::Error),
    /// The handlers for SIGINT and SIGTERM cannot be installed.
    #[error("cannot wait for SIGINT and SIGTERM: {0}")]
    Signal(io::Error),
    /// Standard output is closed.
    #[error("cannot print: {0}")]
    Print(io::Error),
}

/// Serves an embedded Cloud Trace of at most `max_bytes` on `listen` (`host:port`), until SIGINT or SIGTERM. Browsers
/// may also call it by the names `allowed_hosts`.
///
/// # Errors
/// See [`EmulatorError`].
pub async fn run(listen: String, max_bytes: usize, allowed_hosts: Vec<String>) -> Result<(), EmulatorError> {
    // The signal handlers come first: once the address is printed, a script may send a signal.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(EmulatorError::Signal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(EmulatorError::Signal)?;
    let emulator = Emulator::start_as(&listen, max_bytes, &allowed_hosts).await.map_err(EmulatorError::Listen)?;
    introduce(&mut io::stdout(), &emulator).map_err(EmulatorError::Print)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    emulator.shutdown().await;
    Ok(())
}

/// Prints the addresses, and how to use them.
fn introduce(out: &mut impl Write, emulator: &Emulator) -> io::Result<()> {
    let url = emulator.url();
    writeln!(out, "Embedded Cloud Trace on {}", emulator.local_addr())?;
    writeln!(out, "  page and API   {url}/  {url}/api/traces")?;
    writeln!(out, "  to write to it, set in the daemon's configuration:")?;
    writeln!(out, "    export: {{endpoint: \"{url}\"}}")?;
    out.flush()
}

#[cfg(test)]
mod tests;
