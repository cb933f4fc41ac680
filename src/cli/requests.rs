//! The requests of the files that a command names, in the order in which they arrived.

mod ahead;
mod merged;

use std::path::Path;

use self::ahead::Ahead;
use self::merged::Merged;
use super::explain::report;
use super::progress::Progress;
use crate::offline::input::{self, Input};
use crate::settings::units::grouped;

/// The requests of several files as one.
pub(super) type Requests = Merged<Ahead>;

/// Opens the files. Reports what cannot be opened.
pub(super) fn open(paths: &[impl AsRef<Path> + Sync]) -> Option<Requests> {
    let files = if paths.len() == 1 { "a file".to_owned() } else { format!("{} files", paths.len()) };
    let inputs = Progress::during(&format!("reading {files}"), || input::open_all(paths));
    of(inputs.inspect_err(|error| report("error", &error.to_string(), error.help.as_deref())).ok()?)
}

/// Returns the requests of the inputs. Reports if they cannot be read.
pub(super) fn of(inputs: Vec<Input>) -> Option<Requests> {
    let inputs = Ahead::all(inputs).inspect_err(|error| {
        report("error", &format!("a thread cannot be started: {error}"), None);
    });
    inputs.ok().map(Merged::new)
}

impl Requests {
    /// Reports what could not be read so far, although the rest could.
    pub(super) fn report_faults(&self) {
        for fault in self.faults() {
            report("warning", &fault.text, Some(fault.help));
        }
    }

    /// Returns the text of the progress of a command that has read `count` requests.
    pub(super) fn progress(&self, what: &str, count: u64) -> String {
        let (read, len) = self.position();
        let part = if len > 0 {
            format!("{:.0} % of the recording, ", 100.0 * read as f64 / len as f64)
        } else {
            String::new()
        };
        format!("{what}: {part}{} requests", grouped(count))
    }
}
