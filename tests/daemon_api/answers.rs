//! The answers of each path, and the clients that get them.

use std::net::SocketAddr;

use serde_json::Value;
use spansieve::api::answers::PoliciesAnswer;

use super::asking::{client, config, document, file, get, start};
use crate::support::{self, CONFIG, Client, error, eventually, metric, otlp, request, span, trace_id};

fn fate_path(trace: u128) -> String {
    format!("/api/decisions/{trace:032x}")
}

#[tokio::test]
async fn a_trace_is_pending_then_kept_or_dropped() {
    let daemon = start().await;
    let mut sender = Client::new(&otlp(&daemon));
    let (wrong, kept, dropped) = (trace_id(false), trace_id(true), trace_id(false));
    let spans = vec![error(wrong, "a"), span(wrong, "b"), span(kept, "c"), span(dropped, "d"), span(dropped, "e")];
    sender.export(request("shop", spans)).await.unwrap();
    let pending = document(&daemon, &fate_path(dropped)).await;
    assert_eq!((&pending["fate"], &pending["spans"]), (&"pending".into(), &2.into()), "{pending}");
    assert!(pending["until"].is_string() && pending["decided_at"].is_null(), "{pending}");
    let early = document(&daemon, &fate_path(wrong)).await;
    assert_eq!(
        [&early["fate"], &early["policy"], &early["trigger"]],
        [&Value::from("kept"), &"errors".into(), &"evidence".into()]
    );
    let observed = std::sync::Arc::clone(daemon.observed());
    eventually("all traces are decided", || observed.held().pending_traces == 0).await;
    let told = document(&daemon, &fate_path(kept)).await;
    assert_eq!([&told["policy"], &told["adjusted_count"]], [&Value::from("baseline"), &20.0.into()]);
    assert_eq!([&told["trigger"], &told["spans"]], [&Value::from("decision_wait"), &1.into()]);
    let told = document(&daemon, &fate_path(dropped)).await;
    assert_eq!([&told["fate"], &told["spans"], &told["policy"]], [&Value::from("dropped"), &2.into(), &Value::Null]);
    assert!(told["until"].is_string() && told["decided_at"].is_string(), "it is rescuable: {told}");
    sender.export(request("shop", vec![span(dropped, "late"), span(kept, "late")])).await.unwrap();
    for trace in [kept, dropped] {
        assert_eq!(document(&daemon, &fate_path(trace)).await["late_spans"], 1);
    }
    sender.export(request("shop", vec![error(dropped, "late")])).await.unwrap();
    let told = document(&daemon, &fate_path(dropped)).await;
    assert_eq!(
        [&told["fate"], &told["trigger"], &told["late_spans"]],
        [&Value::from("kept"), &"rescue".into(), &2.into()]
    );
    let unknown = document(&daemon, &fate_path(7)).await;
    assert_eq!(unknown["fate"], "unknown");
}

#[tokio::test]
async fn bad_requests_say_what_to_ask_instead() {
    let daemon = start().await;
    let url = daemon.api_url().unwrap();
    let long = format!("/api/decisions/{}", "a".repeat(4_000));
    let query = format!("{}?{}", fate_path(1), "x=1&".repeat(1_000));
    let cases = [
        ("/api/decisions/4bf92f35", 400, "32 hexadecimal digits"),
        ("/api/decisions/00000000000000000000000000000000", 400, "zeros"),
        ("/api/decisions/%00%ff", 400, "32 hexadecimal digits"),
        ("/api/decisions/../config", 400, ""),
        (long.as_str(), 400, "32 hexadecimal digits"),
        (query.as_str(), 200, "unknown"),
        ("/api/nothing", 404, "/api/policies"),
        ("/api/", 404, "/api/policies"),
    ];
    for (path, status, text) in cases {
        // reqwest resolves the dots of a path, and so would a browser.
        let status = if path.contains("..") { 404 } else { status };
        let (found, content_type, body) = get(&format!("{url}{path}")).await;
        assert_eq!((found, content_type.as_str()), (status, "application/json"), "{path}: {body}");
        assert!(body.contains(text), "{path}: {body}");
    }
    let foreign = client().get(format!("{url}/api/config")).header("host", "evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), 403, "a web page under a name of its own");
    let posted = client().post(format!("{url}/api/policies")).body("x").send().await.unwrap();
    assert_eq!((posted.status().as_u16(), &posted.headers()["allow"]), (405, &"GET".parse().unwrap()));
    let huge = client().get(format!("{url}/api/policies?{}", "y".repeat(1 << 20))).send().await;
    assert!(huge.is_err() || huge.unwrap().status().is_client_error(), "a head of a megabyte is refused");
    assert_eq!(get(&format!("{url}/api/policies")).await.0, 200, "and the daemon goes on");
}

#[tokio::test]
async fn the_api_is_only_on_its_own_address() {
    let daemon = start().await;
    let (otlp, api) = (otlp(&daemon), daemon.api_url().unwrap().to_owned());
    let (status, _, body) = get(&format!("{otlp}/api/policies")).await;
    assert!(status == 404 && body.contains("api.listen"), "{body}");
    let cases = [("/metrics", 404), ("/v1/traces", 404), ("/livez", 200), ("/readyz", 200), ("/", 200)];
    for (path, status) in cases {
        assert_eq!(get(&format!("{api}{path}")).await.0, status, "{path}");
    }
    assert!(get(&format!("{api}/")).await.2.contains("/api/"));
    let off = support::start(CONFIG).await;
    assert_eq!((off.api_url(), get(&format!("{}/api/policies", support::otlp(&off))).await.0), (None, 404));
}

/// Returns an address of this machine that no process listens on.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn the_api_can_share_the_address_of_the_metrics_or_of_senders() {
    let address = free_address();
    let text = format!("{CONFIG}telemetry: {{listen: \"{address}\"}}\napi: {{listen: \"{address}\"}}\n");
    let daemon = support::start(&text).await;
    assert_eq!(daemon.api_url().unwrap(), format!("http://{address}"));
    for path in ["/metrics", "/api/policies"] {
        assert_eq!(get(&format!("http://{address}{path}")).await.0, 200, "{path}");
    }
    let address = free_address();
    let text = CONFIG.replacen("127.0.0.1:0", &address.to_string(), 1) + &format!("api: {{listen: \"{address}\"}}\n");
    let daemon = support::start(&text).await;
    let mut sender = Client::new(&otlp(&daemon));
    sender.export(request("shop", vec![error(1, "a")])).await.unwrap();
    assert_eq!(document(&daemon, &fate_path(1)).await["fate"], "kept");
}

