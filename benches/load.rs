//! The load generator of `benches/*.py`: OTLP over gRPC or HTTP, as protobuf or JSON, plain or compressed, flat out or at
//! a rate, from any number of services, with traces of any length. Prints one JSON object.
//!
//! Each connection has a thread, which waits for each answer. Requests are encoded before the clock starts. When they
//! are sent, they get new ids, and are compressed if need be.
#![allow(missing_docs, clippy::expect_used)]
// The thread of a connection may sleep.
#![allow(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use clap::Parser;
use tokio::runtime::{Builder, Runtime};

mod support;

use support::{client, template, workload};

use client::{Answer, Client};
use template::{Encoding, Template, templates};

#[derive(Parser)]
struct Arguments {
    /// The address for OTLP/HTTP; several with commas, which the connections take in turns.
    #[arg(long, default_value = "127.0.0.1:4318", value_delimiter = ',')]
    endpoint: Vec<String>,
    /// The address for OTLP/gRPC.
    #[arg(long, default_value = "127.0.0.1:4317")]
    grpc_endpoint: String,
    #[arg(long, value_enum, default_value = "http")]
    proto: Proto,
    #[arg(long, conflicts_with = "proto")]
    json: bool,
    /// Compress all requests with gzip.
    #[arg(long)]
    gzip: bool,
    /// Requests to make before the clock starts, so that compression takes no time from the load. Further ones are made
    /// while they are sent.
    #[arg(long, default_value_t = 0)]
    prepared: u64,
    /// A file for the traces that must be kept: of each that has an error or is slow, and of which the span that shows
    /// it was acknowledged, a line with its id, `error` or `slow`, and the number of its acknowledged spans.
    #[arg(long)]
    expect: Option<PathBuf>,
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Spans a second; 0: as fast as possible.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// Duration of the load, in seconds.
    #[arg(long, default_value_t = 10.0)]
    duration: f64,
    /// Maximum spans to send; 0: no limit.
    #[arg(long, default_value_t = 0)]
    max_spans: u64,
    #[arg(long, default_value_t = 6)]
    services: usize,
    #[arg(long, default_value_t = 6)]
    spans_per_trace: usize,
    /// Spans in a request.
    #[arg(long, default_value_t = workload::SPAN_COUNT)]
    batch: usize,
    /// Minimum spans in one pass; each further pass has new ids.
    #[arg(long, default_value_t = 60_000)]
    pass_spans: usize,
    /// Passed by cargo, and ignored.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    /// Returns the shape of a pass in which each service fills at least one request.
    fn shape(&self, start_unix_nano: u64) -> workload::Shape {
        let spans = self.pass_spans.max(self.services * self.batch);
        workload::Shape {
            services: self.services,
            traces: spans.div_ceil(self.spans_per_trace),
            spans_per_trace: self.spans_per_trace,
            spans_per_request: self.batch,
            start_unix_nano,
        }
    }
}

/// The protocols of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Proto {
    Http,
    Grpc,
    /// Of four connections, two speak HTTP, one gRPC, and one gRPC with gzip.
    Mixed,
}

/// The results of the requests, in spans, traces and microseconds.
#[derive(Default)]
struct Counts {
    sent: u64,
    acked: u64,
    refused: u64,
    lost: u64,
    error_traces: u64,
    slow_traces: u64,
    latencies_us: Vec<u64>,
    acked_in_second: Vec<u64>,
    /// The numbers of the acknowledged requests.
    acked_requests: Vec<u64>,
}

struct Load {
    arguments: Arguments,
    templates: Vec<Template>,
    runtimes: Vec<Arc<Runtime>>,
    /// The bodies of the first requests.
    prepared: Vec<Bytes>,
    /// The time at which all connections were open.
    start: OnceLock<Instant>,
    seed: u64,
    next: AtomicU64,
    counts: Mutex<Counts>,
}

impl Load {
    fn start(&self) -> Instant {
        *self.start.get_or_init(Instant::now)
    }

