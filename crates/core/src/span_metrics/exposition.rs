//! The text of the series, in the format of Prometheus or of OpenMetrics.

use std::fmt::{self, Display, Write};

use super::exemplar::Exemplar;
use super::label::split_value;
use super::read::KeyReader;
use super::series::SeriesTable;
use super::settings::{LABELS, bound_text};

/// The names of the kinds of spans, as the Collector's connector has them.
const KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

/// The names of the status codes, in the order of [`StatusCode`](crate::otlp::view::StatusCode).
const STATUS_CODES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

const OVERFLOW_LABELS: &str = "otel_metric_overflow=\"true\"";

/// The most bytes of the labels of an exemplar that Managed Prometheus takes.
const EXEMPLAR_LABELS_MAX: usize = 128;

/// The format of a text with metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0, which has exemplars.
    OpenMetrics,
}

/// Writes families of metrics. Once the output has failed, writes nothing more.
pub(super) struct Writer<'o> {
    format: Format,
    project: Option<String>,
    out: &'o mut dyn Write,
    result: fmt::Result,
}

/// The counts of the buckets of a histogram, and the sum of its values.
#[derive(Clone, Copy, Debug)]
pub(super) struct HistogramPart<'a> {
    pub(super) bounds: &'a [String],
    pub(super) buckets: &'a [u64],
    pub(super) sum_s: f64,
    /// The exemplar and the index of its bucket.
    pub(super) exemplar: Option<(usize, Exemplar)>,
}

impl<'o> Writer<'o> {
    pub(super) fn new(format: Format, project: Option<String>, out: &'o mut dyn Write) -> Self {
        Writer { format, project, out, result: Ok(()) }
    }

    /// Returns the result of the output.
    pub(super) fn finish(self) -> fmt::Result {
        self.result
    }

    /// Begins a family. `name` has no `_total`.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let suffix = if kind == "counter" && self.format == Format::Prometheus { "_total" } else { "" };
        self.line(format_args!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"));
    }

    /// Writes a counter. `name` has no `_total`.
    pub(super) fn counter(&mut self, name: &str, labels: &str, value: u64) {
        self.line(format_args!("{name}_total{{{labels}}} {value}\n"));
    }

    /// Writes the samples of a histogram.
    pub(super) fn histogram(&mut self, name: &str, labels: &str, part: &HistogramPart<'_>) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut sum = 0;
        for (at, count) in part.buckets.iter().enumerate() {
            sum += count;
            let bound = part.bounds.get(at).map_or("+Inf", String::as_str);
            self.line(format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {sum}"));
            if let Some((bucket, exemplar)) = &part.exemplar
                && *bucket == at
                && self.format == Format::OpenMetrics
            {
                self.exemplar(exemplar);
            }
            self.line(format_args!("\n"));
        }
        self.line(format_args!("{name}_sum{{{labels}}} {}\n{name}_count{{{labels}}} {sum}\n", part.sum_s));
    }

    fn exemplar(&mut self, exemplar: &Exemplar) {
        let Exemplar { trace_id, span_id, unix_s, .. } = exemplar;
        let ids = [("trace_id", Hex(trace_id).to_string()), ("span_id", Hex(span_id).to_string())];
        let project = self.project.clone().map(|project| ("project_id", project));
        let len = |(name, value): &(&str, String)| name.len() + value.len();
        let ids_len: usize = ids.iter().map(len).sum();
        let project = project.filter(|label| ids_len + len(label) <= EXEMPLAR_LABELS_MAX);
        let labels = ids.iter().chain(project.as_ref()).map(|(name, value)| format!("{name}=\"{}\"", Escaped(value)));
        let labels: Vec<String> = labels.collect();
        self.line(format_args!(" # {{{}}} {} {unix_s}", labels.join(","), exemplar.nanos() as f64 / 1e9));
    }

    fn line(&mut self, text: fmt::Arguments<'_>) {
        if self.result.is_ok() {
            self.result = self.out.write_fmt(text);
        }
    }
}

/// Returns the bounds of buckets as the label `le` has them.
pub(super) fn bounds_text(bounds: &[u64]) -> Vec<String> {
    bounds.iter().map(|&bound| bound_text(bound)).collect()
}

impl SeriesTable {
    /// Writes all series.
    pub(super) fn render(&self, reader: &KeyReader, writer: &mut Writer<'_>) {
        let bounds = bounds_text(self.bounds());
        writer.family(
            "traces_span_metrics_calls",
            "counter",
            "Spans by their labels, counted before traces are dropped.",
        );
        // The labels of all series together may be many megabytes, so they are made twice.
        for (_, key, buckets) in self.all() {
            writer.counter("traces_span_metrics_calls", &labels_of(key, reader), buckets.iter().sum());
        }
        let name = "traces_span_metrics_duration_seconds";
        writer.family(name, "histogram", "Durations of these spans.");
        for (series, key, buckets) in self.all() {
            let exemplar = Some(series.exemplar).filter(Exemplar::is_set);
            let bucket = |nanos| self.bounds().partition_point(|&bound| bound < nanos);
            let exemplar = exemplar.map(|exemplar| (bucket(exemplar.nanos()), exemplar));
            let part = HistogramPart { bounds: &bounds, buckets, sum_s: series.sum_s, exemplar };
            writer.histogram(name, &labels_of(key, reader), &part);
        }
    }
}

/// Returns the labels of a series as the exposition has them.
fn labels_of(key: &[u8], reader: &KeyReader) -> String {
    let Some((&first, rest)) = key.split_first() else { return OVERFLOW_LABELS.to_owned() };
    let kind = KINDS.get(usize::from(first >> 4)).copied().unwrap_or(KINDS[0]);
    let status = STATUS_CODES.get(usize::from(first & 15)).copied().unwrap_or(STATUS_CODES[0]);
    let (service, rest) = split_value(rest);
    let (name, mut rest) = split_value(rest);
    let mut labels = String::new();
    for (label, value) in LABELS.iter().zip([service, name, kind, status]) {
        write_label(&mut labels, label, value);
    }
    for label in reader.dimension_labels() {
        let (value, after) = split_value(rest);
        rest = after;
        // A label without a value is the same as none.
        if !value.is_empty() {
            write_label(&mut labels, label, value);
        }
    }
    labels
}

/// Appends a label.
pub(super) fn write_label(labels: &mut String, name: &str, value: &str) {
    let comma = if labels.is_empty() { "" } else { "," };
    // Writing to a string does not fail.
    let _ = write!(labels, "{comma}{name}=\"{}\"", Escaped(value));
}

/// The value of a label as both formats escape it.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(['\\', '"', '\n']) {
            let Some(last) = part.chars().last().filter(|c| matches!(c, '\\' | '"' | '\n')) else {
                f.write_str(part)?;
                continue;
            };
            f.write_str(&part[..part.len() - 1])?;
            f.write_str(match last {
                '\\' => "\\\\",
                '"' => "\\\"",
                _ => "\\n",
            })?;
        }
        Ok(())
    }
}

/// Bytes in hexadecimal digits.
struct Hex<'a>(&'a [u8]);

impl Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
