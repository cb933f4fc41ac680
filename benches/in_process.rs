//! Drives the pipeline in process at an exact number of pending spans, in virtual time, and prints what a span costs and
//! holds: one JSON object. `benches/growth.py` runs it for each point of its charts.
#![allow(missing_docs, clippy::expect_used)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;

#[path = "support/pipeline.rs"]
mod pipeline;
#[path = "support/template.rs"]
mod template;
#[path = "support/workload.rs"]
mod workload;

use pipeline::{Pipeline, Workspace};
use template::{Encoding, Template, templates};

/// Memory as the daemon has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Spans in a request: few, so that 1,000 pending ones are whole traces.
const SPANS_PER_REQUEST: usize = 64;
/// The longest that a configuration may have a trace wait.
const WAIT_MS_MAX: u64 = 600_000;
/// Requests from one reading of the clock to the next.
const SLICE_REQUESTS: u64 = 64;

#[derive(Parser)]
struct Arguments {
    /// Spans that are pending while the measured ones come.
    #[arg(long, default_value_t = 1_000_000)]
    pending: u64,
    /// Threads that take in requests and decide.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// For how long to measure.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Cargo's own.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Requests that come one after another, and when.
struct Source {
    templates: Vec<Template>,
    next: AtomicU64,
    pending_requests: u64,
    wait_ms: u64,
}

impl Source {
    fn new(pending: u64) -> Self {
        let shape = workload::Shape { spans_per_request: SPANS_PER_REQUEST, ..Default::default() };
        let pending_requests = pending.div_ceil(SPANS_PER_REQUEST as u64).max(1);
        let wait_ms = pending_requests.min(WAIT_MS_MAX);
        Source { templates: templates(&shape, Encoding::Protobuf), next: AtomicU64::new(0), pending_requests, wait_ms }
    }

    /// The next request and the virtual time of its arrival: `wait_ms` after it, `pending_requests` more have come.
    fn request(&self) -> (Vec<u8>, u64) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.templates.len() as u64;
        let mut body = Vec::new();
        self.templates[(number % count) as usize].stamp(workload::mix(number / count), &mut body);
        (body, number * self.wait_ms / self.pending_requests)
    }
}

fn take(pipeline: &Pipeline, (body, now_ms): (Vec<u8>, u64), shards: &[usize], work: &mut Workspace) {
    pipeline.accept(Bytes::from(body), now_ms, work);
    pipeline.decide(shards.iter().copied(), now_ms, work);
    work.export();
}

/// Takes in requests for as long as `span_of_time`; returns how many, and the time that they took without their making.
fn measure(pipeline: &Pipeline, source: &Source, shards: &[usize], span_of_time: Duration) -> (u64, Duration) {
    let mut work = pipeline.workspace();
    let (mut requests, mut busy) = (0, Duration::ZERO);
    let start = Instant::now();
    while start.elapsed() < span_of_time {
        let slice: Vec<_> = (0..SLICE_REQUESTS).map(|_| source.request()).collect();
        let slice_start = Instant::now();
        for request in slice {
            take(pipeline, request, shards, &mut work);
        }
        busy += slice_start.elapsed();
        requests += SLICE_REQUESTS;
    }
    (requests, busy)
}

/// Resident memory of this process in bytes.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of resident memory");
    let kib = line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("kibibytes");
    kib << 10
}

fn main() {
    let arguments = Arguments::parse();
    let source = Source::new(arguments.pending);
    let pipeline = Pipeline::new(pipeline::settings(source.wait_ms, pipeline::THREE_POLICIES));
    let all: Vec<usize> = pipeline.shards().collect();
    let mut work = pipeline.workspace();
    let empty = resident_bytes();
    for _ in 0..source.pending_requests {
        take(&pipeline, source.request(), &all, &mut work);
    }
    let held = resident_bytes() - empty;
    let spans = source.pending_requests * SPANS_PER_REQUEST as u64;
    let wire = source.templates.iter().map(Template::len).sum::<usize>() as f64
        / source.templates.iter().map(|template| template.spans).sum::<usize>() as f64;

    let span_of_time = Duration::from_secs_f64(arguments.seconds);
    let shares = all.chunks(all.len().div_ceil(arguments.threads));
    let runs: Vec<(u64, Duration)> = std::thread::scope(|scope| {
        let threads = shares.map(|shards| scope.spawn(|| measure(&pipeline, &source, shards, span_of_time)));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread that ends")).collect()
    });
    let per_thread =
        runs.iter().map(|&(requests, busy)| requests as f64 * SPANS_PER_REQUEST as f64 / busy.as_secs_f64());
    let spans_per_s: f64 = per_thread.sum();
    println!(
        r#"{{"pending":{spans},"threads":{},"ns_per_span":{:.1},"spans_per_s":{spans_per_s:.0},"bytes_per_span":{:.1},"wire_bytes_per_span":{wire:.1}}}"#,
        arguments.threads,
        arguments.threads as f64 * 1e9 / spans_per_s,
        held as f64 / spans as f64,
    );
}
