//! `/metrics` on an address of its own: the paths that each address serves.

use http::{Method, Version};
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::support::{BUDGET, Daemon, JSON, frame, proto, request, send};

/// Requests, with their statuses at the OTLP address and at the address of `telemetry.listen`.
const CASES: [(&str, &str, u16, u16); 6] = [
    ("GET", "/metrics", 404, 200),
    ("GET", "/livez", 200, 200),
    ("GET", "/readyz", 200, 200),
    ("GET", "/", 200, 200),
    ("GET", "/nothing", 404, 404),
    ("POST", "/v1/traces", 200, 404),
];

#[tokio::test]
async fn each_address_serves_its_own_paths() {
    let bound = Daemon::bind().await.telemetry_on(Some("127.0.0.1:0")).await.unwrap();
    let telemetry = bound.telemetry_addr().unwrap();
    let daemon = Daemon::serve(bound, BUDGET);
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for (method, path, at_otlp, at_telemetry) in CASES {
            for (address, expected) in [(daemon.address, at_otlp), (telemetry, at_telemetry)] {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let body = if method == Method::POST { JSON } else { "" };
                let request = request(method, path, &[("content-type", "application/json")], body);
                let answer = send(address, version, request).await;
                assert_eq!(answer.status(), expected, "{path} at {address}: {:?}", answer.body());
            }
        }
    }
    assert_eq!(daemon.export(&[], frame(0, &proto(1, 0))).await.code, 0);
    let channel = Endpoint::from_shared(format!("http://{telemetry}")).unwrap().connect().await.unwrap();
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
    let elsewhere = Daemon { address: telemetry, ..daemon };
    let refused = elsewhere.export(&[], frame(0, &proto(1, 0))).await;
    assert_eq!((refused.code, refused.retry_after), (Code::Unimplemented as i32, None));
    assert!(refused.message.contains("otlp.listen"), "{}", refused.message);
}

#[tokio::test]
async fn the_index_page_of_each_address_lists_its_own_paths() {
    let bound = Daemon::bind().await.telemetry_on(Some("127.0.0.1:0")).await.unwrap();
    let telemetry = bound.telemetry_addr().unwrap();
    let daemon = Daemon::serve(bound, BUDGET);
    let about = async |address| {
        let answer = send(address, Version::HTTP_11, request(Method::GET, "/", &[], "")).await;
        String::from_utf8(answer.body().to_vec()).unwrap()
    };
    let (otlp, telemetry) = (about(daemon.address).await, about(telemetry).await);
    assert!(otlp.contains("/v1/traces") && !otlp.contains("/metrics"), "{otlp}");
    assert!(!telemetry.contains("/v1/traces") && telemetry.contains("/metrics"), "{telemetry}");
}

#[tokio::test]
async fn a_taken_address_is_named_in_the_error() {
    let taken = Daemon::bind().await;
    let address = taken.local_addrs()[0].to_string();
    let error = Daemon::bind().await.telemetry_on(Some(&address)).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on {address} (telemetry.listen): ")), "{error}");
}
