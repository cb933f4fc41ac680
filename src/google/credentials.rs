//! The identity of the daemon for Google Cloud: application default credentials.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use google_cloud_auth::credentials::{Builder, CacheableResource, Credentials as GoogleCredentials};
use google_cloud_auth::{build_errors, errors};
use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::Instant;
use tonic::Status;

use super::adc::{Adc, AdcFile};
use super::{QUOTA_PROJECT_HEADER, causes, environment};

/// The time limit for a token. A token comes from a cache, or from a server close by. The library itself sets no limit.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);
/// The least time after which a missing first token is requested again. It may take longer than a call waits for it.
/// The library makes only one request and waits for ever for its answer.
const HANG_TIME_MIN: Duration = Duration::from_secs(60);
/// The most characters of an error that are shown: the answer of a token server may be a whole page.
const CAUSE_CHARS_MAX: usize = 600;

/// Application default credentials that cannot be used. Retrying cannot help.
#[derive(Debug, Error)]
#[error("application default credentials cannot be used: {0}")]
pub struct CredentialsError(String);

type BuildResult = Result<GoogleCredentials, build_errors::Error>;

/// Application default credentials: from the file that `GOOGLE_APPLICATION_CREDENTIALS` names, gcloud's own file, or
/// the metadata server (`GCE_METADATA_HOST` if set). The library caches tokens. Its own task renews them minutes before
/// they expire, so that no call waits while the present token is valid. Clones share the tokens.
///
/// No scopes are requested, so each kind of credentials has its own: `cloud-platform` for a key, the scopes of the
/// instance for the metadata server, and the scopes granted at login for a user. `trace.append` would be narrower, but
/// a user's token cannot be renewed with a scope that was not granted at login. The role `roles/cloudtrace.agent` is
/// the better way to restrict the daemon.
#[derive(Clone)]
pub struct Credentials {
    shared: Arc<SharedCredentials>,
}

struct SharedCredentials {
    build: Box<dyn Fn() -> BuildResult + Send + Sync>,
    adc: Adc,
    identity: OnceLock<String>,
    current: Mutex<CurrentCredentials>,
}

struct CurrentCredentials {
    /// The credentials; `None` if they must be built again. The library stops its renewal after an error that it
    /// considers permanent, for example a role that has not reached the metadata server yet.
    credentials: Option<GoogleCredentials>,
    sign_in: SignIn,
    built: Instant,
}

/// The number of the sign-in that a token belongs to. It prevents calls that failed with an old token from discarding
/// the next token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignIn(u64);

/// The headers that sign a call, with their sign-in.
#[derive(Debug)]
pub struct Signature {
    /// The token, and the project whose quota the call uses, if there is one.
    pub headers: HeaderMap,
    /// The sign-in of the token, for [`Credentials::renew`].
    pub sign_in: SignIn,
}

