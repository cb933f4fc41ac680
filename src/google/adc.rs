//! Where application default credentials come from (<https://google.aip.dev/auth/4110>): the file that
//! `GOOGLE_APPLICATION_CREDENTIALS` names, gcloud's own file, or the metadata server. The library that uses them looks
//! in the same places; here they are looked at for what is to be said about them.

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
/// What precedes the account in the address of an impersonation
/// (<https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken>).
const IMPERSONATION_PREFIX: &str = "/serviceAccounts/";

/// The place where the credentials are, and those before it, where there are none. Displayed as that place.
#[derive(Clone, Debug)]
pub struct Adc {
    passed: Vec<String>,
    place: Place,
}

/// Where credentials are.
#[derive(Clone, Debug)]
enum Place {
    File { named_by: &'static str, path: PathBuf },
    Metadata(MetadataServer),
}

impl Adc {
    /// Looks for the credentials with the environment `variables`.
    pub fn locate(variables: Variables<'_>) -> Self {
        let named_by = CREDENTIALS_VARIABLE;
        if let Some(path) = variables(named_by) {
            return Adc { passed: Vec::new(), place: Place::File { named_by, path: path.into() } };
        }
        let mut passed = vec![format!("{named_by} is not set")];
        match variables("HOME").map(|home| Path::new(&home).join(GCLOUD_FILE)) {
            Some(path) if path.exists() => return Adc { passed, place: Place::File { named_by: "gcloud", path } },
            Some(path) => passed.push(format!("{} of gcloud does not exist", path.display())),
            None => passed.push("there is no HOME with a file of gcloud".to_owned()),
        }
        Adc { passed, place: Place::Metadata(MetadataServer::of_environment(variables)) }
    }

    /// The places that were passed over, in order, each with what was found there.
    pub fn passed(&self) -> &[String] {
        &self.passed
    }

    /// All places that were looked at, in one line; `found` is what was found in the last one.
    pub fn explain(&self, found: &str) -> String {
        let last = format!("{self}: {found}");
        self.passed.iter().map(String::as_str).chain([last.as_str()]).collect::<Vec<_>>().join("; ")
    }

    /// The metadata server, if the credentials are its own.
    pub fn metadata_server(&self) -> Option<&MetadataServer> {
        match &self.place {
            Place::File { .. } => None,
            Place::Metadata(server) => Some(server),
        }
    }

    /// Checks that the credentials file, if there is one, can be read to its end. The library would wait for the other end of a
    /// pipe for ever.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn check_file(&self) -> io::Result<()> {
        match &self.place {
            Place::File { path, .. } => read_regular(path, FILE_BYTES_MAX).map(drop),
            Place::Metadata(_) => Ok(()),
        }
    }

    /// The credentials file, if there is one; the error says what is wrong with it.
    pub fn file(&self) -> Option<Result<AdcFile, String>> {
        match &self.place {
            Place::File { path, .. } => Some(AdcFile::read(path)),
            Place::Metadata(_) => None,
        }
    }
}

impl fmt::Display for Adc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File { named_by, path } => write!(f, "{} ({named_by})", path.display()),
            Place::Metadata(server) => server.fmt(f),
        }
    }
}

/// What a credentials file says beside its secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdcFile {
    /// The project that a service account belongs to.
    pub project: Option<String>,
    /// The project whose quota the calls count on.
    pub quota_project: Option<String>,
    /// The service account that calls are made as, also by impersonation. A user's file does not name the user.
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
    /// A service account's own project, or the one that a user's calls are charged to.
    #[must_use]
    pub fn any_project(self) -> Option<String> {
        self.project.or(self.quota_project)
    }
}

/// The account in `https://.../serviceAccounts/{account}:generateAccessToken`.
fn impersonated_account(url: &str) -> Option<String> {
    let (_, rest) = url.rsplit_once(IMPERSONATION_PREFIX)?;
    rest.split_once(':').map(|(account, _)| account.to_owned())
}

#[cfg(test)]
mod tests;