    /// Returns the next request's number and the time to send it; `None` when the load is over. Every request counts as
    /// full.
    fn ticket(&self) -> Option<(u64, Instant)> {
        let arguments = &self.arguments;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let spans_before = number * arguments.batch as u64;
        let now = Instant::now();
        let at = if arguments.rate > 0.0 {
            self.start() + Duration::from_secs_f64(spans_before as f64 / arguments.rate)
        } else {
            now
        };
        let over = at.max(now).duration_since(self.start()).as_secs_f64() >= arguments.duration
            || (arguments.max_spans > 0 && spans_before >= arguments.max_spans);
        (!over).then_some((number, at))
    }

    /// Returns the client of a connection. It is not connected yet.
    fn client(&self, connection: usize) -> Client {
        let Arguments { proto, json, gzip, endpoint, grpc_endpoint, .. } = &self.arguments;
        let is_mixed = *proto == Proto::Mixed;
        let is_gzip = *gzip || (is_mixed && connection.is_multiple_of(4));
        if *proto == Proto::Grpc || (is_mixed && connection % 4 < 2) {
            Client::grpc(grpc_endpoint, is_gzip, Arc::clone(&self.runtimes[connection % self.runtimes.len()]))
        } else {
            let content_type = if *json { "application/json" } else { "application/x-protobuf" };
            Client::http(&endpoint[connection % endpoint.len()], content_type, is_gzip)
        }
    }

    /// Returns the template of a request, and the key that makes its ids differ from those of other passes.
    fn template(&self, number: u64) -> (&Template, u64) {
        let count = self.templates.len() as u64;
        (&self.templates[(number % count) as usize], workload::mix(self.seed.wrapping_add(number / count)))
    }

    /// Returns the body of a request. `message` is room for it.
    fn body(&self, number: u64, client: &Client, message: &mut Vec<u8>) -> Bytes {
        if let Some(body) = self.prepared.get(number as usize) {
            return body.clone();
        }
        let (template, key) = self.template(number);
        template.stamp(key, message);
        client.prepare(message)
    }

    /// Makes the bodies of the first requests. All connections must speak the same protocol.
    fn prepare(&mut self) {
        let client = self.client(0);
        let mut message = Vec::new();
        self.prepared = (0..self.arguments.prepared).map(|number| self.body(number, &client, &mut message)).collect();
    }

    /// Sends requests over one connection. It starts when `all` connections are open, so that no latency includes their
    /// start.
    fn run_connection(&self, mut client: Client, all: &Barrier) {
        // A failure shows again at the first request.
        let _ = client.connect();
        let mut message = Vec::with_capacity(self.templates.iter().map(Template::len).max().unwrap_or(0));
        all.wait();
        while let Some((number, at)) = self.ticket() {
            let body = self.body(number, &client, &mut message);
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            let answer = client.send(body);
            self.count(number, at, &answer);
        }
    }

    fn count(&self, number: u64, at: Instant, answer: &io::Result<Answer>) {
        let (template, _) = self.template(number);
        let spans = template.spans as u64;
        let mut counts = self.counts.lock().expect("no panic of another thread");
        counts.sent += spans;
        match answer {
            Ok(Answer::Taken) => {
                counts.acked += spans;
                counts.error_traces += template.errors as u64;
                counts.slow_traces += template.slow as u64;
                counts.latencies_us.push(at.elapsed().as_micros() as u64);
                let second = self.start().elapsed().as_secs() as usize;
                if counts.acked_in_second.len() <= second {
                    counts.acked_in_second.resize(second + 1, 0);
                }
                counts.acked_in_second[second] += spans;
                if self.arguments.expect.is_some() {
                    counts.acked_requests.push(number);
                }
            }
            Ok(Answer::Refused) => counts.refused += spans,
            Err(_) => counts.lost += spans,
        }
    }

