//! The section `journal` of the configuration.

use std::path::PathBuf;

use crate::settings::kinds::{ByteCount, DIRECTORY, OrEmpty, Required};
use crate::settings::{Limit, MIB, TIB, section};

/// Some minutes of 20,000 spans a second: several times the requests that wait for decisions and rescue.
const DEFAULT_BYTES: u64 = 4 << 30;

const BYTES: Limit<u64> =
    Limit { min: 64 * MIB, max: 1024 * TIB, why: "its files are of 16MiB, and each waits for those before it" };

section! {
    /// Requests on disk until their spans are settled.
    #[derive(Clone, Debug, PartialEq)]
    pub struct JournalSettings {
        /// A directory on a disk, of this process alone. It is made if it does not exist. Empty: no journal. Do not use
        /// Cloud Run's own file system, which is memory, or the directory of the spool.
        pub directory: PathBuf = PathBuf::new(), Required(OrEmpty(DIRECTORY));
        /// The most bytes that its files take. It should hold all that comes in during `decision_wait` and
        /// `rescue.window`, and must be more than `otlp.max_request_bytes`.
        pub max_bytes: u64 = DEFAULT_BYTES, ByteCount::within(BYTES);
    }
}

impl JournalSettings {
    /// Returns true if there is a directory for the files.
    pub(crate) fn has_directory(&self) -> bool {
        !self.directory.as_os_str().is_empty()
    }
}
