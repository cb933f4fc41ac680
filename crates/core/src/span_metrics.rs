//! Metrics of all spans, as the Collector's `span_metrics` and `service_graph` connectors name them.
//!
//! Spans are counted where their request is accepted, before any trace is dropped. So the counts are exact, and an
//! exemplar is set only when a trace is kept.
//!
//! Invariants
//! - The number of series and the bytes of their labels are bounded, whatever senders write. What is beyond the bound is
//!   counted in one series.
//! - A span that is counted costs no allocation once its series exists.
//! - This module does no I/O and reads no clock: time is an argument.

mod exemplar;
mod exposition;
mod graph;
mod label;
mod names;
mod read;
mod series;
pub mod settings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use self::exemplar::Exemplars;
pub use self::exposition::Format;
use self::exposition::Writer;
use self::graph::ServiceGraph;
use self::read::{KeyReader, ResourcePart, SpanPart};
use self::series::{Observation, SeriesTable};
use self::settings::{SpanMetricsSettings, SpanNames};
use crate::budget::{Budget, Share};
use crate::otlp::scan::{Bits, Scan, SpanFact};
use crate::tail::kept::KeptSpans;
use crate::tail::table::Millis;
use crate::tail::tally::Tally;

/// The most spans whose keys are prepared before the lock of the table is taken: some tens of KiB.
const SLICE_SPANS: usize = 128;

/// The interval at which unused series are looked for.
const SWEEP_MS: Millis = 5_000;

/// The largest table that is copied for a scrape although memory is full: some 4,000 series. A scrape is needed most when
/// memory is full.
const COPY_BYTES_FREE: usize = 1 << 20;

/// The buffers for the keys of some spans. Reuse them, because they keep their capacity.
#[derive(Debug, Default)]
pub struct KeyBuffer {
    keys: Vec<u8>,
    observations: Vec<Observation>,
    /// The name of the service and the dimensions of the present resource.
    service: Vec<u8>,
    dimensions: Vec<u8>,
}

impl KeyBuffer {
    /// Returns the bytes of memory that the buffers take.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let observations = self.observations.capacity() * size_of::<Observation>();
        self.keys.capacity() + self.service.capacity() + self.dimensions.capacity() + observations
    }
}

/// The totals that the daemon shows among its own metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SpanMetricsTotals {
    /// Spans that were counted.
    pub calls: u64,
    /// Counted spans of kept traces, each by the number of traces that its trace stands for.
    pub adjusted_calls: f64,
    /// Counted spans of dropped traces that no policy could have kept, so that no kept trace stands for them.
    pub unrepresented_calls: u64,
    /// Counted spans for which there was no series of their own.
    pub overflow_calls: u64,
    /// Series at present: combinations of labels, without the one for the overflow.
    pub series: usize,
    /// Series that were removed because they were not used.
    pub expired_series: u64,
    /// With `span_names: dry_run`, the series that there would be with `normalized`; else 0.
    pub normalized_series: usize,
    /// Bytes of memory.
    pub bytes: usize,
}

/// The metrics of all spans of a daemon.
#[derive(Debug)]
pub struct SpanMetrics {
    reader: KeyReader,
    /// The reader of the names that `span_names: dry_run` compares.
    tried: Option<KeyReader>,
    table: Mutex<SeriesTable>,
    graph: Option<Mutex<ServiceGraph>>,
    adjusted: Mutex<f64>,
    unrepresented: AtomicU64,
    project: Mutex<Option<String>>,
    budget: Budget,
    /// The memory of the table that is charged.
    share: Mutex<Share>,
    charged_bytes: AtomicUsize,
    swept_ms: AtomicU64,
}

impl SpanMetrics {
    /// Creates metrics without any series, whose memory is charged to `budget`.
    #[must_use]
    pub fn new(settings: &SpanMetricsSettings, budget: &Budget) -> Self {
        let bounds = settings.bounds_nanos();
        let is_dry_run = settings.span_names == SpanNames::DryRun;
        let tried = is_dry_run.then(|| KeyReader::new(settings, SpanNames::Normalized));
        let table = SeriesTable::new(&bounds, settings.max_series, settings.expire_after, is_dry_run);
        SpanMetrics {
            reader: KeyReader::new(settings, settings.span_names),
            tried,
            table: Mutex::new(table),
            graph: settings
                .service_graph
                .then(|| Mutex::new(ServiceGraph::new(&bounds, settings.expire_after, budget.share()))),
            adjusted: Mutex::default(),
            unrepresented: AtomicU64::default(),
            project: Mutex::default(),
            budget: budget.clone(),
            share: Mutex::new(budget.share()),
            charged_bytes: AtomicUsize::default(),
            swept_ms: AtomicU64::default(),
        }
    }

    /// Sets the project that exemplars name, in which their traces are found.
    pub fn set_project(&self, project: &str) {
        *self.project.lock() = Some(project.to_owned());
    }

    /// Counts the spans of an accepted request that have one of the bits `counted`. `scan` is the scan of `body`.
    pub fn count(&self, scan: &Scan, body: &[u8], counted: Bits, buffer: &mut KeyBuffer, now_ms: Millis) {
        let now_s = seconds(now_ms);
        let facts = scan.facts.iter().filter(|fact| fact.bits & counted != 0);
        // A resource may have many scopes, and it may be nearly as large as the request. So it is read once.
        let mut resource = None;
        for fact in facts {
            let Some(scope) = scan.scopes.get(fact.scope as usize) else { continue };
            if resource.replace(scope.resource) != Some(scope.resource) {
                buffer.service.clear();
                read::write_service(scope.service.of(body), &mut buffer.service);
                buffer.dimensions.clear();
                self.reader.write_dimensions(scope.resource.of(body), &mut buffer.dimensions);
            }
            self.prepare(fact, body, buffer);
            if buffer.observations.len() >= SLICE_SPANS {
                self.flush(buffer, now_s);
            }
        }
        self.flush(buffer, now_s);
    }

