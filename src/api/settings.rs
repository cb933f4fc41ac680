//! The section `api` of the configuration.

use crate::receiver::settings::AuthSettings;
use crate::settings::diagnostic::SettingError;
use crate::settings::kinds::{ADDRESS, ATTRIBUTE_KEY, Bool, Filled, List, OrNone, Sub};
use crate::settings::reader::Section;
use crate::settings::{Limit, section};

/// The most keys of attributes of one list, in the configuration or in a request for a recording.
pub(super) const KEYS_MAX: usize = 100;

const KEYS: Limit<usize> = Limit { min: 0, max: KEYS_MAX, why: "each is compared with the key of every attribute" };

section! {
    /// The API that answers questions about a running daemon.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ApiSettings {
        /// The address (`host:port`) that serves the paths below `/api/`, in plaintext. It may be that of
        /// `telemetry.listen`, or one of `otlp.listen`, which then serves these paths, too, with `otlp.tls` if that is
        /// set. Empty: no API. With the API, each remembered trace id of `tail_sampling.decision_cache` takes 11 bytes
        /// more of the memory budget: the trigger, the time, the spans and the late spans of its decision.
        pub listen: Option<String> = None, OrNone(ADDRESS);
        /// The clients that may ask, as in `otlp.auth`. Without this section, a client needs the token of a sender if
        /// `otlp.auth` is set, and otherwise no token.
        pub auth: Option<AuthSettings> = None, Filled;
        /// Recordings of the requests that the daemon receives, for `spansieve record`.
        pub recording: RecordingSettings = RecordingSettings::default(), Sub;
    }
    check: ApiSettings::check;
}

impl ApiSettings {
    fn check(&mut self, section: &mut Section<'_>) {
        if self.recording.enabled && self.listen.is_none() {
            let fault = SettingError::new("`recording` has no effect without `listen`");
            section.warn(section.at(), fault.help("write `listen: \"127.0.0.1:8090\"` into `api`"));
        }
    }
}

section! {
    /// Recordings of the requests that the daemon receives.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct RecordingSettings {
        /// Lets the clients of the API record what the daemon receives: whole spans with their attributes, dropped ones
        /// included.
        pub enabled: bool = false, Bool;
        /// The keys of attributes that are left out of every recording: of resources, scopes, spans, events and links, and
        /// entries of maps in their values. A client can name further ones (`--redact`).
        pub redact: Vec<String> = Vec::new(), List { of: ATTRIBUTE_KEY, count: KEYS };
        /// The keys of attributes whose values are replaced by a hash in every recording. Equal values have equal hashes
        /// within a recording, and others in the next one. A client can name further ones (`--hash`).
        pub hash: Vec<String> = Vec::new(), List { of: ATTRIBUTE_KEY, count: KEYS };
    }
}
