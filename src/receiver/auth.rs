//! Who may send: static bearer tokens and Google's ID tokens (`otlp.auth`), asked before a body is read.
//!
//! Invariants
//! - Without a good token nothing is taken, and while it cannot be said whether one is good, senders are asked to retry.
//! - No token is held, logged or sent back; what is remembered of one is its hash.

mod google;
mod keyring;

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::{Mutex, RwLock};
use thiserror::Error;
use tokio::time::Instant;
use tonic::Code;

use self::google::Google;
use super::reload::{FileError, Watched};
use crate::config::settings;
use crate::google::certs::CertsError;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::DENIAL_REASONS;
use crate::trust::id_token::{IdToken, Rejection};
use crate::trust::token::{TokenError, TokenHash, Tokens};

/// The log says of each reason only so often that it turns requests away; the metric counts them all.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60);

/// Why nobody could be let in.
#[derive(Debug, Error)]
pub enum AuthError {
    /// The file of tokens cannot be read.
    #[error("otlp.auth.bearer: {0}")]
    File(#[from] FileError),
    /// What is in it are no tokens.
    #[error("otlp.auth.bearer.tokens_file: {0}")]
    Tokens(#[from] TokenError),
    /// The keys of Google's tokens cannot be asked for.
    #[error("otlp.auth.google: {0}")]
    Certs(#[from] CertsError),
}

/// Why a request was turned away; the text is what the sender reads.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Denial {
    #[error("send a token: authorization: Bearer TOKEN")]
    NoToken,
    #[error("the token is not one of those that are good here")]
    UnknownToken,
    #[error("{0}")]
    IdToken(#[from] Rejection),
    #[error("the keys of ID tokens are not known yet; retry")]
    NoKeys,
}

impl Denial {
    /// The metric label `reason`, one of [`DENIAL_REASONS`].
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Denial::NoToken => "no_token",
            Denial::UnknownToken => "unknown_token",
            Denial::IdToken(Rejection::Malformed) => "malformed",
            Denial::IdToken(Rejection::Algorithm) => "algorithm",
            Denial::IdToken(Rejection::UnknownKey) => "unknown_key",
            Denial::IdToken(Rejection::Signature | Rejection::Removed) => "signature",
            Denial::IdToken(Rejection::Issuer) => "issuer",
            Denial::IdToken(Rejection::Audience) => "audience",
            Denial::IdToken(Rejection::Expired) => "expired",
            Denial::IdToken(Rejection::Future) => "future",
            Denial::IdToken(Rejection::Account(_) | Rejection::Unverified(_)) => "account",
            Denial::NoKeys => "no_keys",
        }
    }

    /// Who is not known gets 401 and UNAUTHENTICATED, who is known and may not send 403 and PERMISSION_DENIED (RFC 9110,
    /// 15.5.2 and 15.5.4; gRPC `doc/statuscodes.md`). No exporter repeats these. What passes is 503 and UNAVAILABLE.
    pub(super) fn statuses(&self) -> (StatusCode, Code) {
        match self {
            Denial::IdToken(Rejection::Account(_) | Rejection::Unverified(_)) => {
                (StatusCode::FORBIDDEN, Code::PermissionDenied)
            }
            Denial::NoKeys => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
            _ => (StatusCode::UNAUTHORIZED, Code::Unauthenticated),
        }
    }

    /// What `WWW-Authenticate` says (RFC 6750, 3).
    pub(super) fn challenge(&self) -> Option<HeaderValue> {
        let challenge = match (self, self.statuses().0) {
            (Denial::NoToken, _) => r#"Bearer realm="spansieve""#,
            (_, StatusCode::UNAUTHORIZED) => r#"Bearer realm="spansieve", error="invalid_token""#,
            (_, StatusCode::FORBIDDEN) => r#"Bearer realm="spansieve", error="insufficient_scope""#,
            _ => return None,
        };
        Some(HeaderValue::from_static(challenge))
    }
}

/// The doorkeeper.
#[derive(Debug)]
pub struct Auth {
    watched: Option<Watched>,
    guard: Arc<Guard>,
}

/// What every request passes.
#[derive(Debug)]
pub(super) struct Guard {
    /// Those of the configuration.
    configured: Tokens,
    /// Those of the file.
    filed: RwLock<Tokens>,
    google: Option<Google>,
    reminded: Mutex<[Option<Instant>; DENIAL_REASONS.len()]>,
}

impl Auth {
    /// Reads the file of tokens, if there is one. Google's keys are fetched once the receiver serves. Needs a tokio
    /// runtime.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn load(settings: &settings::Auth) -> Result<Self, AuthError> {
        let bearer = settings.bearer.clone().unwrap_or_default();
        let (watched, filed) = match bearer.tokens_file {
            Some(path) => {
                let (watched, contents) = Watched::open(vec![path]).await?;
                (Some(watched), Tokens::parse(&contents.concat())?)
            }
            None => (None, Tokens::default()),
        };
        let google = settings.google.as_ref().map(Google::new).transpose()?;
        let reminded = Mutex::default();
        Ok(Auth {
            watched,
            guard: Arc::new(Guard { configured: bearer.tokens, filed: filed.into(), google, reminded }),
        })
    }

    pub(super) fn guard(&self) -> Arc<Guard> {
        Arc::clone(&self.guard)
    }

    /// Takes rotated tokens and keys for ever.
    pub(super) async fn renew(self, metrics: Arc<Metrics>) {
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

    /// Lets a request with these headers in; a denial is counted, and logged now and then.
    pub(super) async fn check(&self, headers: &HeaderMap, metrics: &Metrics) -> Result<(), Denial> {
        let checked = self.identify(headers).await;
        if let Err(denial) = &checked {
            metrics.denied(denial.reason());
            if self.is_news(denial) {
                tracing::warn!(reason = denial.reason(), "Requests are turned away: {denial}.");
            }
        }
        checked
    }

    async fn identify(&self, headers: &HeaderMap) -> Result<(), Denial> {
        let token = bearer(headers).ok_or(Denial::NoToken)?;
        let hash = TokenHash::of(token.as_bytes());
        // Both, always: which of them has it takes no other time.
        if self.configured.contains(&hash) | self.filed.read().contains(&hash) {
            return Ok(());
        }
        match &self.google {
            Some(google) if IdToken::is_one(token) => google.check(token, hash).await,
            _ => Err(Denial::UnknownToken),
        }
    }

    /// Whether the log has not said it for a while.
    fn is_news(&self, denial: &Denial) -> bool {
        let index = DENIAL_REASONS.iter().position(|reason| *reason == denial.reason());
        let mut reminded = self.reminded.lock();
        let Some(last) = index.and_then(|index| reminded.get_mut(index)) else { return false };
        if last.is_some_and(|last| last.elapsed() < REMINDER_INTERVAL) {
            return false;
        }
        *last = Some(Instant::now());
        true
    }
}

/// The token of the one `Authorization` header (RFC 6750, 2.1; the scheme's case is of no matter: RFC 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (scheme, token) = values.next()?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    let is_one = values.next().is_none() && !token.is_empty();
    (is_one && scheme.eq_ignore_ascii_case("bearer")).then_some(token)
}

#[cfg(test)]
mod tests;