    /// Writes the traces that must be kept to `path`, see [`Arguments::expect`].
    fn write_expected(&self, acked_requests: &[u64], path: &Path) -> io::Result<()> {
        let mut traces: HashMap<[u64; 2], (u64, bool, bool)> = HashMap::new();
        for &number in acked_requests {
            let (template, key) = self.template(number);
            for evidence in &template.evidence {
                let (spans, is_error, is_slow) = traces.entry(evidence.trace.map(|word| word ^ key)).or_default();
                *spans += 1;
                *is_error |= evidence.is_error;
                *is_slow |= evidence.is_slow;
            }
        }
        let mut file = io::BufWriter::new(fs::File::create(path)?);
        for ([high, low], (spans, is_error, is_slow)) in traces {
            if is_error || is_slow {
                let kind = if is_error { "error" } else { "slow" };
                writeln!(file, "{high:016x}{low:016x} {kind} {spans}")?;
            }
        }
        file.flush()
    }
}

/// Maximum runtimes of gRPC clients. Each has files of its own, so more connections share them.
const RUNTIMES_MAX: usize = 1_000;

/// Returns the runtimes of the connections, none of which has a thread of its own.
fn runtimes(arguments: &Arguments) -> Vec<Arc<Runtime>> {
    let count = if arguments.proto == Proto::Http { 0 } else { arguments.connections.min(RUNTIMES_MAX) };
    let runtime = || Builder::new_current_thread().enable_all().build().expect("files for a runtime");
    (0..count).map(|_| Arc::new(runtime())).collect()
}

/// Initial capacity for latencies.
const LATENCIES: usize = 1 << 20;

/// Returns the CPU seconds of all threads of this process: fields 14 and 15 of /proc/PID/stat, in hundredths (proc(5)).
fn cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn main() {
    let arguments = Arguments::parse();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_nanos() as u64;
    let encoding = if arguments.json { Encoding::Json } else { Encoding::Protobuf };
    let templates = templates(&arguments.shape(now), encoding);
    let connections = arguments.connections;
    let bytes_per_span = templates.iter().map(Template::len).sum::<usize>() as f64
        / templates.iter().map(|template| template.spans).sum::<usize>() as f64;
    let mut load = Load {
        runtimes: runtimes(&arguments),
        arguments,
        templates,
        prepared: Vec::new(),
        start: OnceLock::new(),
        seed: now >> 10,
        next: AtomicU64::new(0),
        // The capacity avoids growth, in which the allocator would free memory of the templates and delay a request.
        counts: Mutex::new(Counts { latencies_us: Vec::with_capacity(LATENCIES), ..Counts::default() }),
    };
    load.prepare();
    let all = Barrier::new(connections);
    std::thread::scope(|scope| {
        for number in 0..connections {
            let (load, all) = (&load, &all);
            scope.spawn(move || load.run_connection(load.client(number), all));
        }
    });
    let wall_s = load.start().elapsed().as_secs_f64();
    let mut counts = std::mem::take(&mut *load.counts.lock().expect("no panic of another thread"));
    if let Some(path) = &load.arguments.expect {
        load.write_expected(&counts.acked_requests, path).expect("a file that can be written");
    }
    counts.latencies_us.sort_unstable();
    let quantile_ms = |part: f64| {
        let last = counts.latencies_us.len().saturating_sub(1);
        let at = (last as f64 * part) as usize;
        counts.latencies_us.get(at).map_or(0.0, |&micros| micros as f64 / 1e3)
    };
    let result = serde_json::json!({
        "wall_s": wall_s,
        "sent": counts.sent,
        "acked": counts.acked,
        "refused": counts.refused,
        "lost": counts.lost,
        "acked_per_s": counts.acked as f64 / wall_s,
        "bytes_per_span": bytes_per_span,
        "error_traces": counts.error_traces,
        "slow_traces": counts.slow_traces,
        "ack_p50_ms": quantile_ms(0.5),
        "ack_p99_ms": quantile_ms(0.99),
        "ack_max_ms": quantile_ms(1.0),
        "loadgen_cpu_s": cpu_seconds(),
        "per_sec": counts.acked_in_second,
    });
    println!("{result}");
}
