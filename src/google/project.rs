//! The project that the daemon runs in, for spans whose resource names none.

use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::Variables;
use super::adc::{Adc, AdcFile};
use super::metadata::{Failure, MetadataServer};

const PROJECT_VARIABLE: &str = "GOOGLE_CLOUD_PROJECT";
/// For how long a metadata server that is there but has no answer yet is asked again: less than a start-up probe waits,
/// so that what was found is logged before the container is killed.
const METADATA_PATIENCE: Duration = Duration::from_secs(20);
const METADATA_INTERVAL: Duration = Duration::from_millis(500);

/// Nothing says which project this is.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("no Google Cloud project found ({}); set export.project", looked_at.join("; "))]
pub struct AmbientProjectError {
    /// The places in order, each with what was found there.
    pub looked_at: Vec<String>,
}

/// The project of the environment: `GOOGLE_CLOUD_PROJECT`, the one that the application default credentials file
/// belongs to, or the metadata server's, in this order.
///
/// # Errors
/// None of them has one; the error says what was found where.
pub async fn ambient_project(variables: Variables<'_>) -> Result<String, AmbientProjectError> {
    if let Some(project) = variables(PROJECT_VARIABLE).filter(|project| !project.is_empty()) {
        return Ok(project);
    }
    let adc = Adc::locate(variables);
    let mut looked_at = vec![format!("{PROJECT_VARIABLE} is not set")];
    looked_at.extend_from_slice(adc.passed());
    if let Some(file) = adc.file() {
        let found = match file.map(AdcFile::any_project) {
            Ok(Some(project)) => return Ok(project),
            Ok(None) => "names no project".to_owned(),
            Err(error) => error,
        };
        looked_at.push(format!("{adc}: {found}"));
    }
    let server = MetadataServer::of_environment(variables);
    metadata_project(&server).await.map_err(|failure| {
        looked_at.push(format!("{server}: {}", failure.found));
        AmbientProjectError { looked_at }
    })
}

/// The metadata server's project; asks again while that may help.
async fn metadata_project(server: &MetadataServer) -> Result<String, Failure> {
    let deadline = Instant::now() + METADATA_PATIENCE;
    let mut told = false;
    loop {
        match server.project().await {
            Err(failure) if failure.may_pass && Instant::now() < deadline => {
                if !std::mem::replace(&mut told, true) {
                    let found = failure.found;
                    tracing::warn!("{server} does not say which project this is, it is asked again: {found}");
                }
                sleep(METADATA_INTERVAL).await;
            }
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests;
