//! Who the daemon is to Google Cloud: application default credentials.

use std::time::Duration;

use google_cloud_auth::credentials::{Builder, CacheableResource, Credentials as GoogleCredentials};
use google_cloud_auth::{build_errors, errors};
use http::{Extensions, HeaderMap};
use parking_lot::Mutex;
use thiserror::Error;
use tonic::Status;

use super::causes;

/// A token comes from a cache, or from a server next door; the library itself sets no limit.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Application default credentials that cannot be used. Retrying cannot help.
#[derive(Debug, Error)]
#[error("application default credentials cannot be used: {0}")]
pub struct CredentialsError(String);

type BuildResult = Result<GoogleCredentials, build_errors::Error>;

/// Application default credentials: the file that `GOOGLE_APPLICATION_CREDENTIALS` names, gcloud's own, or the
/// metadata server (`GCE_METADATA_HOST` if set). The library caches tokens and renews them in time.
///
/// No scopes are asked for, so each kind brings its own: `cloud-platform` for a key, what the instance has on the
/// metadata server, what was granted at login for a user. Naming `trace.append` would be narrower, but the token of a
/// user's login cannot be renewed with a scope that was not granted there, and what the daemon may do is better said
/// by its role, `roles/cloudtrace.agent`.
pub struct Credentials {
    build: Box<dyn Fn() -> BuildResult + Send + Sync>,
    /// `None`: to be built again. The library ends its renewal for good at an error that it takes to be permanent, such
    /// as a role that has not reached the metadata server yet.
    current: Mutex<Option<GoogleCredentials>>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// The application default credentials. Needs a tokio runtime: tokens are renewed by a task.
    ///
    /// # Errors
    /// A credentials file is missing, unreadable or of an unknown kind. Whether a token can be had, and what for, is seen
    /// at the first call.
    pub fn application_default() -> Result<Self, CredentialsError> {
        Self::new(|| Builder::default().build())
    }

    fn new(build: impl Fn() -> BuildResult + Send + Sync + 'static) -> Result<Self, CredentialsError> {
        // The library's own HTTP client wants one for the process; an error says that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let current = build().map_err(|error| CredentialsError(causes(&error)))?;
        Ok(Credentials { build: Box::new(build), current: Mutex::new(Some(current)) })
    }

    /// The headers that sign a call.
    ///
    /// # Errors
    /// UNAVAILABLE if there is no token now, UNAUTHENTICATED if there will be none until something changes.
    pub async fn headers(&self) -> Result<HeaderMap, Status> {
        let credentials = self.current()?;
        let headers = tokio::time::timeout(TOKEN_TIMEOUT, credentials.headers(Extensions::new())).await;
        match headers.map_err(|_| Status::unavailable("no access token in time"))? {
            Ok(CacheableResource::New { data, .. }) => Ok(data),
            Ok(CacheableResource::NotModified) => Err(Status::internal("credentials without headers")),
            Err(error) => Err(self.token_failure(&error)),
        }
    }

    /// Signs in afresh for the next call: the present token was refused.
    pub fn renew(&self) {
        *self.current.lock() = None;
    }

    fn current(&self) -> Result<GoogleCredentials, Status> {
        let mut current = self.current.lock();
        if let Some(credentials) = &*current {
            return Ok(credentials.clone());
        }
        let credentials = (self.build)().map_err(|error| Status::unauthenticated(causes(&error)))?;
        Ok(current.insert(credentials).clone())
    }

    fn token_failure(&self, error: &errors::CredentialsError) -> Status {
        let message = format!("no access token: {}", causes(error));
        if error.is_transient() {
            return Status::unavailable(message);
        }
        self.renew();
        Status::unauthenticated(message)
    }
}

#[cfg(test)]
pub(crate) mod tests;
