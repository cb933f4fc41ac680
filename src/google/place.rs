//! The place of the daemon, as resource attributes (semantic conventions, `cloud.*`).

use super::Variables;
use super::metadata::{MetadataServer, QueryError};

/// Returns `cloud.provider`, `cloud.account.id` (which is `project`), and `cloud.region` if the metadata server knows
/// it. If the server does not know the region, a warning is logged.
pub async fn place(variables: Variables<'_>, project: &str) -> Vec<(&'static str, String)> {
    let mut attributes = vec![("cloud.provider", "gcp".to_owned()), ("cloud.account.id", project.to_owned())];
    let server = MetadataServer::of_environment(variables);
    match region(&server).await {
        Ok(region) => attributes.push(("cloud.region", region)),
        Err(failure) => {
            tracing::warn!(
                "resource.detect does not set a region, because none was found: {server}: {}",
                failure.found
            );
        }
    }
    attributes
}

/// Returns the region. Cloud Run knows its region; Compute Engine knows its zone (`europe-west1-b` is in
/// `europe-west1`).
async fn region(server: &MetadataServer) -> Result<String, QueryError> {
    let last = |path: String| path.rsplit('/').next().map(str::to_owned).unwrap_or_default();
    match server.region().await {
        Ok(region) => Ok(last(region)),
        Err(failure) => {
            let zone = last(server.zone().await.map_err(|_| failure)?);
            Ok(zone.rsplit_once('-').map_or(zone.clone(), |(region, _)| region.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests;
