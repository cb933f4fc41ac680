//! Benchmarks that print the cost of a span, in addition to criterion's report.
#![allow(dead_code)] // Each benchmark uses a part.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Throughput};

/// Measures `work`, which processes `spans` spans, and prints nanoseconds a span.
pub(crate) fn per_span<T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    spans: usize,
    mut work: impl FnMut() -> T,
) {
    per_span_of(group, name, spans, || (), |()| work());
}

/// Measures work that consumes its input. `setup` makes the input, and the result of `work` is dropped, both outside
/// the measured time.
pub(crate) fn per_span_of<S, T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    spans: usize,
    mut setup: impl FnMut() -> S,
    mut work: impl FnMut(S) -> T,
) {
    let mut samples: Vec<f64> = Vec::new();
    group.throughput(Throughput::Elements(spans as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let mut sum = Duration::ZERO;
            for _ in 0..iterations {
                let input = black_box(setup());
                let start = Instant::now();
                let output = black_box(work(input));
                sum += start.elapsed();
                drop(output);
            }
            samples.push(sum.as_nanos() as f64 / (iterations as f64 * spans as f64));
            sum
        });
    });
    samples.sort_by(f64::total_cmp);
    // There is no sample if the benchmark was filtered out.
    if let (Some(least), Some(median)) = (samples.first(), samples.get(samples.len() / 2)) {
        println!("{name}: {median:.1} ns a span (least {least:.1}, {} samples)", samples.len());
    }
}
