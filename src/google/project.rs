//! The project that the daemon runs in, for spans whose resource does not name one.

use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::Variables;
use super::adc::{Adc, AdcFile};
use super::metadata::{MetadataServer, QueryError};

const PROJECT_VARIABLE: &str = "GOOGLE_CLOUD_PROJECT";
/// The time for which a metadata server without an answer is asked again. It is shorter than the timeout of a start-up
/// probe, so that the result is logged before the container is killed.
const METADATA_PATIENCE: Duration = Duration::from_secs(20);
const METADATA_INTERVAL: Duration = Duration::from_millis(500);

/// Neither the environment nor the metadata server names a project.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("no Google Cloud project found ({}); set export.project", looked_at.join("; "))]
pub struct AmbientProjectError {
    /// The places in the order of search, each with the result.
    pub looked_at: Vec<String>,
}

/// Returns the project of the environment: from `GOOGLE_CLOUD_PROJECT`, from the application default credentials file,
/// or from the metadata server, in this order.
///
/// # Errors
/// None of these places has a project. The error gives the result at each place.
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

/// Returns the project of the metadata server. Asks again as long as that may help.
async fn metadata_project(server: &MetadataServer) -> Result<String, QueryError> {
    let deadline = Instant::now() + METADATA_PATIENCE;
    let mut told = false;
    loop {
        match server.project().await {
            Err(failure) if failure.may_pass && Instant::now() < deadline => {
                if !std::mem::replace(&mut told, true) {
                    let found = failure.found;
                    tracing::warn!("The {server} does not name the project, and is asked again: {found}");
                }
                sleep(METADATA_INTERVAL).await;
            }
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests;
