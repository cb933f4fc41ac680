//! A simulation of a recording keeps the traces that the daemon has kept.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::Value;
use tempfile::TempDir;

use super::text;
use crate::daemon_api::asking::{client, spansieve};
use crate::support::{self, Client, error, eventually, otlp, request, slow, span};

/// Ratios, evidence that comes before and after the decision, a policy with keys, and one with keys and ratios.
const POLICIES: &str = "
  decision_wait: 1s
  rescue: {window: 20s}
  policies:
    - {name: errors, type: error}
    - {name: slow, type: latency, latency: {threshold_ms: 900}}
    - {name: seen, type: rare, rare: {key: [name], traces_per_minute: 2}}
    - {name: busy, type: adaptive, adaptive: {key: [name], goal_percentage: 20, adjustment_interval: 1h}}
    - name: baseline
      type: and
      and:
        and_sub_policy:
          - {name: service, type: string_attribute, string_attribute: {key: service.name, values: [service-0]}}
          - {name: ratio, type: probabilistic, probabilistic: {sampling_percentage: 30}}
";

const REST: &str = "
otlp: {listen: [\"127.0.0.1:0\"]}
export:
  endpoint: embedded
  embedded: {listen: \"127.0.0.1:0\"}
  batch: {max_delay: 100ms}
memory: {limit: 512MiB}
api: {listen: \"127.0.0.1:0\", recording: {enabled: true}}
";

/// The number of routes. The traces that `rare` keeps are sent first: two of each route, in any order.
const ROUTES: u64 = 12;
/// The number of all traces.
const TRACES: u64 = 200;
/// The time between two traces.
const GAP: Duration = Duration::from_millis(20);

/// Reads an answer to a file.
async fn save(mut response: reqwest::Response, file: std::fs::File) {
    let mut file = file;
    while let Ok(Some(chunk)) = response.chunk().await {
        file.write_all(&chunk).unwrap();
    }
}

/// Returns the spans of a trace, and perhaps some that come two seconds later, when the trace is decided.
fn trace(number: u64, random: &mut fastrand::Rng) -> (Vec<Span>, Vec<Span>) {
    let id = random.u128(1..);
    let is_first = number < 2 * ROUTES;
    let route = format!("GET /{}", if is_first { number / 2 } else { random.u64(..ROUTES) });
    let mut spans: Vec<Span> = (0..random.usize(1..5)).map(|_| span(id, &route)).collect();
    let mut late = Vec::new();
    match number % 20 {
        _ if is_first => {}
        0 => spans.push(error(id, "pay")),
        1 => spans.push(slow(id, &route)),
        2 => late.push(error(id, "late")),
        3 => late.push(span(id, "late")),
        _ => {}
    }
    (spans, late)
}

/// Sends all traces. A second task sends the late spans.
async fn traffic(url: &str, seed: u64) {
    let (mut random, mut sender) = (fastrand::Rng::with_seed(seed), Client::new(url));
    let (mut ticks, mut late_tasks) = (tokio::time::interval(GAP), Vec::new());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for number in 0..TRACES {
        ticks.tick().await;
        if number == 2 * ROUTES {
            // The first traces are decided before the others come, also on a machine that is busy.
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
        let (spans, late) = trace(number, &mut random);
        sender.export(request(&format!("service-{}", random.u8(..3)), spans)).await.unwrap();
        if !late.is_empty() {
            let url = url.to_owned();
            late_tasks.push(tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(2)).await;
                Client::new(&url).export(request("late", late)).await.unwrap();
            }));
        }
    }
    for task in late_tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_keeps_what_the_daemon_has_kept() {
    let config = format!("tail_sampling:{POLICIES}{REST}");
    let daemon = support::start(&config).await;
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("config.yaml"), &config).unwrap();

    // What the path answers is a recording as it is.
    let response = client().get(format!("{}/api/recording", daemon.api_url().unwrap())).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let saving = tokio::spawn(save(response, std::fs::File::create(path("shop.rec")).unwrap()));
    let seed = fastrand::u64(..);
    traffic(&otlp(&daemon), seed).await;
    let (observed, store) = (std::sync::Arc::clone(daemon.observed()), support::store(&daemon));
    eventually("all is decided", || observed.held().pending_traces == 0).await;
    // The daemon writes all that it has kept before it ends, and the recording ends with it.
    daemon.stop(Duration::from_secs(8)).await;
    saving.await.unwrap();
    let line = |trace: String, policy: Option<&str>| format!("{trace} {}", policy.unwrap_or("?"));
    // A late span of a kept trace can have another policy than the rest.
    let kept_lines: BTreeSet<String> =
        store.spans().iter().map(|span| line(span.facts.trace_id.to_string(), span.policy())).collect();
    let kept: BTreeSet<String> = store.spans().iter().map(|span| span.facts.trace_id.to_string()).collect();
    let kept_spans = store.span_count();

    let [file, config, ids] = ["shop.rec", "config.yaml", "ids"].map(path);
    let args = ["simulate", "--config", text(&config), "--kept-ids", text(&ids), "--format", "json", text(&file)];
    let printed = spansieve(&args).await;
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let report: Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!(report["recorded"]["requests_left_out"], 0, "{report:#}");
    let lines = std::fs::read_to_string(&ids).unwrap();
    let simulated: BTreeSet<String> = lines.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    let [missing, more] = [kept.difference(&simulated), simulated.difference(&kept)].map(Iterator::collect::<Vec<_>>);
    assert!(missing.is_empty() && more.is_empty(), "seed {seed}: {missing:?} are missing, {more:?} are too many");
    let other: Vec<&str> = lines.lines().filter(|line| !kept_lines.contains(*line)).collect();
    assert_eq!(other, Vec::<&str>::new(), "seed {seed}: the policies are those of the daemon");
    let side = &report["sides"][0];
    assert_eq!(
        (&side["kept_spans"], &report["recorded"]["traces"]),
        (&kept_spans.into(), &TRACES.into()),
        "seed {seed}"
    );
    let rows = side["policies"].as_array().unwrap();
    let silent: Vec<&Value> = rows.iter().filter(|row| row["kept_traces"] == 0).collect();
    assert!(silent.is_empty() && side["rescued_traces"].as_u64().unwrap() > 0, "every way to keep is used: {side:#}");
    // `explain` reads the same recording.
    let first = kept.first().unwrap().as_str();
    let printed = spansieve(&["explain", "--config", text(&config), "--trace", first, text(&file)]).await;
    assert!(printed.code == Some(0) && printed.stdout.starts_with(&format!("trace {first}: ")), "{printed:?}");
}
