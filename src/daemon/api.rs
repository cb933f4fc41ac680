//! Answers the questions of the API.

mod fate;
mod policies;
mod spans;

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;

use super::observed::Observed;
use super::reload::Reloader;
use crate::api::answers::ErrorAnswer;
use crate::api::decisions::Filter;
use crate::api::recordings::{RecordingStart, Redaction};
use crate::api::settings::RecordingSettings;
use crate::budget::{Budget, Share};
use crate::clock;
use crate::receiver::{Api, ApiAnswer};

/// The path of the decisions.
const DECISIONS: &str = "/api/decisions";
/// The path of the spans of traces.
const TRACES: &str = "/api/traces/";
/// The path of the configuration.
const CONFIG: &str = "/api/config";
/// The path of the counts by policy.
const POLICIES: &str = "/api/policies";

/// The path of recordings.
const RECORDING: &str = "/api/recording";

const NOTHING: &str = "there is nothing here; the paths are /api/decisions, /api/decisions/{trace_id}, \
    /api/traces/{trace_id}, /api/config, /api/policies and /api/recording";

const NO_RECORDINGS: &str = "this daemon lets no client record: set api.recording.enabled to true in its configuration, \
    and restart it";

/// Answers the questions of the API.
pub(super) struct ApiAnswers {
    pub(super) observed: Arc<Observed>,
    /// The part that knows the configuration in force.
    pub(super) reloader: Arc<Reloader>,
    /// The recordings that clients may make.
    pub(super) recording: RecordingSettings,
}

impl Api for ApiAnswers {
    fn answer(&self, path: &str, query: Option<&str>) -> ApiAnswer {
        if let Some(id) = path.strip_prefix(TRACES) {
            return match fate::trace_id(id) {
                Ok(id) => spans::of(&self.observed.pipeline, id),
                Err(problem) => error(StatusCode::BAD_REQUEST, &problem),
            };
        }
        let budget = self.budget();
        match (path, path.strip_prefix(DECISIONS).and_then(|rest| rest.strip_prefix('/'))) {
            (_, Some(id)) => match fate::trace_id(id) {
                Ok(id) => document(&fate::of(&self.observed.pipeline, id), budget),
                Err(problem) => error(StatusCode::BAD_REQUEST, &problem),
            },
            (DECISIONS, ..) => self.listen(query.unwrap_or_default()),
            (RECORDING, ..) => self.record(query.unwrap_or_default()),
            (POLICIES, ..) => document(&policies::of(&self.observed), budget),
            (CONFIG, _) => match self.reloader.config() {
                Some(config) => document(&config, budget),
                None => error(StatusCode::NOT_FOUND, &"the daemon was started without a text"),
            },
            _ => error(StatusCode::NOT_FOUND, &NOTHING),
        }
    }
}

impl ApiAnswers {
    fn budget(&self) -> &Budget {
        self.observed.pipeline.table.budget()
    }

    /// Returns the stream of the decisions that the query wants.
    fn listen(&self, query: &str) -> ApiAnswer {
        match Filter::parse(query) {
            Ok(filter) => match self.observed.pipeline.decisions.listen(filter, self.budget()) {
                Ok(stream) => ApiAnswer::Stream(Box::pin(stream)),
                Err(no_place) => error(StatusCode::TOO_MANY_REQUESTS, &no_place),
            },
            Err(problem) => error(StatusCode::BAD_REQUEST, &problem),
        }
    }

    /// Returns a recording of what comes from now on, without the attributes that the query and the settings name.
    fn record(&self, query: &str) -> ApiAnswer {
        let pipeline = &self.observed.pipeline;
        if !self.recording.enabled {
            return error(StatusCode::NOT_FOUND, &NO_RECORDINGS);
        }
        let redaction = match Redaction::parse(query, &self.recording) {
            Ok(redaction) => redaction,
            Err(problem) => return error(StatusCode::BAD_REQUEST, &problem),
        };
        let start = RecordingStart { since_1970: clock::since_1970(), now_ms: pipeline.clock.now_ms() };
        match pipeline.recordings.record(redaction, start, pipeline.table.budget()) {
            Ok(stream) => ApiAnswer::Recording(Box::pin(stream)),
            Err(no_place) => error(StatusCode::TOO_MANY_REQUESTS, &no_place),
        }
    }
}

/// Returns the answer with this document. Its bytes are charged to `budget`, beyond the limit if need be: an operator must
/// get answers while memory is full, and the receiver limits their number.
fn document(document: &impl Serialize, budget: &Budget) -> ApiAnswer {
    match serde_json::to_string_pretty(document) {
        Ok(json) => {
            let json = json + "\n";
            let share = budget.force(json.capacity());
            charged(json, share)
        }
        // Does not happen: no document has a map with keys that are not strings.
        Err(problem) => error(StatusCode::INTERNAL_SERVER_ERROR, &problem),
    }
}

/// Returns the answer with this text, which `share` covers until it has been sent.
fn charged(json: String, share: Share) -> ApiAnswer {
    struct Charged(String, #[expect(dead_code, reason = "given back with the text")] Share);
    impl AsRef<[u8]> for Charged {
        fn as_ref(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }
    ApiAnswer::Document(StatusCode::OK, Bytes::from_owner(Charged(json, share)))
}

/// Returns the answer to a request that cannot be answered.
fn error(status: StatusCode, problem: &impl ToString) -> ApiAnswer {
    let json = serde_json::to_string(&ErrorAnswer { error: problem.to_string() }).unwrap_or_default();
    ApiAnswer::Document(status, (json + "\n").into())
}
