//! The place that the daemon runs in, as attributes of a resource (semantic conventions, `cloud.*`).

use super::Variables;
use super::metadata::{Failure, MetadataServer};

/// `cloud.provider`, `cloud.account.id` (which is `project`), and `cloud.region` if the metadata server knows it. Where it
/// does not, that is logged, and the region is left out.
pub async fn place(variables: Variables<'_>, project: &str) -> Vec<(&'static str, String)> {
    let mut attributes = vec![("cloud.provider", "gcp".to_owned()), ("cloud.account.id", project.to_owned())];
    let server = MetadataServer::of_environment(variables);
    match region(&server).await {
        Ok(region) => attributes.push(("cloud.region", region)),
        Err(failure) => {
            tracing::warn!("resource.detect finds no region, and sets none: {server}: {}", failure.found);
        }
    }
    attributes
}

/// Cloud Run knows its region, Compute Engine its zone (`europe-west1-b` is in `europe-west1`).
async fn region(server: &MetadataServer) -> Result<String, Failure> {
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
