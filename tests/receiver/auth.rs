//! Tests of every denial in all protocols and encodings, before the body is read, and of paths that need no token.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode, Version};
use prost::Message;
use serde_json::{Value, json};
use spansieve::proto::google::rpc::Status;
use spansieve::receiver::Auth;
use spansieve::receiver::settings;
use spansieve::trust::token::Tokens;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic::Code;

use super::support::{BUDGET, Daemon, JSON, frame, proto, request, retry_delay};

use spansieve_test_support::id_tokens;

use id_tokens::{ACCOUNT, AUDIENCE, Signer, unsigned};

const TOKENS: [&str; 2] = ["old-token-0123456789", "new-token-0123456789"];

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Starts a server that answers every request with `body`; returns its URL.
async fn certs(status: &'static str, body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/certs", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
    });
    url
}

/// Starts a receiver that accepts [`TOKENS`], and ID tokens signed with the keys at `certs_url`.
async fn guarded(certs_url: String) -> Daemon {
    let mut tokens = Tokens::default();
    TOKENS.iter().for_each(|token| tokens.add(token.as_bytes()).unwrap());
    let google = settings::GoogleIdTokens {
        audiences: vec![AUDIENCE.to_owned()],
        service_accounts: vec![ACCOUNT.to_owned()],
        certs_url,
    };
    let bearer = settings::Bearer { tokens, tokens_file: None };
    let auth = Auth::load(&settings::AuthSettings { bearer: Some(bearer), google: Some(google) }).await.unwrap();
    Daemon::serve(Daemon::bind().await.guarded_by(Some(auth)), BUDGET)
}

/// Sends a request in each protocol and encoding; returns status, code, challenge, and true if there is a retry delay.
async fn told(daemon: &Daemon, authorization: Option<&str>) -> Vec<(StatusCode, Code, Option<String>, bool)> {
    let authorization = authorization.map(|value| ("authorization", value));
    let mut answers = Vec::new();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for content_type in ["application/x-protobuf", "application/json"] {
            let headers: Vec<_> = [("content-type", content_type)].into_iter().chain(authorization).collect();
            let is_json = content_type == "application/json";
            let body = if is_json { JSON.as_bytes().to_vec() } else { proto(1, 0) };
            let answer = daemon.send(version, request(Method::POST, "/v1/traces", &headers, body)).await;
            assert_eq!(answer.headers()["content-type"], content_type);
            let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
            let retry_after = answer.headers().contains_key("retry-after");
            let code = match (answer.status(), is_json) {
                (StatusCode::OK, _) => 0,
                (_, true) => serde_json::from_slice::<Value>(answer.body()).unwrap()["code"].as_i64().unwrap() as i32,
                (_, false) => {
                    let status = Status::decode(answer.body().clone()).unwrap();
                    assert_eq!(retry_delay(&status).is_some(), retry_after);
                    status.code
                }
            };
            answers.push((answer.status(), Code::from_i32(code), challenge, retry_after));
        }
    }
    let headers: Vec<_> = authorization.into_iter().collect();
    let answer = daemon.export(&headers, frame(0, &proto(1, 0))).await;
    let (status, _, challenge, _) = answers[0].clone();
    answers.push((status, Code::from_i32(answer.code), challenge, answer.retry_after.is_some()));
    answers
}

/// Returns the cases of denial: the `Authorization` header, the reason in the metric, and the status.
fn denials() -> Vec<(Option<String>, &'static str, StatusCode)> {
    let (signer, other) = (Signer::new("one", false), Signer::new("one", true));
    let id_token = |change: Value| Some(format!("Bearer {}", signer.token(now_s(), &change)));
    let good = id_tokens::claims(now_s(), &json!({}));
    let none = json!({"alg": "none", "kid": "one"});
    let refused = StatusCode::UNAUTHORIZED;
    vec![
        (None, "no_token", refused),
        (Some("Basic dXNlcjpwYXNz".to_owned()), "no_token", refused),
        (Some(format!("Bearer {}x", TOKENS[0])), "unknown_token", refused),
        (Some(format!("Bearer {}", &TOKENS[0][..19])), "unknown_token", refused),
        (Some("Bearer a.b.c".to_owned()), "malformed", refused),
        (Some(format!("Bearer {}.", unsigned(&none, &good))), "algorithm", refused),
        (Some(format!("Bearer {}", Signer::new("two", false).token(now_s(), &json!({})))), "unknown_key", refused),
        (Some(format!("Bearer {}", other.token(now_s(), &json!({})))), "signature", refused),
        (id_token(json!({"iss": "https://evil.example"})), "issuer", refused),
        (id_token(json!({"aud": "https://other.example"})), "audience", refused),
        (id_token(json!({"exp": now_s() - 60, "iat": now_s() - 3660})), "expired", refused),
        (id_token(json!({"iat": now_s() + 600})), "future", refused),
        (id_token(json!({"email": "else@shop.iam.gserviceaccount.com"})), "account", StatusCode::FORBIDDEN),
    ]
}

