use super::*;
use crate::export::testing::with_retry_info;

#[test]
fn every_code_has_its_action() {
    let cases = [
        (Code::Ok, Action::Done),
        (Code::AlreadyExists, Action::Done),
        (Code::InvalidArgument, Action::Bisect),
        (Code::OutOfRange, Action::Bisect),
        (Code::Unavailable, Action::Retry),
        (Code::DeadlineExceeded, Action::Retry),
        (Code::Internal, Action::Retry),
        (Code::Aborted, Action::Retry),
        (Code::Cancelled, Action::Retry),
        (Code::Unknown, Action::Retry),
        (Code::DataLoss, Action::Retry),
        (Code::ResourceExhausted, Action::RetrySlowly),
        (Code::Unauthenticated, Action::RetrySlowly),
        (Code::PermissionDenied, Action::Hold),
        (Code::NotFound, Action::Hold),
        (Code::FailedPrecondition, Action::Hold),
        (Code::Unimplemented, Action::Hold),
    ];
    for (code, expected) in cases {
        assert_eq!(action(code), expected, "{code:?}");
        assert_eq!(advice(code).is_some(), matches!(expected, Action::Hold | Action::RetrySlowly), "{code:?}");
    }
    // Every code there is: 0 to 16.
    assert_eq!(cases.len(), 17);
}

#[test]
fn waits_double_up_to_the_longest() {
    let millis = |action, attempt, random| delay(action, attempt, random).as_millis();
    let retry = [0, 1, 2, 3, 7, 40, u32::MAX].map(|attempt| millis(Action::Retry, attempt, 1.0));
    assert_eq!(retry, [250, 500, 1000, 2000, 30_000, 30_000, 30_000]);
    let slowly = [0, 1, 2, 3].map(|attempt| millis(Action::RetrySlowly, attempt, 1.0));
    assert_eq!(slowly, [4000, 8000, 16_000, 30_000]);
    // Full jitter: anything from nothing to the whole wait.
    assert_eq!([0.0, 0.5].map(|random| millis(Action::Retry, 2, random)), [0, 500]);
    assert_eq!([0.0, 0.5].map(|random| millis(Action::Hold, 2, random)), [30_000, 30_000]);
}

#[test]
fn the_servers_own_wait_is_found_and_bounded() {
    let cases = [
        (with_retry_info(Code::Unavailable, 7), Some(Duration::from_secs(7))),
        (with_retry_info(Code::Unavailable, 1_000_000), Some(RETRY_INFO_MAX)),
        (with_retry_info(Code::Unavailable, -7), None),
        (Status::unavailable("nothing asked for"), None),
        (Status::with_details(Code::Unavailable, "", b"\xff no message".as_slice().into()), None),
    ];
    for (status, expected) in cases {
        assert_eq!(retry_info(&status), expected, "{status:?}");
    }
}
