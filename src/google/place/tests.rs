use super::*;
use crate::google::testing::{Metadata, answer, value};

/// Returns the attributes, if the metadata server gives these answers, one to each request; and the requests.
async fn place_of(answers: Vec<String>) -> (Vec<(&'static str, String)>, Vec<String>) {
    let server = Metadata::start(answers).await;
    let host = server.host.clone();
    let attributes = place(&|name| (name == "GCE_METADATA_HOST").then(|| host.clone()), "own").await;
    (attributes, server.requests())
}

#[tokio::test]
async fn the_region_comes_from_the_instance_or_from_its_zone() {
    let own = [("cloud.provider", "gcp".to_owned()), ("cloud.account.id", "own".to_owned())];
    let none = || answer("404 Not Found", "Metadata-Flavor: Google\r\n", "");
    let cases = [
        (vec![value("projects/1/regions/europe-west1")], Some("europe-west1")),
        (vec![none(), value("projects/1/zones/us-central1-f")], Some("us-central1")),
        (vec![none(), none()], None),
    ];
    for (answers, region) in cases {
        let asked = answers.len();
        let (attributes, requests) = place_of(answers).await;
        let region = region.map(|region| ("cloud.region", region.to_owned()));
        assert_eq!(attributes, own.iter().cloned().chain(region).collect::<Vec<_>>());
        assert_eq!(requests.len(), asked);
        assert!(requests[0].starts_with("get /computemetadata/v1/instance/region "), "{requests:?}");
    }
}