    /// Prepares the key of a span outside the lock of the table.
    #[inline]
    fn prepare(&self, fact: &SpanFact, body: &[u8], buffer: &mut KeyBuffer) {
        let KeyBuffer { keys, observations, service, dimensions } = buffer;
        let resource = ResourcePart { service, dimensions };
        let span = self.reader.span(fact.span.of(body));
        let at = keys.len();
        self.reader.write_key(resource, &span, keys);
        let nanos = duration_nanos(fact.start_unix_nano, fact.end_unix_nano);
        observations.push(Observation { at: at as u32, nanos, is_tried: false });
        if let Some(tried) = &self.tried {
            let at = keys.len();
            tried.write_key(resource, &span, keys);
            observations.push(Observation { at: at as u32, nanos, is_tried: true });
        }
    }

    fn flush(&self, buffer: &mut KeyBuffer, now_s: u32) {
        if !buffer.observations.is_empty() {
            let mut table = self.table.lock();
            table.observe(&buffer.keys, &buffer.observations, now_s);
            let bytes = table.heap_bytes();
            drop(table);
            self.charge(bytes);
            buffer.keys.clear();
            buffer.observations.clear();
        }
    }

    /// Takes the decisions of one round of work: sets exemplars of kept traces, and sums what they stand for. Call it
    /// before the kept spans go to the exporter. `unix_s` is the present time since 1970.
    pub fn decided(&self, kept: &[KeptSpans], tally: &Tally, now_ms: Millis, unix_s: u32) {
        if tally.unrepresented_calls > 0 {
            self.unrepresented.fetch_add(tally.unrepresented_calls, Relaxed);
        }
        let mut adjusted = 0.0;
        let mut exemplars = Exemplars::new(&self.reader, &self.table, self.budget.share(), unix_s);
        for kept in kept.iter().filter(|kept| !kept.keep.is_dropped()) {
            let calls = kept.fragment.counted_spans();
            if calls > 0 {
                adjusted += calls as f64 * kept.keep.threshold.adjusted_count();
                exemplars.offer(&kept.fragment.peek());
            }
        }
        exemplars.flush();
        if adjusted > 0.0 {
            *self.adjusted.lock() += adjusted;
        }
        if let Some(graph) = &self.graph {
            graph::follow(graph, &tally.followed, now_ms);
        }
    }

    /// Does upkeep if it is time for it: removes series that were not used for long, lets requests of the service graph
    /// expire, and charges the memory. Call it often.
    pub fn sweep(&self, now_ms: Millis) {
        if now_ms.saturating_sub(self.swept_ms.load(Relaxed)) < SWEEP_MS {
            return;
        }
        self.swept_ms.store(now_ms, Relaxed);
        let mut table = self.table.lock();
        table.expire(seconds(now_ms));
        let bytes = table.heap_bytes();
        drop(table);
        self.charge(bytes);
        if let Some(graph) = &self.graph {
            graph.lock().expire(now_ms);
        }
    }

    /// Charges the memory of the table. The graph does this itself.
    fn charge(&self, bytes: usize) {
        if self.charged_bytes.swap(bytes, Relaxed) != bytes {
            self.share.lock().resize(bytes);
        }
    }

    /// Returns the bytes of memory that all series take.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let graph = self.graph.as_ref().map_or(0, |graph| graph.lock().heap_bytes());
        self.table.lock().heap_bytes() + graph
    }

    /// Returns the totals.
    #[must_use]
    pub fn totals(&self) -> SpanMetricsTotals {
        let bytes = self.heap_bytes();
        let table = self.table.lock();
        SpanMetricsTotals {
            calls: table.calls(),
            adjusted_calls: *self.adjusted.lock(),
            unrepresented_calls: self.unrepresented.load(Relaxed),
            overflow_calls: table.overflow_calls(),
            series: table.series_count(),
            expired_series: table.expired_count(),
            normalized_series: table.tried_count(),
            bytes,
        }
    }

    /// Writes all series to `out`.
    ///
    /// # Errors
    /// If `out` fails, or if memory has no room for a copy of the series.
    pub fn render(&self, format: Format, out: &mut dyn fmt::Write) -> fmt::Result {
        let mut writer = Writer::new(format, self.project.lock().clone(), out);
        let (table, _share) = self.copy().ok_or(fmt::Error)?;
        table.render(&self.reader, &mut writer);
        if let Some(graph) = &self.graph {
            let counts = graph.lock().counts();
            counts.render(&mut writer);
        }
        writer.finish()
    }

    /// Returns a copy of the table, because thousands of series take milliseconds to write. A copy takes a fraction of
    /// one.
    fn copy(&self) -> Option<(SeriesTable, Share)> {
        let bytes = self.table.lock().heap_bytes();
        let share = if bytes <= COPY_BYTES_FREE { self.budget.force(bytes) } else { self.budget.reserve(bytes)? };
        Some((self.table.lock().clone(), share))
    }
}

/// Returns the time from start to end in nanoseconds; 0 if either is not set, or the end is before the start.
fn duration_nanos(start_unix_nano: u64, end_unix_nano: u64) -> u64 {
    if start_unix_nano == 0 { 0 } else { end_unix_nano.saturating_sub(start_unix_nano) }
}

/// Returns the duration of a span.
fn span_nanos(span: &SpanPart<'_>) -> u64 {
    duration_nanos(span.start_unix_nano, span.end_unix_nano)
}

fn seconds(now_ms: Millis) -> u32 {
    u32::try_from(now_ms / 1_000).unwrap_or(u32::MAX)
}
