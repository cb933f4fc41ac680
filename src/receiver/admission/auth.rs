//! Authentication of senders, before a body is read: static bearer tokens and Google's ID tokens (`otlp.auth`).
//!
//! Invariants
//! - No request is accepted without a valid token. While the receiver cannot tell whether a token is valid, it asks the
//!   sender to retry.
//! - No token is held, logged or sent back. The receiver remembers only the hash of a token.

mod google;
mod keyring;

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::RwLock;
use thiserror::Error;
use tokio::time::Instant;
use tonic::Code;

use self::google::Google;
use crate::google::certs::CertsError;
use crate::receiver::reload::{FileError, WatchedFiles};
use crate::receiver::settings;
use crate::telemetry::Metrics;
use crate::telemetry::log::Throttle;
use crate::telemetry::metrics::DenialReason;
use crate::trust::id_token::{IdToken, IdTokenError};
use crate::trust::token::{TokenError, TokenHash, Tokens};

/// The shortest time between two log lines for the same reason. The metric counts every denial.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60);

/// Reason why authentication cannot start. The text begins with a key of the section that has `auth`.
#[derive(Debug, Error)]
pub enum AuthError {
    /// The token file cannot be read.
    #[error("auth.bearer: {0}")]
    File(#[from] FileError),
    /// The token file contains no valid tokens.
    #[error("auth.bearer.tokens_file: {0}")]
    Tokens(#[from] TokenError),
    /// The client that fetches Google's keys cannot be created.
    #[error("auth.google: {0}")]
    Certs(#[from] CertsError),
}

/// Reason why a request was denied. The text is the message to the sender.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(in crate::receiver) enum AccessError {
    #[error("send a token: authorization: Bearer TOKEN")]
    NoToken,
    #[error("the token is not one of the tokens that are accepted here")]
    UnknownToken,
    #[error("{0}")]
    IdToken(#[from] IdTokenError),
    #[error("the keys for ID tokens are not available yet; retry later")]
    NoKeys,
}

impl AccessError {
    /// Returns the reason as metrics and the log name it.
    pub(in crate::receiver) fn reason(&self) -> DenialReason {
        match self {
            AccessError::NoToken => DenialReason::NoToken,
            AccessError::UnknownToken => DenialReason::UnknownToken,
            AccessError::IdToken(IdTokenError::Malformed) => DenialReason::Malformed,
            AccessError::IdToken(IdTokenError::Algorithm) => DenialReason::Algorithm,
            AccessError::IdToken(IdTokenError::UnknownKey) => DenialReason::UnknownKey,
            AccessError::IdToken(IdTokenError::Signature | IdTokenError::Removed) => DenialReason::Signature,
            AccessError::IdToken(IdTokenError::Issuer) => DenialReason::Issuer,
            AccessError::IdToken(IdTokenError::Audience) => DenialReason::Audience,
            AccessError::IdToken(IdTokenError::Expired) => DenialReason::Expired,
            AccessError::IdToken(IdTokenError::Future) => DenialReason::Future,
            AccessError::IdToken(IdTokenError::Account(_) | IdTokenError::Unverified(_)) => DenialReason::Account,
            AccessError::NoKeys => DenialReason::NoKeys,
        }
    }

    /// Returns the HTTP and the gRPC status of the denial (RFC 9110, 15.5.2 and 15.5.4; gRPC `doc/statuscodes.md`): 401
    /// and UNAUTHENTICATED for an unknown sender, 403 and PERMISSION_DENIED for a known sender that may not send.
    /// Exporters do not retry after these. A temporary denial is 503 and UNAVAILABLE.
    pub(in crate::receiver) fn statuses(&self) -> (StatusCode, Code) {
        match self {
            AccessError::IdToken(IdTokenError::Account(_) | IdTokenError::Unverified(_)) => {
                (StatusCode::FORBIDDEN, Code::PermissionDenied)
            }
            AccessError::NoKeys => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
            _ => (StatusCode::UNAUTHORIZED, Code::Unauthenticated),
        }
    }

    /// Returns the value of `WWW-Authenticate` (RFC 6750, 3).
    pub(in crate::receiver) fn challenge(&self) -> Option<HeaderValue> {
        let challenge = match (self, self.statuses().0) {
            (AccessError::NoToken, _) => r#"Bearer realm="spansieve""#,
            (_, StatusCode::UNAUTHORIZED) => r#"Bearer realm="spansieve", error="invalid_token""#,
            (_, StatusCode::FORBIDDEN) => r#"Bearer realm="spansieve", error="insufficient_scope""#,
            _ => return None,
        };
        Some(HeaderValue::from_static(challenge))
    }
}

/// Authentication of senders, with the token file that it watches.
#[derive(Debug)]
pub struct Auth {
    watched: Option<WatchedFiles>,
    guard: Arc<Guard>,
}

/// Check that every request passes.
#[derive(Debug)]
pub(in crate::receiver) struct Guard {
    /// Tokens from the configuration.
    configured: Tokens,
    /// Tokens from the token file.
    filed: RwLock<Tokens>,
    google: Option<Google>,
    /// Limits the log lines about each reason.
    lines: [Throttle; DenialReason::ALL.len()],
}

impl Auth {
    /// Reads the token file, if there is one. Google's keys are fetched once the receiver serves. Needs a tokio
    /// runtime.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn load(settings: &settings::AuthSettings) -> Result<Self, AuthError> {
        let bearer = settings.bearer.clone().unwrap_or_default();
        let (watched, filed) = match bearer.tokens_file {
            Some(path) => {
                let (watched, contents) = WatchedFiles::open(vec![path]).await?;
                (Some(watched), Tokens::parse(&contents.concat())?)
            }
            None => (None, Tokens::default()),
        };
        let google = settings.google.as_ref().map(Google::new).transpose()?;
        let lines = [const { Throttle::new(1, REMINDER_INTERVAL) }; DenialReason::ALL.len()];
        Ok(Auth { watched, guard: Arc::new(Guard { configured: bearer.tokens, filed: filed.into(), google, lines }) })
    }

    pub(in crate::receiver) fn guard(&self) -> Arc<Guard> {
        Arc::clone(&self.guard)
    }

    /// Takes renewed tokens and keys. Never returns.
    pub(in crate::receiver) async fn renew(self, metrics: Arc<Metrics>) {
        let guard = &self.guard;
        let tokens = async {
            if let Some(watched) = self.watched {
                watched.follow(metrics, |contents| guard.replace(contents)).await;
            }
        };
        let keys = async {
            if let Some(google) = &guard.google {
                google.renew().await;
            }
        };
        tokio::join!(tokens, keys);
    }
}

impl Guard {
    fn replace(&self, contents: &[Vec<u8>]) -> Result<(), String> {
        *self.filed.write() = Tokens::parse(&contents.concat()).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Checks the token in these headers. Counts each denial, and logs it at most once per [`REMINDER_INTERVAL`] for
    /// each reason.
    pub(in crate::receiver) async fn check(&self, headers: &HeaderMap, metrics: &Metrics) -> Result<(), AccessError> {
        let checked = self.identify(headers).await;
        if let Err(denial) = &checked {
            metrics.denied(denial.reason());
            if self.is_news(denial) {
                tracing::warn!(reason = denial.reason().as_str(), "Requests are denied: {denial}.");
            }
        }
        checked
    }

    async fn identify(&self, headers: &HeaderMap) -> Result<(), AccessError> {
        let token = bearer(headers).ok_or(AccessError::NoToken)?;
        let hash = TokenHash::of(token.as_bytes());
        // `|` evaluates both sides, so the time does not tell which list has the token.
        if self.configured.contains(&hash) | self.filed.read().contains(&hash) {
            return Ok(());
        }
        match &self.google {
            Some(google) if IdToken::is_one(token) => google.check(token, hash).await,
            _ => Err(AccessError::UnknownToken),
        }
    }

    /// Returns true if the log has not named this reason within [`REMINDER_INTERVAL`].
    fn is_news(&self, denial: &AccessError) -> bool {
        self.lines[denial.reason() as usize].pass(Instant::now()).is_some()
    }
}

/// Returns the token of the only `Authorization` header (RFC 6750, 2.1). The case of the scheme does not matter (RFC
/// 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (scheme, token) = values.next()?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    let is_one = values.next().is_none() && !token.is_empty();
    (is_one && scheme.eq_ignore_ascii_case("bearer")).then_some(token)
}

#[cfg(test)]
mod tests;