#[tokio::test]
async fn a_sender_without_permission_is_denied_before_its_body_is_read() {
    let keys = json!({"keys": [Signer::new("one", false).jwk()]}).to_string();
    let daemon = guarded(certs("200 OK", keys).await).await;
    for (authorization, reason, expected) in denials() {
        let name = format!("spansieve_denied_requests_total{{reason=\"{reason}\"}}");
        let before = daemon.metric(&name);
        for (status, code, challenge, retry_after) in told(&daemon, authorization.as_deref()).await {
            let is_known = expected == StatusCode::FORBIDDEN;
            let expected_code = if is_known { Code::PermissionDenied } else { Code::Unauthenticated };
            assert_eq!((status, code, retry_after), (expected, expected_code, false), "{reason}");
            let challenge = challenge.unwrap();
            let error = ["invalid_token", "insufficient_scope"].iter().find(|error| challenge.contains(**error));
            let expected_error = match reason {
                "no_token" => None,
                "account" => Some(&"insufficient_scope"),
                _ => Some(&"invalid_token"),
            };
            assert!(challenge.starts_with("Bearer realm=") && error == expected_error, "{reason}: {challenge}");
        }
        assert_eq!(daemon.metric(&name) - before, 5, "{reason}");
    }
    assert_eq!(*daemon.table.peak_bytes.lock(), 0, "no memory was admitted");
    assert_eq!(daemon.table.bodies.lock().len(), 0);
    assert_eq!(daemon.metric("spansieve_requests_total{protocol=\"grpc\",outcome=\"denied\"}"), 13);
}

#[tokio::test]
async fn a_sender_with_a_valid_token_is_accepted() {
    let signer = Signer::new("one", false);
    let daemon = guarded(certs("200 OK", json!({"keys": [signer.jwk()]}).to_string()).await).await;
    let good = [TOKENS[0].to_owned(), TOKENS[1].to_owned(), signer.token(now_s(), &json!({}))];
    for token in good {
        for (status, code, challenge, _) in told(&daemon, Some(&format!("Bearer {token}"))).await {
            assert_eq!((status, code, challenge), (StatusCode::OK, Code::Ok, None));
        }
    }
    assert_eq!(daemon.table.bodies.lock().len(), 15);
}

#[tokio::test]
async fn without_keys_id_tokens_are_refused_with_a_retry() {
    let daemon = guarded(certs("503 Service Unavailable", String::new()).await).await;
    let token = format!("Bearer {}", Signer::new("one", false).token(now_s(), &json!({})));
    for answer in told(&daemon, Some(&token)).await {
        assert_eq!(answer, (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, None, true));
    }
    assert_eq!(daemon.table.bodies.lock().len(), 0);
    // Static tokens need no keys.
    assert_eq!(told(&daemon, Some(&format!("Bearer {}", TOKENS[0]))).await[0].0, StatusCode::OK);
}

#[tokio::test]
async fn a_denied_client_is_not_asked_for_its_body() {
    let daemon = guarded(certs("200 OK", String::new()).await).await;
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n\
                content-length: 1000000\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n";
    let answer = daemon.raw(head.as_bytes(), false).await;
    assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{answer}");
}

#[tokio::test]
async fn probes_and_metrics_need_no_token() {
    let daemon = guarded(certs("200 OK", String::new()).await).await;
    for path in ["/livez", "/readyz", "/metrics", "/"] {
        let answer = daemon.send(Version::HTTP_11, request(Method::GET, path, &[], "")).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    let health = daemon.call("/grpc.health.v1.Health/Check", &[], frame(0, b"")).await;
    assert_eq!(health.code, Code::Ok as i32);
}
