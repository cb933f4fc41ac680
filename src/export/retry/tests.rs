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
        (Code::ResourceExhausted, Action::SlowDown),
        (Code::Unauthenticated, Action::SignIn),
        (Code::PermissionDenied, Action::Hold),
        (Code::NotFound, Action::Hold),
        (Code::FailedPrecondition, Action::Hold),
        (Code::Unimplemented, Action::Hold),
    ];
    for (code, expected) in cases {
        assert_eq!(action(code), expected, "{code:?}");
        let needs_somebody = matches!(expected, Action::Hold | Action::SlowDown | Action::SignIn);
        assert_eq!(advice(code, "p", None).is_some(), needs_somebody, "{code:?}");
    }
    // Every code there is: 0 to 16.
    assert_eq!(cases.len(), 17);
}

#[test]
fn waits_double_up_to_the_longest() {
    let millis = |action, attempt, random| delay(action, attempt, random).as_millis();
    let retry = [0, 1, 2, 3, 7, 40, u32::MAX].map(|attempt| millis(Action::Retry, attempt, 1.0));
    assert_eq!(retry, [250, 500, 1000, 2000, 30_000, 30_000, 30_000]);
    for action in [Action::SlowDown, Action::Hold] {
        assert_eq!([0, 1, 2, 3].map(|attempt| millis(action, attempt, 1.0)), [4000, 8000, 16_000, 30_000]);
    }
    // A new token is tried at once.
    assert_eq!([0, 1, 2, 3].map(|attempt| millis(Action::SignIn, attempt, 1.0)), [0, 8000, 16_000, 30_000]);
    // Full jitter: anything from nothing to the whole wait.
    assert_eq!([0.0, 0.5].map(|random| millis(Action::Retry, 2, random)), [0, 500]);
}

#[test]
fn advice_says_what_to_grant_to_whom() {
    let advice = |code, identity| advice(code, "shop-1", identity).unwrap();
    assert_eq!(
        advice(Code::PermissionDenied, Some("trace@shop-1.iam.gserviceaccount.com")),
        "grant roles/cloudtrace.agent on project shop-1 to trace@shop-1.iam.gserviceaccount.com"
    );
    assert_eq!(
        advice(Code::PermissionDenied, None),
        "grant roles/cloudtrace.agent on project shop-1 to the service account that the daemon runs as"
    );
    assert!(advice(Code::FailedPrecondition, None).ends_with("cloudtrace.googleapis.com --project shop-1"));
    assert!(advice(Code::NotFound, None).starts_with("check the project id shop-1"));
}

/// What a proxy says, with its header.
fn with_retry_after(value: &'static str) -> Status {
    let mut status = Status::unavailable("grpc-status header missing, mapped from HTTP status code 503");
    status.metadata_mut().insert("retry-after", value.parse().unwrap());
    status
}

#[test]
fn the_servers_own_wait_is_found_and_bounded() {
    let cases = [
        (with_retry_info(Code::Unavailable, 7), Some(Duration::from_secs(7))),
        (with_retry_info(Code::Unavailable, 1_000_000), Some(SERVER_WAIT_MAX)),
        (with_retry_info(Code::Unavailable, -7), None),
        (Status::unavailable("nothing asked for"), None),
        (Status::with_details(Code::Unavailable, "", b"\xff no message".as_slice().into()), None),
        (with_retry_after("120"), Some(Duration::from_secs(120))),
        (with_retry_after("86400"), Some(SERVER_WAIT_MAX)),
        (with_retry_after("-1"), None),
        (with_retry_after("soon"), None),
    ];
    for (status, expected) in cases {
        assert_eq!(server_wait(&status), expected, "{status:?}");
    }
}
