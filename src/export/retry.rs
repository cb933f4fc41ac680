//! What the answer to a call asks for, and how long to wait. Pure: the random number is an argument.

use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};

use crate::proto::google::rpc;

/// Longest wait before the first retry.
const INITIAL_DELAY: Duration = Duration::from_millis(250);
/// The same where a quota, a credential or a permission is at fault: quotas are counted by the minute
/// (<https://cloud.google.com/trace/docs/quotas>), and nobody grants a role in milliseconds.
const INITIAL_DELAY_SLOW: Duration = Duration::from_secs(4);
/// Waits stop doubling here, so that a sink that is back is noticed within this time.
pub const DELAY_MAX: Duration = Duration::from_secs(30);
/// The longest wait that a server may ask for: it must not be able to stop the daemon for days.
const SERVER_WAIT_MAX: Duration = Duration::from_secs(300);

/// What the answer to a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The spans are there.
    Done,
    /// The contents are refused: the bad span is to be found, the others to be saved.
    Bisect,
    /// A passing failure: the same again, soon.
    Retry,
    /// A quota is used up: the whole project has to slow down.
    SlowDown,
    /// The token was refused: the same again with a new one, at once the first time.
    SignIn,
    /// Somebody has to change something ([`advice`]): try until it is done.
    Hold,
}

impl Action {
    /// What the spans of a project wait for whose calls ask for this, as a metric label.
    #[must_use]
    pub fn cause(self) -> Option<&'static str> {
        match self {
            Action::Done | Action::Bisect => None,
            Action::Retry => Some("unavailable"),
            Action::SlowDown => Some("quota"),
            Action::SignIn => Some("unauthenticated"),
            Action::Hold => Some("denied"),
        }
    }

    /// Failures in a row before the log says so: a single one is everyday life, and so is a token that has run out;
    /// what somebody has to mend is said at once.
    #[must_use]
    pub fn alarm_attempts(self) -> u32 {
        match self {
            Action::Hold => 1,
            Action::SignIn => 2,
            _ => 3,
        }
    }
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
        Code::ResourceExhausted => Action::SlowDown,
        Code::Unauthenticated => Action::SignIn,
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

/// What somebody has to do about `code`, said by the sink of `project` to `identity`, the account of the calls.
#[must_use]
pub fn advice(code: Code, project: &str, identity: Option<&str>) -> Option<String> {
    let account = identity.unwrap_or("the service account that the daemon runs as");
    Some(match code {
        Code::PermissionDenied => format!("grant roles/cloudtrace.agent on project {project} to {account}"),
        Code::NotFound => format!(
            "check the project id {project}: it comes from cloud_trace.project or the spans' resource; if it is right, \
             grant roles/cloudtrace.agent on it to {account}"
        ),
        Code::FailedPrecondition => {
            format!("enable the API: gcloud services enable cloudtrace.googleapis.com --project {project}")
        }
        Code::Unimplemented => "check cloud_trace.endpoint: what answers there knows no such call".to_owned(),
        Code::Unauthenticated => format!("check the application default credentials, those of {account}"),
        Code::ResourceExhausted => {
            format!("ask for more Cloud Trace quota on project {project}, or keep fewer traces")
        }
        _ => return None,
    })
}

/// How long to wait after failure number `attempt` (the first is 0) in a row: exponential with full jitter, so that
/// many daemons do not return as one. `random` is in `0.0..1.0`.
#[must_use]
pub fn delay(action: Action, attempt: u32, random: f64) -> Duration {
    let initial = match action {
        Action::Done | Action::Bisect => return Duration::ZERO,
        Action::SignIn if attempt == 0 => return Duration::ZERO,
        Action::Retry => INITIAL_DELAY,
        Action::SlowDown | Action::SignIn | Action::Hold => INITIAL_DELAY_SLOW,
    };
    initial.saturating_mul(1u32.checked_shl(attempt).unwrap_or(u32::MAX)).min(DELAY_MAX).mul_f64(random)
}

/// The wait that the server asked for, at most five minutes: by a `google.rpc.RetryInfo` in its status details, or, if
/// a proxy answered in place of it, by the header `Retry-After` in seconds (RFC 9110, 10.2.3).
#[must_use]
pub fn server_wait(status: &Status) -> Option<Duration> {
    retry_info(status).max(retry_after(status)).map(|wait| wait.min(SERVER_WAIT_MAX))
}

fn retry_info(status: &Status) -> Option<Duration> {
    let details = rpc::Status::decode(status.details()).ok()?.details;
    let info = details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = rpc::RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay?;
    Duration::try_from(delay).ok()
}

/// Headers of an answer become the metadata of its status.
fn retry_after(status: &Status) -> Option<Duration> {
    status.metadata().get("retry-after")?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests;
