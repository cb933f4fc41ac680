//! The sources of application default credentials (<https://google.aip.dev/auth/4110>): the file that
//! `GOOGLE_APPLICATION_CREDENTIALS` names, gcloud's own file, or the metadata server. The library that uses the
//! credentials looks in the same places. This module looks there for the facts that messages need.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Variables;
use super::metadata::MetadataServer;
use crate::segment::file::read_regular;
use crate::trust::FILE_BYTES_MAX;

const CREDENTIALS_VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
/// gcloud's credentials, below the home directory (<https://google.aip.dev/auth/4113>).
const GCLOUD_FILE: &str = ".config/gcloud/application_default_credentials.json";
/// The part before the account in the URL of an impersonation
/// (<https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken>).
const IMPERSONATION_PREFIX: &str = "/serviceAccounts/";

/// The place that has the credentials, and the earlier places that do not have any. It displays as the place.
#[derive(Clone, Debug)]
pub struct Adc {
    passed: Vec<String>,
    place: CredentialsPlace,
}

/// The place of credentials.
#[derive(Clone, Debug)]
enum CredentialsPlace {
    File { named_by: &'static str, path: PathBuf },
    Metadata(MetadataServer),
}

impl Adc {
    /// Finds the place of the credentials, with the environment `variables`.
    pub fn locate(variables: Variables<'_>) -> Self {
        let named_by = CREDENTIALS_VARIABLE;
        if let Some(path) = variables(named_by) {
            return Adc { passed: Vec::new(), place: CredentialsPlace::File { named_by, path: path.into() } };
        }
        let mut passed = vec![format!("{named_by} is not set")];
        match variables("HOME").map(|home| Path::new(&home).join(GCLOUD_FILE)) {
            Some(path) if path.exists() => {
                return Adc { passed, place: CredentialsPlace::File { named_by: "gcloud", path } };
            }
            Some(path) => passed.push(format!("{} of gcloud does not exist", path.display())),
            None => passed.push("HOME is not set, so there is no file of gcloud".to_owned()),
        }
        Adc { passed, place: CredentialsPlace::Metadata(MetadataServer::of_environment(variables)) }
    }

    /// Returns the places without credentials, in the order of search, each with the reason.
    pub fn passed(&self) -> &[String] {
        &self.passed
    }

    /// Returns all places that were searched, in one line. `found` is the result at the last place.
    pub fn explain(&self, found: &str) -> String {
        let last = format!("{self}: {found}");
        self.passed.iter().map(String::as_str).chain([last.as_str()]).collect::<Vec<_>>().join("; ")
    }

    /// Returns the metadata server, if the credentials come from it.
    pub fn metadata_server(&self) -> Option<&MetadataServer> {
        match &self.place {
            CredentialsPlace::File { .. } => None,
            CredentialsPlace::Metadata(server) => Some(server),
        }
    }

    /// Checks that the credentials file, if there is one, can be read to its end. The library would wait for ever for
    /// the other end of a pipe.
    ///
    /// # Errors
    /// The file cannot be read, is not a regular file, or is too large.
    pub fn check_file(&self) -> io::Result<()> {
        match &self.place {
            CredentialsPlace::File { path, .. } => read_regular(path, FILE_BYTES_MAX).map(drop),
            CredentialsPlace::Metadata(_) => Ok(()),
        }
    }

    /// Returns the contents of the credentials file, if there is one. The error gives the reason why the file cannot be
    /// used.
    pub fn file(&self) -> Option<Result<AdcFile, String>> {
        match &self.place {
            CredentialsPlace::File { path, .. } => Some(AdcFile::read(path)),
            CredentialsPlace::Metadata(_) => None,
        }
    }
}

impl fmt::Display for Adc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            CredentialsPlace::File { named_by, path } => write!(f, "{} ({named_by})", path.display()),
            CredentialsPlace::Metadata(server) => server.fmt(f),
        }
    }
}

/// The fields of a credentials file that are not secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdcFile {
    /// The project of the service account.
    pub project: Option<String>,
    /// The project whose quota the calls use.
    pub quota_project: Option<String>,
    /// The service account that makes the calls, directly or by impersonation. The file of a user does not name the
    /// user.
    pub account: Option<String>,
}

impl AdcFile {
    fn read(path: &Path) -> Result<Self, String> {
        let text = read_regular(path, FILE_BYTES_MAX).map_err(|error| error.to_string())?;
        let file: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        let field = |name| file.get(name)?.as_str().filter(|value| !value.is_empty()).map(str::to_owned);
        let impersonated = field("service_account_impersonation_url").as_deref().and_then(impersonated_account);
        Ok(AdcFile {
            project: field("project_id"),
            quota_project: field("quota_project_id"),
            account: impersonated.or_else(|| field("client_email")),
        })
    }
}

impl AdcFile {
    /// Returns the project of the service account, or else the project whose quota the calls use.
    #[must_use]
    pub fn any_project(self) -> Option<String> {
        self.project.or(self.quota_project)
    }
}

/// Returns the account in `https://.../serviceAccounts/{account}:generateAccessToken`.
fn impersonated_account(url: &str) -> Option<String> {
    let (_, rest) = url.rsplit_once(IMPERSONATION_PREFIX)?;
    rest.split_once(':').map(|(account, _)| account.to_owned())
}

#[cfg(test)]
mod tests;
