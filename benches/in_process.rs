//! Runs the pipeline in this process at an exact number of pending spans, in virtual time. Prints the cost and the
//! memory of a span as one JSON object. `benches/growth.py` runs it for each point of its charts.
#![allow(missing_docs, clippy::expect_used)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;

mod support;

use support::{pipeline, template, workload};

use pipeline::{Pipeline, Workspace};
use template::{Encoding, Template, templates};

/// The same allocator as in the daemon.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Spans in a request. They are few, so that even 1,000 pending spans are whole traces.
const SPANS_PER_REQUEST: usize = 64;
/// The longest decision wait that a configuration may have, in milliseconds.
const WAIT_MS_MAX: u64 = 600_000;
/// Minimum spans held when memory is measured; several tables are filled if one holds fewer. With so many, the ten or
/// so megabytes that making requests leaves free do not matter.
const HELD_SPANS_MIN: u64 = 4_000_000;
/// Requests between two readings of the clock.
const SLICE_REQUESTS: u64 = 64;

#[derive(Parser)]
struct Arguments {
    /// Number of pending spans during the measurement.
    #[arg(long, default_value_t = 1_000_000)]
    pending: u64,
    /// Number of threads that accept requests and decide.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Duration of the measurement, in seconds.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Passed by cargo, and ignored.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A sequence of requests with their times of arrival.
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

    /// Starts again with the first request.
    fn rewind(&self) {
        self.next.store(0, Ordering::Relaxed);
    }

    /// Returns the next request and its virtual time of arrival. `pending_requests` requests arrive in each `wait_ms`.
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

/// The work of a thread, without the time for making requests.
#[derive(Default)]
struct Done {
    spans: u64,
    cpu_ns: u64,
    elapsed: Duration,
}

/// Accepts requests for `span_of_time`, and measures the time that they take.
fn measure(pipeline: &Pipeline, source: &Source, shards: &[usize], span_of_time: Duration) -> Done {
    let mut work = pipeline.workspace();
    let mut done = Done::default();
    let start = Instant::now();
    while start.elapsed() < span_of_time {
        let slice: Vec<_> = (0..SLICE_REQUESTS).map(|_| source.request()).collect();
        let (slice_start, cpu_ns) = (Instant::now(), thread_cpu_ns());
        for request in slice {
            take(pipeline, request, shards, &mut work);
        }
        done.cpu_ns += thread_cpu_ns() - cpu_ns;
        done.elapsed += slice_start.elapsed();
        done.spans += SLICE_REQUESTS * SPANS_PER_REQUEST as u64;
    }
    done
}

/// Returns the CPU time of this thread. Unlike elapsed time, it does not include other threads on the same core.
fn thread_cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("nanoseconds")
}

/// Returns the resident memory of this process in bytes.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of resident memory");
    let kib = line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("kibibytes");
    kib << 10
}

/// Fills `pipeline` until its first traces are due.
fn fill(pipeline: &Pipeline, source: &Source, shards: &[usize]) {
    let mut work = pipeline.workspace();
    for _ in 0..source.pending_requests {
        take(pipeline, source.request(), shards, &mut work);
    }
}

fn main() {
    let arguments = Arguments::parse();
    let source = Source::new(arguments.pending);
    let spans = source.pending_requests * SPANS_PER_REQUEST as u64;
    let sum = |of: fn(&Template) -> usize| source.templates.iter().map(of).sum::<usize>() as f64;
    let wire = sum(Template::len) / sum(|template| template.spans);

    let before = resident_bytes();
    let copies = (HELD_SPANS_MIN / spans).max(1);
    let pipeline = || Pipeline::new(pipeline::settings(source.wait_ms, pipeline::THREE_POLICIES));
    let pipelines: Vec<Pipeline> = (0..copies).map(|_| pipeline()).collect();
    let shards: Vec<usize> = pipelines[0].shards().collect();
    for pipeline in &pipelines {
        source.rewind();
        fill(pipeline, &source, &shards);
    }
    let held_bytes = resident_bytes() - before;

    let span_of_time = Duration::from_secs_f64(arguments.seconds);
    let runs: Vec<Done> = std::thread::scope(|scope| {
        let shares = shards.chunks(shards.len().div_ceil(arguments.threads));
        let measure = |shards| measure(&pipelines[0], &source, shards, span_of_time);
        let threads: Vec<_> = shares.map(|shards| scope.spawn(move || measure(shards))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread that ends")).collect()
    });
    let result = serde_json::json!({
        "pending": spans,
        "threads": arguments.threads,
        "cpu_us": runs.iter().map(|run| run.cpu_ns).sum::<u64>() as f64 / 1e3 / runs.iter().map(|run| run.spans).sum::<u64>() as f64,
        "spans_per_s": runs.iter().map(|run| run.spans as f64 / run.elapsed.as_secs_f64()).sum::<f64>(),
        "beyond_wire": held_bytes as f64 / (spans * copies) as f64 - wire,
    });
    println!("{result}");
}
