//! The number of files that the process may have open. Each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are not connections to `otlp.listen`: connections to `telemetry.listen`, connections that are leaving,
/// connections to the sink and to token servers, files of the journal and the spool, and the runtime's own.
const OTHER_FILES: usize = 512;

/// Divisor of the number of files that gives the number of connections if the limit is very low.
const CONNECTIONS_PART: usize = 4;

/// Raises the soft limit of open files to the hard limit, and returns the limit that is in force. `None` if there is no
/// limit. The soft limit is usually 1,024 for the sake of programs that use `select`, which cannot handle more.
pub(super) fn raise_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, files = current, "Cannot raise the limit of open files.");
            current
        }
    }
}

/// Returns the number of connections out of `wanted` for which `files_max` leaves enough other files. Logs if they are
/// fewer.
pub(super) fn connections_within(files_max: Option<u64>, wanted: usize) -> usize {
    let Some(files) = files_max.and_then(|files| usize::try_from(files).ok()) else { return wanted };
    let connections = files.saturating_sub(OTHER_FILES).max(files / CONNECTIONS_PART).min(wanted);
    if connections < wanted {
        tracing::warn!(
            files,
            connections,
            wanted,
            "The limit of open files allows fewer connections than memory does. Raise the hard limit (ulimit -Hn)."
        );
    }
    connections
}

#[cfg(test)]
mod tests;
