//! The metrics of the process under the names that Prometheus's own clients use, from `/proc` (`man 5 proc`).

use std::fmt::Write;
use std::fs;

use super::metrics::MetricKind;
use crate::span_metrics::Format;

/// Clock ticks in a second (`USER_HZ`): 100 on every architecture that Linux runs on today.
const TICKS_PER_SECOND: f64 = 100.0;

/// A metric of the process.
#[derive(Clone, Copy, Debug)]
pub struct ProcessMetric {
    /// The full name.
    pub name: &'static str,
    /// The type.
    pub kind: MetricKind,
    /// The help text.
    pub help: &'static str,
}

/// All metrics of the process. On a system without `/proc` there are none.
pub const PROCESS: [ProcessMetric; 5] = [
    ProcessMetric {
        name: "process_cpu_seconds_total",
        kind: MetricKind::Counter,
        help: "Processor time of the process, user and system.",
    },
    ProcessMetric {
        name: "process_resident_memory_bytes",
        kind: MetricKind::Gauge,
        help: "Resident memory of the process.",
    },
    ProcessMetric { name: "process_open_fds", kind: MetricKind::Gauge, help: "Files and sockets that are open." },
    ProcessMetric {
        name: "process_max_fds",
        kind: MetricKind::Gauge,
        help: "The most files and sockets that may be open.",
    },
    ProcessMetric {
        name: "process_start_time_seconds",
        kind: MetricKind::Gauge,
        help: "The start of the process, in seconds since 1970.",
    },
];

/// Appends the metrics of the process to `out`.
pub(super) fn render(format: Format, out: &mut String) {
    let values = [cpu_seconds(), resident_bytes(), open_files(), files_max(), start_seconds()];
    for (metric, value) in PROCESS.iter().zip(values) {
        let Some(value) = value else { continue };
        let is_open_metrics_counter = format == Format::OpenMetrics && metric.kind == MetricKind::Counter;
        let family = metric.name.strip_suffix("_total").filter(|_| is_open_metrics_counter).unwrap_or(metric.name);
        let ProcessMetric { name, kind, help } = metric;
        // Writing to a string does not fail.
        let _ = write!(out, "# HELP {family} {help}\n# TYPE {family} {}\n{name} {value}\n", kind.label());
    }
}

/// Returns the fields of `/proc/self/stat` after the name of the program, which may have spaces. The first is field 3.
fn stat() -> Option<Vec<String>> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_ascii_whitespace().map(str::to_owned).collect())
}

/// Returns field `number` of `/proc/self/stat`, in seconds.
fn stat_seconds(number: usize) -> Option<f64> {
    let ticks: f64 = stat()?.get(number - 3)?.parse().ok()?;
    Some(ticks / TICKS_PER_SECOND)
}

fn cpu_seconds() -> Option<f64> {
    Some(stat_seconds(14)? + stat_seconds(15)?)
}

fn start_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + stat_seconds(22)?)
}

fn resident_bytes() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    Some(kib.trim().parse::<f64>().ok()? * 1024.0)
}

fn open_files() -> Option<f64> {
    // The folder itself is open while it is read.
    Some((fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1)) as f64)
}

fn files_max() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let soft = text.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_ascii_whitespace().next()?;
    soft.parse().ok()
}

#[cfg(test)]
mod tests;