/// Asks for the counts with a token; returns the status.
async fn status(url: &str, token: Option<&str>) -> u16 {
    let request = client().get(format!("{url}/api/policies"));
    let request = match token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    };
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn clients_need_the_token_of_a_sender_or_one_of_their_own() {
    let (sender, own) = ("sender-token-0123456789", "own-token-0123456789abc");
    let otlp = format!("auth: {{bearer: {{tokens: [{sender}]}}}}");
    let config = config().replacen("otlp: {", &format!("otlp: {{{otlp}, "), 1);
    let daemon = support::start(&config).await;
    let url = daemon.api_url().unwrap();
    for (token, expected) in [(None, 401), (Some("wrong"), 401), (Some(sender), 200)] {
        assert_eq!(status(url, token).await, expected, "{token:?}");
    }
    let tokens = file(&format!("{own}\n"));
    let auth = format!("auth: {{bearer: {{tokens_file: {}}}}}", tokens.path().display());
    let daemon = support::start(&config.replacen("api: {", &format!("api: {{{auth}, "), 1)).await;
    let url = daemon.api_url().unwrap();
    for (token, expected) in [(None, 401), (Some(sender), 401), (Some(own), 200)] {
        assert_eq!(status(url, token).await, expected, "{token:?}");
    }
    let (_, content_type, body) = get(&format!("{url}/api/policies")).await;
    assert_eq!(content_type, "application/json");
    assert!(serde_json::from_str::<Value>(&body).unwrap()["error"].as_str().unwrap().contains("Bearer"), "{body}");
    assert_eq!(get(&format!("{url}/livez")).await.0, 200, "probes need no token");
}

#[tokio::test]
async fn the_counts_of_policies_are_those_of_the_metrics() {
    let daemon = start().await;
    let mut sender = Client::new(&otlp(&daemon));
    let spans = (0..20).map(|n| if n % 4 == 0 { error(trace_id(false), "a") } else { span(trace_id(false), "b") });
    sender.export(request("shop", spans.collect())).await.unwrap();
    let observed = std::sync::Arc::clone(daemon.observed());
    eventually("all traces are decided", || observed.held().pending_traces == 0).await;
    let answer: PoliciesAnswer = serde_json::from_value(document(&daemon, "/api/policies").await).unwrap();
    let metrics = (daemon.scrape())();
    let of = |policy: &str| metric(&metrics, "spansieve_decided_traces_total", &[policy]) as u64;
    let rows: Vec<_> = answer.policies.iter().map(|row| (row.policy.as_str(), row.kept_traces)).collect();
    assert_eq!(rows, [("errors", of("policy=\"errors\"")), ("slow", 0), ("baseline", 0)]);
    assert_eq!((rows[0].1, answer.dropped_without_policy.values().sum::<u64>()), (5, of("policy=\"\"")));
    assert_eq!((answer.spans.received, answer.services.len()), (20, 1));
    assert_eq!((answer.services[0].service.as_str(), answer.services[0].spans), ("shop", 20));
}
