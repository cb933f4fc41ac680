use tonic::codegen::tokio_stream::StreamExt;
use tonic_health::pb::health_server::Health as _;

use super::*;

fn request(service: &str) -> Request<HealthCheckRequest> {
    request_of(&Arc::new(Connection::new()), service)
}

fn request_of(connection: &Arc<Connection>, service: &str) -> Request<HealthCheckRequest> {
    let mut request = Request::new(HealthCheckRequest { service: service.to_owned() });
    request.extensions_mut().insert(Arc::clone(connection));
    request
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
    let connection = Arc::new(Connection::new());
    let mut watches = Vec::new();
    let refused = loop {
        match service.watch(request_of(&connection, "")).await {
            Ok(watch) => watches.push(watch),
            Err(status) => break status,
        }
    };
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    assert_eq!(watches.len(), WATCHES_MAX.div_ceil(3), "a part of the places");
    assert!(service.check(request_of(&connection, "")).await.is_ok(), "a check does not count as a watch");
    assert!(service.watch(request("")).await.is_ok(), "another connection finds a place");
    watches.pop();
    assert!(service.watch(request_of(&connection, "")).await.is_ok());
}
