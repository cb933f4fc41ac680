//! The spans of one trace that is in memory, as the API tells them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;

use super::{charged, error, fate};
use crate::daemon::pipeline::Pipeline;
use crate::otlp::TraceId;
use crate::receiver::ApiAnswer;
use crate::tail::TooLarge;

/// The most bytes of spans in an answer: some thousand spans. An answer is made on an I/O worker, which such a copy keeps
/// busy for a few milliseconds.
const SPANS_BYTES_MAX: usize = 4 << 20;

/// Returns the spans of the trace `id`, or says why there are none.
pub(super) fn of(pipeline: &Pipeline, id: TraceId) -> ApiAnswer {
    let fate = fate::of(pipeline, id);
    let Some(held) = pipeline.table.held_spans(id) else {
        let problem = format!("no span of this trace is in memory. {}", fate.explanation);
        return error(StatusCode::NOT_FOUND, &problem);
    };
    let (request, share) = match held.to_request(SPANS_BYTES_MAX, pipeline.table.budget()) {
        Ok(copy) => copy,
        Err(problem @ TooLarge::Ever { .. }) => return error(StatusCode::PAYLOAD_TOO_LARGE, &problem),
        Err(problem @ TooLarge::Now) => return error(StatusCode::TOO_MANY_REQUESTS, &problem),
    };
    match serde_json::to_string(&fate) {
        Ok(fate) => {
            let bytes = fate.len() + request.len() / 3 * 4 + 64;
            let Some(document_share) = pipeline.table.budget().reserve(bytes) else {
                return error(StatusCode::TOO_MANY_REQUESTS, &TooLarge::Now);
            };
            let mut document = String::with_capacity(bytes);
            document.push_str("{\"fate\":");
            document.push_str(&fate);
            document.push_str(",\"request\":\"");
            STANDARD.encode_string(&request, &mut document);
            document.push_str("\"}\n");
            drop(share);
            charged(document, document_share)
        }
        // Does not happen: no document has a map with keys that are not strings.
        Err(problem) => error(StatusCode::INTERNAL_SERVER_ERROR, &problem),
    }
}