impl Signature {
    /// Returns the access token by itself.
    ///
    /// # Errors
    /// INTERNAL if the credentials are of another kind.
    pub fn bearer_token(&self) -> Result<&str, Status> {
        let value = self.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = value.and_then(|value| value.strip_prefix("Bearer "));
        token.ok_or_else(|| Status::internal("the credentials have no access token"))
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("adc", &self.shared.adc).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Returns the application default credentials. Needs a tokio runtime, because a task renews the tokens.
    ///
    /// # Errors
    /// A credentials file is missing, unreadable or of an unknown kind. The first call shows if a token can be
    /// obtained, and which calls it permits.
    pub fn application_default() -> Result<Self, CredentialsError> {
        let adc = Adc::locate(&environment);
        // The library itself reads the quota project only from the files of users and impersonations.
        let file = adc.file().and_then(Result::ok).unwrap_or_default();
        let quota_project = file.quota_project.clone();
        let build = move || quota_project.iter().fold(Builder::default(), Builder::with_quota_project_id).build();
        Self::new(adc, file, build)
    }

    pub(super) fn new(
        adc: Adc,
        file: AdcFile,
        build: impl Fn() -> BuildResult + Send + Sync + 'static,
    ) -> Result<Self, CredentialsError> {
        // The library's HTTP client needs a default provider for the process. An error means that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let credentials = build_from(&adc, &build).map_err(|cause| CredentialsError(adc.explain(&cause)))?;
        let current =
            CurrentCredentials { credentials: Some(credentials), sign_in: SignIn::default(), built: Instant::now() };
        let identity = file.account.map_or_else(OnceLock::new, OnceLock::from);
        let shared = SharedCredentials { build: Box::new(build), adc, identity, current: Mutex::new(current) };
        Ok(Credentials { shared: Arc::new(shared) })
    }

    /// Obtains the first token, and then the account that it belongs to.
    ///
    /// # Errors
    /// See [`Credentials::signature`].
    pub async fn sign_in(&self) -> Result<(), Status> {
        self.signature().await?;
        if let (None, Some(server)) = (self.identity(), self.shared.adc.metadata_server()) {
            match server.account().await {
                Ok(account) => drop(self.shared.identity.set(account)),
                Err(failure) => tracing::debug!("{server} does not name the account: {}", failure.found),
            }
        }
        Ok(())
    }

    /// Returns the service account that makes the calls, if it is known: from the file, or, after
    /// [`Credentials::sign_in`], from the metadata server. Returns `None` for a user, because the file does not name
    /// the user.
    #[must_use]
    pub fn identity(&self) -> Option<String> {
        self.shared.identity.get().cloned()
    }

    /// Returns the headers that sign a call.
    ///
    /// # Errors
    /// UNAVAILABLE if there is no token now; UNAUTHENTICATED if there will be no token until something changes. The
    /// message names the places that were searched for credentials, with the result at each place.
    pub async fn signature(&self) -> Result<Signature, Status> {
        let (credentials, sign_in) = self.current()?;
        let headers = tokio::time::timeout(TOKEN_TIMEOUT, credentials.headers(Extensions::new())).await;
        match headers {
            Ok(Ok(CacheableResource::New { data: mut headers, .. })) => {
                // The quota project is empty if its environment variable is set but empty. No project has an empty id.
                if headers.get(&QUOTA_PROJECT_HEADER).is_some_and(http::HeaderValue::is_empty) {
                    headers.remove(&QUOTA_PROJECT_HEADER);
                }
                Ok(Signature { headers, sign_in })
            }
            Ok(Ok(CacheableResource::NotModified)) => Err(Status::internal("credentials without headers")),
            Ok(Err(error)) => Err(self.token_failure(&error, sign_in)),
            Err(_) => {
                self.renew_if(|current| current.sign_in == sign_in && current.built.elapsed() >= HANG_TIME_MIN);
                Err(Status::unavailable(self.no_token(&format!("no answer within {TOKEN_TIMEOUT:?}"))))
            }
        }
    }

    /// Signs in again for the next call, after a token of `sign_in` was refused. Does nothing if there has been a newer
    /// sign-in.
    pub fn renew(&self, sign_in: SignIn) {
        self.renew_if(|current| current.sign_in == sign_in);
    }

    fn renew_if(&self, condition: impl Fn(&CurrentCredentials) -> bool) {
        let mut current = self.shared.current.lock();
        if condition(&current) {
            current.credentials = None;
        }
    }

    fn current(&self) -> Result<(GoogleCredentials, SignIn), Status> {
        let mut current = self.shared.current.lock();
        if let Some(credentials) = &current.credentials {
            return Ok((credentials.clone(), current.sign_in));
        }
        let credentials = build_from(&self.shared.adc, &self.shared.build)
            .map_err(|cause| Status::unauthenticated(self.no_token(&cause)))?;
        let sign_in = SignIn(current.sign_in.0 + 1);
        *current = CurrentCredentials { credentials: Some(credentials.clone()), sign_in, built: Instant::now() };
        Ok((credentials, sign_in))
    }

    fn token_failure(&self, error: &errors::CredentialsError, sign_in: SignIn) -> Status {
        let message = self.no_token(&causes(error));
        if error.is_transient() {
            return Status::unavailable(message);
        }
        self.renew(sign_in);
        Status::unauthenticated(message)
    }

    fn no_token(&self, found: &str) -> String {
        let found = found.chars().take(CAUSE_CHARS_MAX).collect::<String>();
        format!("no access token: {}", self.shared.adc.explain(&found))
    }
}

/// Makes the library read the credentials of `adc` again. The error describes the result at that place.
fn build_from(adc: &Adc, build: impl Fn() -> BuildResult) -> Result<GoogleCredentials, String> {
    adc.check_file().map_err(|error| error.to_string())?;
    build().map_err(|error| causes(&error))
}

#[cfg(test)]
mod tests;
