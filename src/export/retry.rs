//! What a failed call asks for, and how long to wait. Pure: the random number is an argument.

use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};

use super::failure::{Failure, Origin, RETRY_AFTER};
use crate::proto::google::rpc;
use crate::telemetry::metrics::WaitCause;

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
    /// The sink refuses the contents: the bad span is to be found, the others to be saved.
    Search,
    /// The message is too large, or seems to be what makes its calls fail: the same in halves.
    Halve,
    /// A passing failure: the same again, soon.
    Retry,
    /// A quota is used up: the whole project has to slow down.
    SlowDown,
    /// The token was refused: the same again with a new one, at once the first time.
    SignIn,
    /// The operator has to change something ([`super::sink::Sink::advice`]): try until it is done.
    Hold,
}

impl Action {
    /// What the spans of a project wait for whose calls ask for this, as a metric label.
    #[must_use]
    pub fn cause(self) -> Option<WaitCause> {
        match self {
            Action::Done | Action::Search | Action::Halve => None,
            Action::Retry => Some(WaitCause::Unavailable),
            Action::SlowDown => Some(WaitCause::Quota),
            Action::SignIn => Some(WaitCause::Unauthenticated),
            Action::Hold => Some(WaitCause::Denied),
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

/// Returns the action that `failure` asks for. `of_sink` is the meaning of the sink's own codes ([`Sink::action`]).
///
/// [`Sink::action`]: super::sink::Sink::action
#[must_use]
pub fn action(failure: &Failure, of_sink: impl FnOnce(Code) -> Action) -> Action {
    match failure.origin() {
        _ if failure.is_size() => Action::Halve,
        Origin::Sink => of_sink(failure.code()),
        Origin::Http(_) => usual(failure.code()),
        Origin::Credentials if failure.code() == Code::Unauthenticated => Action::SignIn,
        Origin::Credentials | Origin::Connection => Action::Retry,
    }
}

/// Returns the usual action for a status code. Every failure that may be temporary is retried, because the spans of a
/// trace cannot be had again.
#[must_use]
pub fn usual(code: Code) -> Action {
    match code {
        Code::Ok => Action::Done,
        Code::InvalidArgument | Code::OutOfRange | Code::AlreadyExists => Action::Search,
        // The sink lost the data (DATA_LOSS), but the bytes here are intact. The peer cancelled the call (CANCELLED); this
        // process cancels none.
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::Aborted
        | Code::Cancelled
        | Code::Unknown
        | Code::DataLoss => Action::Retry,
        Code::ResourceExhausted => Action::SlowDown,
        Code::Unauthenticated => Action::SignIn,
        // UNIMPLEMENTED means that the endpoint is not the sink.
        Code::PermissionDenied | Code::NotFound | Code::FailedPrecondition | Code::Unimplemented => Action::Hold,
    }
}

/// Whether the failure, again and again while other batches go through, puts the blame on the batch. A sink that says that it
/// is away, and a missing token, do not.
#[must_use]
pub fn blames_batch(failure: &Failure) -> bool {
    match failure.origin() {
        Origin::Sink => {
            matches!(failure.code(), Code::Internal | Code::Unknown | Code::DataLoss | Code::OutOfRange)
        }
        Origin::Http(_) | Origin::Connection => true,
        Origin::Credentials => false,
    }
}

/// How long to wait after failure number `attempt` (the first is 0) in a row: exponential with full jitter, so that
/// many daemons do not return as one. `random` is in `0.0..1.0`.
#[must_use]
pub fn delay(action: Action, attempt: u32, random: f64) -> Duration {
    let initial = match action {
        Action::Done | Action::Search | Action::Halve => return Duration::ZERO,
        Action::SignIn if attempt == 0 => return Duration::ZERO,
        Action::Retry => INITIAL_DELAY,
        Action::SlowDown | Action::SignIn | Action::Hold => INITIAL_DELAY_SLOW,
    };
    initial.saturating_mul(1u32.checked_shl(attempt).unwrap_or(u32::MAX)).min(DELAY_MAX).mul_f64(random)
}

/// The wait that the server asked for, at most five minutes: by a `google.rpc.RetryInfo` in its status details, or, if
/// a proxy answered in place of it, by the header `Retry-After` (RFC 9110, 10.2.3).
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

/// The header of an answer stands in the metadata of its status, in seconds.
fn retry_after(status: &Status) -> Option<Duration> {
    status.metadata().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests;
