//! The longest steps of a worker, during which a request waits. In virtual time, a burst of spans arrives, becomes due
//! at once, and its memory is freed. Each step is measured in CPU time of the thread, so that other processes do not
//! matter.
#![allow(missing_docs, clippy::expect_used)]

use bytes::Bytes;
use clap::Parser;
use rustix::time::{ClockId, clock_gettime};

mod support;

use support::{pipeline, template, workload};

use pipeline::{Pipeline, THREE_POLICIES, settings};
use template::{Encoding, templates};

/// The same allocator as in the daemon.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const WAIT_MS: u64 = 10_000;

#[derive(Parser)]
struct Arguments {
    /// Number of spans in the burst.
    #[arg(long, default_value_t = 5_000_000)]
    spans: u64,
    /// Passed by cargo, and ignored.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Returns the CPU time of this thread in nanoseconds.
fn cpu_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The CPU times of all steps of one kind.
struct Steps {
    name: &'static str,
    nanos: Vec<u64>,
}

impl Steps {
    fn new(name: &'static str) -> Self {
        Steps { name, nanos: Vec::new() }
    }

    fn time<T>(&mut self, step: impl FnOnce() -> T) -> T {
        let start = cpu_nanos();
        let result = step();
        self.nanos.push(cpu_nanos() - start);
        result
    }

    fn print(mut self) {
        self.nanos.sort_unstable();
        let part = |part: f64| self.nanos[((self.nanos.len() - 1) as f64 * part) as usize] as f64 / 1e6;
        let (median, most, longest) = (part(0.5), part(0.999), part(1.0));
        println!(
            "{:<36} {:>8} steps, median {median:.3} ms, p99.9 {most:.3} ms, longest {longest:.3} ms",
            self.name,
            self.nanos.len()
        );
    }
}

fn main() {
    let arguments = Arguments::parse();
    let templates = templates(&workload::Shape::default(), Encoding::Protobuf);
    let pipeline = Pipeline::new(settings(WAIT_MS, THREE_POLICIES));
    let mut work = pipeline.workspace();

    let mut arrive = Steps::new("a request of 512 spans, growing");
    let (mut spans, mut number) = (0, 0);
    while spans < arguments.spans {
        let template = &templates[number as usize % templates.len()];
        let mut body = Vec::new();
        template.stamp(workload::mix(number / templates.len() as u64), &mut body);
        arrive.time(|| pipeline.accept(Bytes::from(body), 0, &mut work));
        work.forget();
        spans += template.spans as u64;
        number += 1;
    }
    arrive.print();

    let mut decide = Steps::new("a slice of decisions, all due");
    for shard in pipeline.shards() {
        while decide.time(|| pipeline.table.sweep(shard, WAIT_MS, &mut work.outcome)) {
            work.outcome.tally.clear();
            work.forget();
        }
    }
    decide.print();

    let mut shrink = Steps::new("giving back a shard's memory");
    pipeline.shards().for_each(|shard| shrink.time(|| pipeline.table.shrink(shard)));
    shrink.print();
}
