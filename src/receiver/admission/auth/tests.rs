use std::path::PathBuf;

use super::*;
use crate::receiver::settings::Bearer;
use crate::telemetry::metrics::HeldAmounts;

fn headers(values: &[&str]) -> HeaderMap {
    values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap())).collect()
}

#[test]
fn only_a_single_bearer_token_is_read() {
    let cases = [
        (&["Bearer abc"][..], Some("abc")),
        (&["bearer abc"], Some("abc")),
        (&["BEARER   abc  "], Some("abc")),
        (&["Bearer two words"], Some("two words")),
        (&["Bearer "], None),
        (&["Bearer"], None),
        (&["Bearerabc"], None),
        (&["abc"], None),
        (&["Basic abc"], None),
        (&["Bearer abc", "Bearer abc"], None),
        (&["Bearer \u{e9}"], None),
        (&[""], None),
        (&[], None),
    ];
    for (values, expected) in cases {
        assert_eq!(bearer(&headers(values)), expected, "{values:?}");
    }
}

async fn load(tokens: &[&str], tokens_file: Option<PathBuf>) -> Result<Auth, AuthError> {
    let mut configured = Tokens::default();
    tokens.iter().for_each(|token| configured.add(token.as_bytes()).unwrap());
    Auth::load(&settings::AuthSettings { bearer: Some(Bearer { tokens: configured, tokens_file }), google: None }).await
}

#[tokio::test]
async fn tokens_of_the_file_can_be_rotated_and_configured_tokens_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    write("old-token");
    let mut auth = load(&["fixed-token"], Some(path.clone())).await.unwrap();
    let guard = auth.guard();
    let metrics = Metrics::new();
    let steps = [
        (None, [true, true, false]),
        (Some("old-token\nnew-token\n"), [true, true, true]),
        (Some("new-token"), [true, false, true]),
        (Some(""), [true, false, true]),
        (Some("not a token"), [true, false, true]),
        (Some("old-token"), [true, true, false]),
    ];
    for (written, expected) in steps {
        written.into_iter().for_each(write);
        auth.watched.as_mut().unwrap().reload(&metrics, |contents| guard.replace(contents)).await;
        for (token, good) in ["fixed-token", "old-token", "new-token"].into_iter().zip(expected) {
            let checked = guard.check(&headers(&[&format!("Bearer {token}")]), &metrics).await;
            let expected = if good { Ok(()) } else { Err(AccessError::UnknownToken) };
            assert_eq!(checked, expected, "{token} after {written:?}");
        }
    }
    let text = metrics.render(HeldAmounts::default());
    assert!(text.contains("spansieve_reloads_total{outcome=\"ok\"} 3\n"), "{text}");
    assert!(text.contains("spansieve_reloads_total{outcome=\"failed\"} 2\n"), "{text}");
}

#[tokio::test]
async fn a_file_without_tokens_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    let error = load(&[], Some(path.clone())).await.unwrap_err().to_string();
    assert!(error.starts_with("auth.bearer: cannot read "), "{error}");
    std::fs::write(&path, "# none").unwrap();
    let error = load(&[], Some(path)).await.unwrap_err().to_string();
    assert_eq!(error, "auth.bearer.tokens_file: there is no token in it");
}

#[tokio::test(start_paused = true)]
async fn each_reason_is_logged_once_a_minute() {
    let guard = load(&["fixed-token"], None).await.unwrap().guard();
    let account = |name: &str| AccessError::IdToken(IdTokenError::Account(name.to_owned()));
    let steps = [
        (0, AccessError::NoToken, true),
        (0, AccessError::NoToken, false),
        (0, AccessError::UnknownToken, true),
        (0, account("one"), true),
        (59, account("two"), false),
        (1, account("two"), true),
    ];
    for (seconds, denial, expected) in steps {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        assert_eq!(guard.is_news(&denial), expected, "{denial}");
    }
}

#[test]
fn the_table_has_exactly_the_reasons_of_denials() {
    let denials = [
        AccessError::NoToken,
        AccessError::UnknownToken,
        IdTokenError::Malformed.into(),
        IdTokenError::Algorithm.into(),
        IdTokenError::UnknownKey.into(),
        IdTokenError::Signature.into(),
        IdTokenError::Issuer.into(),
        IdTokenError::Audience.into(),
        IdTokenError::Expired.into(),
        IdTokenError::Future.into(),
        IdTokenError::Account(String::new()).into(),
        AccessError::NoKeys,
    ];
    assert_eq!(denials.map(|denial| denial.reason()), DenialReason::ALL);
}
