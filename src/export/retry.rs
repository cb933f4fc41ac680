//! What the answer to a call asks for, and how long to wait. Pure: the random number is an argument.

use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};

use crate::proto::google::rpc;

/// Longest wait before the first retry.
const INITIAL_DELAY: Duration = Duration::from_millis(250);
/// The same where a quota or a credential is at fault: quotas are counted by the minute
/// (<https://cloud.google.com/trace/docs/quotas>) and a sign-in does not mend itself in milliseconds.
const INITIAL_DELAY_SLOW: Duration = Duration::from_secs(4);
/// Waits stop doubling here, so that a sink that is back is noticed within this time.
pub const DELAY_MAX: Duration = Duration::from_secs(30);
/// The longest wait that a server may ask for: it must not be able to stop the daemon for days.
const RETRY_INFO_MAX: Duration = Duration::from_secs(300);

/// What the answer to a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The spans are there.
    Done,
    /// The contents are refused: the bad span is to be found, the others to be saved.
    Bisect,
    /// A passing failure: the same again, soon.
    Retry,
    /// The same again, after a longer wait.
    RetrySlowly,
    /// Somebody has to change something ([`advice`]): try at long intervals until it is done.
    Hold,
}

/// What to do after a call that ended with `code`.
///
/// Google's own policy for the method retries UNAVAILABLE and DEADLINE_EXCEEDED and leaves the rest to the caller;
/// every code here that may be temporary is retried, as the spans of a trace cannot be had again.
#[must_use]
pub fn action(code: Code) -> Action {
    match code {
        // A span's name is its identity: a repetition of a call whose answer was lost finds it there.
        Code::Ok | Code::AlreadyExists => Action::Done,
        // OUT_OF_RANGE: a time too far away, or, from some gRPC servers, a message over their limit; halving helps both.
        Code::InvalidArgument | Code::OutOfRange => Action::Bisect,
        // DATA_LOSS: lost over there; the bytes here are whole. CANCELLED: by the peer, nobody here cancels.
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::Aborted
        | Code::Cancelled
        | Code::Unknown
        | Code::DataLoss => Action::Retry,
        Code::ResourceExhausted | Code::Unauthenticated => Action::RetrySlowly,
        // UNIMPLEMENTED: the endpoint is not Cloud Trace.
        Code::PermissionDenied | Code::NotFound | Code::FailedPrecondition | Code::Unimplemented => Action::Hold,
    }
}

/// Whether the code, said by the service itself again and again while other batches go through, puts the blame on the
/// batch.
#[must_use]
pub fn blames_batch(code: Code) -> bool {
    matches!(code, Code::Internal | Code::Unknown | Code::DataLoss)
}

/// What somebody has to do about `code`.
#[must_use]
pub fn advice(code: Code) -> Option<&'static str> {
    match code {
        Code::PermissionDenied => {
            Some("grant roles/cloudtrace.agent on this project to the service account that the daemon runs as")
        }
        Code::NotFound => Some("check the project id: it comes from cloud_trace.project or the spans' resource"),
        Code::FailedPrecondition => {
            Some("enable the API on this project: gcloud services enable cloudtrace.googleapis.com")
        }
        Code::Unimplemented => Some("check cloud_trace.endpoint: it does not speak Cloud Trace v2"),
        Code::Unauthenticated => Some("check the application default credentials"),
        Code::ResourceExhausted => Some("ask for more Cloud Trace quota on this project, or keep fewer traces"),
        _ => None,
    }
}

/// How long to wait after failure number `attempt` (the first is 0) in a row: exponential with full jitter, so that
/// many daemons do not return as one. `random` is in `0.0..1.0`. [`Action::Hold`] waits for [`DELAY_MAX`].
#[must_use]
pub fn delay(action: Action, attempt: u32, random: f64) -> Duration {
    let initial = match action {
        Action::Done | Action::Bisect => return Duration::ZERO,
        Action::Hold => return DELAY_MAX,
        Action::Retry => INITIAL_DELAY,
        Action::RetrySlowly => INITIAL_DELAY_SLOW,
    };
    initial.saturating_mul(1u32.checked_shl(attempt).unwrap_or(u32::MAX)).min(DELAY_MAX).mul_f64(random)
}

/// The wait that the server asked for by a `google.rpc.RetryInfo` in its status details, at most five minutes.
#[must_use]
pub fn retry_info(status: &Status) -> Option<Duration> {
    let details = rpc::Status::decode(status.details()).ok()?.details;
    let info = details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = rpc::RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay?;
    Duration::try_from(delay).ok().map(|delay| delay.min(RETRY_INFO_MAX))
}

#[cfg(test)]
mod tests;
