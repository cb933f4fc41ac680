//! The work of a span with and without metrics of all spans: a fixed number of requests through scan, table, verdict and
//! encoder, in virtual time. Count its instructions, which depend on the machine's load hardly at all:
//!
//! ```text
//! cargo bench --bench span_metrics --no-run
//! for mode in off entry all; do perf stat -e instructions:u target/release/deps/span_metrics-* --mode $mode; done
//! ```
#![allow(missing_docs, clippy::expect_used)]

use bytes::Bytes;
use clap::{Parser, ValueEnum};

mod support;

use support::{pipeline, template, workload};

use pipeline::Pipeline;
use template::{Encoding, templates};

/// The same allocator as in the daemon.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Off,
    Entry,
    All,
}

#[derive(Parser)]
struct Arguments {
    #[arg(long, value_enum, default_value = "off")]
    mode: Mode,
    /// Number of requests.
    #[arg(long, default_value_t = 4_000)]
    requests: u64,
    /// Spans in a request: 21 is what a batch of a service on Cloud Run has.
    #[arg(long, default_value_t = 64)]
    spans_per_request: usize,
    /// Passed by cargo, and ignored.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Milliseconds of virtual time in which the requests of a second's wait come.
const WAIT_MS: u64 = 1_000;
const REQUESTS_PER_MS: u64 = 2;

fn main() {
    let arguments = Arguments::parse();
    let section = match arguments.mode {
        Mode::Off => "",
        Mode::Entry => "span_metrics: {}\n",
        Mode::All => "span_metrics: {spans: all}\n",
    };
    let shape = workload::Shape { spans_per_request: arguments.spans_per_request, ..Default::default() };
    let templates = templates(&shape, Encoding::Protobuf);
    let pipeline = Pipeline::new(pipeline::settings_with(WAIT_MS, pipeline::THREE_POLICIES, section));
    let mut work = pipeline.workspace();
    let mut spans = 0;
    for number in 0..arguments.requests {
        let (template, round) = (number % templates.len() as u64, number / templates.len() as u64);
        let mut body = Vec::new();
        templates[template as usize].stamp(workload::mix(round), &mut body);
        spans += templates[template as usize].spans;
        let now_ms = number / REQUESTS_PER_MS;
        pipeline.accept(Bytes::from(body), now_ms, &mut work);
        if number % REQUESTS_PER_MS == 0 {
            pipeline.decide(pipeline.shards(), now_ms, &mut work);
            work.export();
        }
    }
    let totals = pipeline.span_metrics.as_ref().map(spansieve::span_metrics::SpanMetrics::totals).unwrap_or_default();
    println!("{spans} spans, {} counted in {} series of {} bytes", totals.calls, totals.series, totals.bytes);
}
