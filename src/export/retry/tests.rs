use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::*;
use crate::export::advice::transport;
use crate::export::testing::with_retry_info;

#[test]
fn every_code_has_its_action() {
    let cases = [
        (Code::Ok, Action::Done),
        (Code::AlreadyExists, Action::Search),
        (Code::InvalidArgument, Action::Search),
        (Code::OutOfRange, Action::Search),
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
        let status = Status::new(code, "as scripted");
        assert_eq!(action(&Failure::sink(status.clone()), usual), expected, "{code:?}");
        let other = action(&Failure::sink(status.clone()), |_| Action::Hold);
        assert_eq!(other, Action::Hold, "the sink says what its codes mean: {code:?}");
        // A failure of a connection or of the token server says nothing about spans.
        assert_eq!(action(&Failure::connection(status.clone()), usual), Action::Retry, "{code:?}");
        let without_token = if code == Code::Unauthenticated { Action::SignIn } else { Action::Retry };
        assert_eq!(action(&Failure::credentials(status), usual), without_token, "{code:?}");
    }
    // These are all codes that exist: 0 to 16.
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
    // With full jitter, the wait is anything from zero to the whole wait.
    assert_eq!([0.0, 0.5].map(|random| millis(Action::Retry, 2, random)), [0, 500]);
}

#[test]
fn the_http_status_of_a_proxy_decides() {
    let cases = [
        (200, Action::Retry),
        (302, Action::Retry),
        (400, Action::Retry),
        (401, Action::SignIn),
        (403, Action::Hold),
        (404, Action::Hold),
        (408, Action::Retry),
        (413, Action::Halve),
        (429, Action::Retry),
        (500, Action::Retry),
        (502, Action::Retry),
        (503, Action::Retry),
        (504, Action::Retry),
    ];
    for (status, expected) in cases {
        let failure = Failure::http(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
        assert_eq!(action(&failure, |_| Action::Done), expected, "{status}");
        assert!(transport(&failure).is_some(), "{status}");
    }
}

/// Returns the status of a proxy's answer with this header.
fn with_retry_after(value: &'static str) -> Status {
    let date = HeaderValue::from_static("Mon, 30 Nov 2026 04:00:00 GMT");
    let headers = HeaderMap::from_iter([(header::RETRY_AFTER, value.parse().unwrap()), (header::DATE, date)]);
    Failure::http(StatusCode::SERVICE_UNAVAILABLE, &headers).status().clone()
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
        (with_retry_after("Mon, 30 Nov 2026 04:00:20 GMT"), Some(Duration::from_secs(20))),
        (with_retry_after("Monday, 30-Nov-26 04:00:20 GMT"), Some(Duration::from_secs(20))),
        (with_retry_after("Fri, 31 Dec 9999 23:59:59 GMT"), Some(SERVER_WAIT_MAX)),
        (with_retry_after("Mon, 30 Nov 2026 03:00:00 GMT"), None),
    ];
    for (status, expected) in cases {
        assert_eq!(server_wait(&status), expected, "{status:?}");
    }
}
