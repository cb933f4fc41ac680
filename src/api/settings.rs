//! The section `api` of the configuration.

use crate::receiver::settings::AuthSettings;
use crate::settings::kinds::{ADDRESS, Filled, OrNone};
use crate::settings::section;

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
    }
}
