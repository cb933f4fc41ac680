//! The action after a failed call, and the wait before the next one. Pure: the random number is an argument.

use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};

use super::failure::{Failure, Origin, RETRY_AFTER};
use crate::proto::google::rpc;
use crate::telemetry::metrics::WaitCause;

/// The longest wait before the first retry.
const INITIAL_DELAY: Duration = Duration::from_millis(250);
/// The same after a failure because of a quota, a credential or a permission. Quotas are counted by the minute
/// (<https://cloud.google.com/trace/docs/quotas>), and an operator needs longer than milliseconds to grant a role.
const INITIAL_DELAY_SLOW: Duration = Duration::from_secs(4);
/// The longest wait between retries. A sink that is available again is noticed within this time.
pub const DELAY_MAX: Duration = Duration::from_secs(30);
/// The longest wait that a server may ask for. It must not be able to stop the daemon for days.
const SERVER_WAIT_MAX: Duration = Duration::from_secs(300);

/// The action to take after the answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// None: the sink has the spans.
    Done,
    /// Find the span that the sink refuses, and send the others without it.
    Search,
    /// Send the batch in halves: it is too large, or it seems to be the reason why its calls fail.
    Halve,
    /// Send the batch again soon: the failure is temporary.
    Retry,
    /// Send fewer calls for the whole project: a quota is used up.
    SlowDown,
    /// Send the batch again with a new token. The first time this is done at once.
    SignIn,
    /// Send the batch again now and then, until the operator has corrected something ([`super::sink::Sink::advice`]).
    Hold,
}

impl Action {
    /// Returns the metric label for spans that wait because of this action; `None` if no span waits.
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

    /// Returns the number of failures in a row from which on the log reports them. A single temporary failure is
    /// normal, and so is an expired token. A failure that the operator has to correct is reported at once.
    #[must_use]
    pub fn alarm_attempts(self) -> u32 {
        match self {
            Action::Hold => 1,
            Action::SignIn => 2,
            _ => 3,
        }
    }
}

/// Returns the action after `failure`. `of_sink` gives the meaning of the sink's own codes ([`Sink::action`]).
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

/// Returns the usual action for a status code. Every failure that may be temporary is retried, because a lost trace
/// cannot be sampled again.
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

/// Returns true if the batch may be the cause of this failure, when it fails again and again while other batches
/// succeed. A sink that is unavailable and a missing token are not caused by a batch.
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

/// Returns the wait after failure number `attempt` in a row; the first failure has number 0. The wait grows
/// exponentially with full jitter, so that many daemons do not retry at the same moment. `random` is in `0.0..1.0`.
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

/// Returns the wait that the server asked for, at most five minutes. It comes from a `google.rpc.RetryInfo` in the
/// status details or from the header `Retry-After` (RFC 9110, 10.2.3), which a proxy may send; the longer one counts.
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

/// Reads the wait from the metadata of a status, where it is in seconds.
fn retry_after(status: &Status) -> Option<Duration> {
    status.metadata().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests;
