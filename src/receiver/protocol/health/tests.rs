use tonic::codegen::tokio_stream::StreamExt;
use tonic_health::pb::health_server::Health as _;

use super::*;

fn request(service: &str) -> Request<HealthCheckRequest> {
    Request::new(HealthCheckRequest { service: service.to_owned() })
}

#[tokio::test]
async fn check_follows_health() {
    let health = Arc::new(Health::default());
    let service = HealthService::new(Arc::clone(&health));
    let check = async |name| service.check(request(name)).await.map(|response| response.into_inner().status());
    for name in SERVICES {
        assert_eq!(check(name).await.unwrap(), ServingStatus::NotServing, "{name:?} while starting");
    }
    health.set_ready();
    for name in SERVICES {
        assert_eq!(check(name).await.unwrap(), ServingStatus::Serving, "{name:?}");
    }
    assert_eq!(check("other").await.unwrap_err().code(), tonic::Code::NotFound);
    health.set_stopping();
    assert_eq!(check("").await.unwrap(), ServingStatus::NotServing);
}

#[tokio::test(start_paused = true)]
async fn a_watch_reports_every_change_and_ends_with_the_process() {
    let health = Arc::new(Health::default());
    let service = HealthService::new(Arc::clone(&health));
    let mut known = service.watch(request("")).await.unwrap().into_inner();
    let mut unknown = service.watch(request("other")).await.unwrap().into_inner();
    let status = |item: Option<Result<HealthCheckResponse, Status>>| item.map(|item| item.unwrap().status());
    assert_eq!(status(known.next().await), Some(ServingStatus::NotServing));
    health.set_ready();
    assert_eq!(status(known.next().await), Some(ServingStatus::Serving));
    assert_eq!(status(unknown.next().await), Some(ServingStatus::ServiceUnknown));
    let quiet = tokio::time::timeout(Duration::from_secs(60), known.next()).await;
    assert!(quiet.is_err(), "nothing changed");
    health.set_stopping();
    assert_eq!(status(known.next().await), Some(ServingStatus::NotServing));
    assert_eq!(status(known.next().await), None);
    assert_eq!(status(unknown.next().await), None);
}

#[tokio::test(start_paused = true)]
async fn watches_are_bounded() {
    let service = HealthService::new(Arc::default());
    let mut watches = Vec::new();
    for _ in 0..WATCHES_MAX {
        watches.push(service.watch(request("")).await.unwrap());
    }
    assert_eq!(service.watch(request("")).await.unwrap_err().code(), tonic::Code::ResourceExhausted);
    assert!(service.check(request("")).await.is_ok(), "a check does not count as a watch");
    watches.pop();
    assert!(service.watch(request("")).await.is_ok());
}
