//! A daemon with little memory, senders that retry as exporters do, and checks of the result.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use spansieve::daemon::Daemon;
use spansieve::proto::google::rpc;
use tonic::Code;

use crate::support::{self, Client, MS, conservation, error, metric, request, span, trace_id};
use spansieve_test_support::sink::{Answer, Sink, Written, free_address};

/// The memory budget, which fills within seconds.
pub const LIMIT_BYTES: usize = 16 << 20;
/// Maximum bytes in use. Beyond the budget, encoded spans may take a sixteenth, requests a thirty-second, and the
/// copies of calls in progress 4 MiB (16 calls of 256 KiB).
const PEAK_BYTES_MAX: usize = LIMIT_BYTES + LIMIT_BYTES / 16 + LIMIT_BYTES / 32 + (4 << 20);
/// Maximum wait of a refused sender before it retries, so that a test does not take minutes.
const PATIENCE_MAX: Duration = Duration::from_millis(100);
const RATIO: f64 = 0.05;

fn config(sink: SocketAddr, more: &str) -> String {
    format!(
        "
otlp: {{listen: [\"127.0.0.1:0\"], max_request_bytes: 4MiB}}
tail_sampling:
  decision_wait: 500ms
  decision_cache: {{sampled_cache_size: 20000, non_sampled_cache_size: 20000}}
  policies:
    - {{name: errors, type: error}}
    - {{name: slow, type: latency, latency: {{threshold_ms: 1000}}}}
    - {{name: rest, type: probabilistic, probabilistic: {{sampling_percentage: {}}}}}
export:
  endpoint: http://{sink}
  project: p
  batch: {{max_spans: 500, max_bytes: 256KiB, max_delay: 50ms}}
{more}
memory: {{limit: {LIMIT_BYTES}}}
",
        100.0 * RATIO,
    )
}

/// The requests that are not yet sent.
pub struct Load(Mutex<Box<dyn Iterator<Item = Vec<Span>> + Send>>);

impl Load {
    pub fn new(requests: impl Iterator<Item = Vec<Span>> + Send + 'static) -> Self {
        Load(Mutex::new(Box::new(requests)))
    }
}

/// The senders' view of the load.
#[derive(Default)]
struct Truth {
    acknowledged_spans: AtomicUsize,
    refusals: AtomicUsize,
    /// The largest measured value of `spansieve_held_bytes`.
    peak_bytes: AtomicUsize,
    /// Acknowledged spans of each trace that must be kept.
    must_keep: Mutex<BTreeMap<u128, usize>>,
    healthy: Mutex<BTreeMap<u128, usize>>,
}

impl Truth {
    fn acknowledged(&self, spans: &[Span]) {
        self.acknowledged_spans.fetch_add(spans.len(), Ordering::Relaxed);
        let (mut must_keep, mut healthy) = (self.must_keep.lock().unwrap(), self.healthy.lock().unwrap());
        for span in spans {
            let id = u128::from_be_bytes(span.trace_id.as_slice().try_into().unwrap());
            let is_slow = span.end_time_unix_nano - span.start_time_unix_nano >= 1_000 * MS;
            if span.status.is_some() || is_slow {
                let before = healthy.remove(&id).unwrap_or(0);
                *must_keep.entry(id).or_default() += before + 1;
            } else if let Some(spans) = must_keep.get_mut(&id) {
                *spans += 1;
            } else {
                *healthy.entry(id).or_default() += 1;
            }
        }
    }
}

/// A daemon under load.
pub struct Trial {
    name: &'static str,
    daemon: Daemon,
    /// The sink's address, even before the sink is started.
    address: SocketAddr,
    sink: Option<Sink>,
    truth: Arc<Truth>,
}

impl Trial {
    /// Starts a daemon with a sink that answers by `script`, and with success after its end.
    pub async fn start(name: &'static str, script: Vec<Answer>) -> Self {
        let mut trial = Self::without_sink(name, free_address().await, "").await;
        trial.start_sink(script);
        trial
    }

    /// Starts a daemon whose sink at `address` is not started yet, with `more` in the section `export`.
    pub async fn without_sink(name: &'static str, address: SocketAddr, more: &str) -> Self {
        let daemon = support::start(&config(address, more)).await;
        Trial { name, daemon, address, sink: None, truth: Arc::default() }
    }

    /// Starts the sink, which answers by `script`, and with success after its end.
    pub fn start_sink(&mut self, script: Vec<Answer>) {
        self.sink = Some(Sink::start_at(self.address, Duration::ZERO, script));
    }

    /// Sends traces that are kept until no trace is accepted, not even after all accepted spans are encoded. Each round
    /// uses a new connection, because the reserve is for connections that hold little of it.
    pub async fn fill(&self) {
        while self.fill_once(&mut Client::new(&self.uri())).await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Sends fewer and fewer traces at a time, each number until it is refused. Returns true if a request was accepted.
    async fn fill_once(&self, client: &mut Client) -> bool {
        let before = self.truth.acknowledged_spans.load(Ordering::Relaxed);
        for count in [500, 50, 5, 1] {
            loop {
                let spans: Vec<Span> = (0..count).map(|_| error(fastrand::u128(1..), &"x".repeat(1_000))).collect();
                match client.export(request("shop", spans.clone())).await {
                    Ok(_) => self.truth.acknowledged(&spans),
                    Err(status) => {
                        retry_delay(&status);
                        break;
                    }
                }
            }
        }
        self.truth.acknowledged_spans.load(Ordering::Relaxed) > before
    }

    /// Adds traces of another sender that must be kept, with their numbers of spans.
    pub fn expect(&self, traces: impl IntoIterator<Item = (u128, usize)>) {
        for (id, spans) in traces {
            self.truth.acknowledged_spans.fetch_add(spans, Ordering::Relaxed);
            self.truth.must_keep.lock().unwrap().insert(id, spans);
        }
    }

    /// Returns the daemon and the sink, for a test that stops them itself.
    pub fn into_parts(self) -> (Daemon, Option<Sink>) {
        (self.daemon, self.sink)
    }

    pub fn uri(&self) -> String {
        support::otlp(&self.daemon)
    }

    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        metric(&self.daemon.scrape()(), name, labels)
    }

    pub fn refusals(&self) -> usize {
        self.truth.refusals.load(Ordering::Relaxed)
    }

    /// Sends `load` with `senders` senders. Each has one request in flight, and repeats it until it is accepted.
    pub async fn send(&self, load: Load, senders: usize) {
        let load = Arc::new(load);
        let (uri, scrape) = (self.uri(), self.daemon.scrape().clone());
        let tasks = (0..senders).map(|_| {
            let (load, truth, scrape) = (Arc::clone(&load), Arc::clone(&self.truth), scrape.clone());
            let mut client = Client::new(&uri);
            tokio::spawn(async move {
                loop {
                    let Some(spans) = load.0.lock().unwrap().next() else { break };
                    while let Err(status) = client.export(request("shop", spans.clone())).await {
                        truth.refusals.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(retry_delay(&status).min(PATIENCE_MAX)).await;
                    }
                    truth.acknowledged(&spans);
                    let held_bytes = metric(&scrape(), "spansieve_held_bytes", &[]) as usize;
                    truth.peak_bytes.fetch_max(held_bytes, Ordering::Relaxed);
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    }

    /// Waits until all spans are settled, and checks all guarantees. Returns the traces in the sink.
    pub async fn check(self) -> Outcome {
        let Trial { name, daemon, sink, truth, .. } = self;
        let scrape = daemon.scrape().clone();
        let held = |states: &[&str]| -> f64 {
            states.iter().map(|state| metric(&scrape(), "spansieve_held_spans", &[state])).sum()
        };
        support::eventually(name, || held(&["pending", "export"]) == 0.0).await;
        let text = scrape();
        let (received, accounted) = conservation(&text);
        let acknowledged = truth.acknowledged_spans.load(Ordering::Relaxed);
        assert_eq!((received, accounted), (acknowledged as f64, received), "{name}");
        assert_eq!(metric(&text, "spansieve_dropped_spans_total", &[]), 0.0, "{name}");
        let peak_bytes = truth.peak_bytes.load(Ordering::Relaxed);
        assert!(peak_bytes <= PEAK_BYTES_MAX, "{name}: {peak_bytes} B of {LIMIT_BYTES}");
        // Memory beyond the budget has been freed, so a request is accepted at once.
        let probe = span(trace_id(false), "probe");
        Client::new(&support::otlp(&daemon)).export(request("shop", vec![probe])).await.unwrap();
        assert!(metric(&text, "spansieve_held_bytes", &[]) <= LIMIT_BYTES as f64, "{name}");
        daemon.stop(Duration::from_secs(8)).await;
        let outcome = Outcome::of(&sink.unwrap().written());
        for (id, spans) in truth.must_keep.lock().unwrap().iter() {
            assert_eq!(outcome.spans_of(*id), *spans, "{name}: {id:032x}");
        }
        outcome.check_adjusted_counts(name, &truth.healthy.lock().unwrap());
        outcome
    }
}

/// Returns the delay in the `RetryInfo` of a refusal. Every refusal must have one.
pub fn retry_delay(status: &tonic::Status) -> Duration {
    assert!(matches!(status.code(), Code::ResourceExhausted | Code::Unavailable), "{status:?}");
    let details = rpc::Status::decode(status.details()).unwrap().details;
    let [info] = &details[..] else { panic!("no RetryInfo: {status:?}") };
    let delay = rpc::RetryInfo::decode(&info.value[..]).unwrap().retry_delay.unwrap();
    delay.try_into().unwrap()
}

/// The traces in the sink.
pub struct Outcome {
    /// Number of spans, and adjusted count of the first span, by trace id.
    traces: BTreeMap<u128, (usize, f64)>,
}

impl Outcome {
    pub fn of(written: &Written) -> Self {
        use spansieve::emulator::stored::ADJUSTED_COUNT_KEY;
        use spansieve::proto::google::devtools::cloudtrace::v2::attribute_value::Value;
        assert!(written.changed.is_empty());
        let mut traces = BTreeMap::new();
        for (name, (span, count)) in &written.spans {
            assert_eq!(*count, 1, "{name} came twice");
            let id = u128::from_str_radix(name.split('/').nth(3).unwrap(), 16).unwrap();
            let attribute = span.attributes.as_ref().unwrap().attribute_map[ADJUSTED_COUNT_KEY].value.as_ref();
            let adjusted_count = match attribute.unwrap() {
                Value::IntValue(count) => *count as f64,
                Value::StringValue(text) => text.value.parse().unwrap(),
                Value::BoolValue(_) => panic!("{name}: no number"),
            };
            traces.entry(id).or_insert((0, adjusted_count)).0 += 1;
        }
        Outcome { traces }
    }

    pub fn spans_of(&self, id: u128) -> usize {
        self.traces.get(&id).map_or(0, |(spans, _)| *spans)
    }

    /// Checks that the adjusted counts of the traces kept by the ratio add up to the number of traces that the ratio
    /// decided, within four standard errors.
    fn check_adjusted_counts(&self, name: &str, healthy: &BTreeMap<u128, usize>) {
        let kept = healthy.keys().filter_map(|id| self.traces.get(id));
        let estimate: f64 = kept.map(|(_, adjusted_count)| adjusted_count).sum();
        let asked = healthy.len() as f64;
        let error = (asked * (1.0 - RATIO) / RATIO).sqrt();
        assert!((estimate - asked).abs() <= 4.0 * error + 1.0 / RATIO, "{name}: {estimate} for {asked}");
    }
}
