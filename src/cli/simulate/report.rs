//! The result of a simulation as text and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::examples::Example;
use crate::cli::validate::dollars::{PRICE, SECONDS_PER_MONTH, cents};
use crate::journal::recording::Remarks;
use crate::offline::simulate::{
    Difference, Peak, PolicyTotals, ServiceTotals, ShadowTotals, Side, SimulatedSide, Simulation, Totals,
};
use crate::sampling::settings::{cloud_trace_dollars, display_unix_seconds};
use crate::settings::units::grouped;

/// The most services that are shown as text.
const SHOWN_SERVICES_MAX: usize = 20;
/// The most characters of a name that are shown as text.
const SHOWN_CHARS_MAX: usize = 40;
/// The shortest recording from which a month is computed, in nanoseconds.
const NANOS_MIN: u64 = 1_000_000_000;

/// A simulation, and the remarks of the recordings that it played.
pub(super) struct Recorded<'a> {
    pub(super) simulation: &'a Simulation,
    pub(super) remarks: &'a Remarks,
}

/// A configuration and its result.
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    pub(super) limit_bytes: usize,
    /// True if it is a dry run, in which every span is written.
    pub(super) is_dry_run: bool,
    pub(super) side: &'a SimulatedSide,
}

/// The result.
pub(super) struct Report<'a> {
    pub(super) recorded: Recorded<'a>,
    pub(super) sides: Vec<Named<'a>>,
    pub(super) examples: &'a [Example],
}

impl Recorded<'_> {
    /// Returns the totals of what came, which the first configuration has counted.
    fn totals(&self) -> Option<&Totals> {
        self.simulation.sides().first().map(SimulatedSide::totals)
    }

    fn seconds(&self) -> f64 {
        self.simulation.nanos() as f64 / 1e9
    }

    /// Returns the spans of a month if `spans` came in the time of the recording; `None` if that is too short.
    fn per_month(&self, spans: u64) -> Option<f64> {
        (self.simulation.nanos() >= NANOS_MIN).then(|| spans as f64 / self.seconds() * SECONDS_PER_MONTH)
    }

    fn text(&self) -> String {
        let Some(totals) = self.totals() else { return String::new() };
        let mut text = format!(
            "Recorded: {} spans of {} traces in {} requests and {:.1} s, {}\n",
            grouped(totals.spans()),
            grouped(totals.traces()),
            grouped(self.simulation.requests()),
            self.seconds(),
            size(totals.bytes())
        );
        let Remarks { requests_left_out, redacted, redacted_requests, hashed, hashed_requests } = self.remarks;
        let of = |requests: u64, all: &str, some: &str| {
            if requests >= self.simulation.requests() {
                all.to_owned()
            } else {
                format!("{} of the {} requests {some}", grouped(requests), grouped(self.simulation.requests()))
            }
        };
        let keys = |keys: &std::collections::BTreeSet<String>| {
            keys.iter().map(|key| shown(key.as_bytes())).collect::<Vec<_>>().join(", ")
        };
        // Writing to a string does not fail.
        if *requests_left_out > 0 {
            let left_out = grouped(*requests_left_out);
            let _ = writeln!(
                text,
                "  {left_out} more requests are not in the recording: their spans are missing in what follows."
            );
        }
        if !redacted.is_empty() {
            let _ = writeln!(
                text,
                "  {} these attributes, so conditions on them do not hold there: {}",
                of(*redacted_requests, "The recording lacks", "lack"),
                keys(redacted)
            );
        }
        if !hashed.is_empty() {
            let have = of(*hashed_requests, "The recording has", "have");
            let _ = writeln!(text, "  {have} hashes of these attributes: {}", keys(hashed));
        }
        if totals.rejected_spans() > 0 {
            let _ = writeln!(text, "  {} spans are invalid and were rejected.", grouped(totals.rejected_spans()));
        }
        text
    }

    fn json(&self) -> Value {
        let Some(totals) = self.totals() else { return Value::Null };
        json!({
            "requests": self.simulation.requests(),
            "traces": totals.traces(),
            "spans": totals.spans(),
            "rejected_spans": totals.rejected_spans(),
            "bytes": totals.bytes(),
            "seconds": self.seconds(),
            "requests_left_out": self.remarks.requests_left_out,
            "redacted": self.remarks.redacted,
            "redacted_requests": self.remarks.redacted_requests,
            "hashed": self.remarks.hashed,
            "hashed_requests": self.remarks.hashed_requests,
        })
    }
}

impl Report<'_> {
    /// Returns the report for people.
    pub(super) fn text(&self) -> String {
        let mut text = self.recorded.text();
        for named in &self.sides {
            let _ = write!(text, "\nWith {}:\n{}", named.name, self.side_text(named));
        }
        if let (Some(difference), [first, second]) = (self.recorded.simulation.difference(), &self.sides[..]) {
            text += &self.difference_text(difference, [first.name, second.name]);
        }
        text
    }

    fn side_text(&self, named: &Named<'_>) -> String {
        let totals = named.side.totals();
        let spans = self.recorded.totals().map_or(0, Totals::spans);
        let mut text = String::new();
        // Writing to a string does not fail.
        if named.is_dry_run {
            let (written, bytes) = (totals.written_spans(), size(totals.written_bytes()));
            let (all, written) = (part(written, spans), grouped(written));
            let _ = writeln!(text, "  written {written} spans ({all}), {bytes}: a dry run writes every span");
        }
        let _ = writeln!(
            text,
            "  kept    {} traces ({}), {} spans ({}), {}{}",
            grouped(totals.kept_traces()),
            part(totals.kept_traces(), totals.traces()),
            grouped(totals.kept_spans()),
            part(totals.kept_spans(), spans),
            size(totals.kept_bytes()),
            if named.is_dry_run { " without the dry run" } else { "" }
        );
        if totals.rescued_traces() > 0 {
            let _ = writeln!(text, "          {} of these traces were dropped first", grouped(totals.rescued_traces()));
        }
        text + &self.price_text(named) + &memory_text(named) + &self.policies_text(totals) + &self.services_text(totals)
    }

    fn price_text(&self, named: &Named<'_>) -> String {
        let totals = named.side.totals();
        let months = [totals.written_spans(), totals.kept_spans()].map(|spans| self.recorded.per_month(spans));
        let [Some(written), Some(kept)] = months else {
            return "  price   not known: the recording is shorter than a second\n".to_owned();
        };
        let price = |spans: f64| (cents(cloud_trace_dollars(spans)), grouped(spans.round() as u64));
        let (dollars, spans) = price(written);
        let mut text = format!("  price   ${dollars} a month for {spans} spans, if it is always like this\n");
        if named.is_dry_run {
            let (dollars, spans) = price(kept);
            // Writing to a string does not fail.
            let _ = writeln!(text, "          ${dollars} a month for {spans} spans without the dry run");
        }
        text + &format!("          {PRICE}\n")
    }

    fn policies_text(&self, totals: &Totals) -> String {
        let mut rows = vec![["POLICY", "TRACES", "SPANS", "", "BYTES"].map(str::to_owned)];
        for row in totals.policies() {
            let dropped = (row.dropped_traces > 0).then(|| format!("drops {}", grouped(row.dropped_traces)));
            let ended = end_of(row, self.recorded.simulation.last_unix_seconds());
            let notes = [dropped, row.shadow.map(shadow_text), ended.map(|end| format!("ended at {end}"))];
            let notes = notes.into_iter().flatten().collect::<Vec<_>>().join(", ");
            let name = shown(row.name.as_bytes());
            rows.push(match row.shadow {
                // It decides nothing, so it has no traces.
                Some(_) => [name, "-".to_owned(), "-".to_owned(), notes, "-".to_owned()],
                None => [name, grouped(row.kept_traces), grouped(row.kept_spans), notes, size(row.kept_bytes)],
            });
        }
        table(&rows)
    }

    fn services_text(&self, totals: &Totals) -> String {
        let services = totals.services();
        let mut rows = vec![["SERVICE", "TRACES", "SPANS", "OF SPANS", "BYTES"].map(str::to_owned)];
        for row in services.iter().take(SHOWN_SERVICES_MAX) {
            rows.push([
                service_name(row),
                grouped(row.kept_traces),
                grouped(row.kept_spans),
                grouped(self.spans_of(row)),
                size(row.kept_bytes),
            ]);
        }
        let mut text = table(&rows);
        if services.len() > SHOWN_SERVICES_MAX {
            let _ = writeln!(text, "  ... and {} more services", grouped((services.len() - SHOWN_SERVICES_MAX) as u64));
        }
        text
    }

    /// Returns the number of spans that came of a service.
    fn spans_of(&self, row: &ServiceTotals) -> u64 {
        let received = self.recorded.totals().map_or_else(Vec::new, Totals::services);
        received.iter().find(|service| service.name == row.name).map_or(0, |service| service.spans)
    }

    fn difference_text(&self, difference: &Difference, names: [&str; 2]) -> String {
        let [first, second] = names;
        let mut text = format!(
            "\nDifference: {} traces are kept by both, {} only with {first}, {} only with {second}\n",
            grouped(difference.both()),
            grouped(difference.only(Side::First)),
            grouped(difference.only(Side::Second))
        );
        if self.sides.iter().any(|named| named.is_dry_run) {
            text += "  The difference is about the verdicts: a dry run writes every span, whatever the verdict.\n";
        }
        for example in self.examples {
            let (keeps, other) = match example.kept_by {
                Side::First => (first, second),
                Side::Second => (second, first),
            };
            let _ = write!(text, "\nOnly with {keeps}:\n{}  with {other}: {}\n", example.text, example.other);
        }
        text
    }

    /// Returns the report for programs.
    pub(super) fn json(&self) -> Value {
        let difference = self.recorded.simulation.difference().map(|difference| {
            json!({
                "both": difference.both(),
                "only_first": difference.only(Side::First),
                "only_second": difference.only(Side::Second),
                "examples": self.examples.iter().map(Example::json).collect::<Vec<_>>(),
            })
        });
        json!({
            "recorded": self.recorded.json(),
            "sides": self.sides.iter().map(|named| self.side_json(named)).collect::<Vec<_>>(),
            "difference": difference,
        })
    }

    fn side_json(&self, named: &Named<'_>) -> Value {
        let (totals, peak) = (named.side.totals(), named.side.peak());
        let per_month = self.recorded.per_month(totals.kept_spans());
        let written_per_month = self.recorded.per_month(totals.written_spans());
        let dollars = |spans: f64| (cloud_trace_dollars(spans) * 100.0).round() / 100.0;
        let shadow = |shadow: ShadowTotals| {
            json!({
                "more_traces": shadow.more_traces, "more_spans": shadow.more_spans,
                "fewer_traces": shadow.fewer_traces, "fewer_spans": shadow.fewer_spans,
            })
        };
        let policy = |row: &PolicyTotals| {
            json!({
                "policy": row.name, "kept_traces": row.kept_traces, "dropped_traces": row.dropped_traces,
                "kept_spans": row.kept_spans, "kept_bytes": row.kept_bytes, "shadow": row.shadow.map(shadow),
                "ended_at": end_of(row, self.recorded.simulation.last_unix_seconds()),
            })
        };
        let service = |row: &&ServiceTotals| {
            json!({
                "service": service_name(row), "spans": self.spans_of(row), "kept_traces": row.kept_traces,
                "kept_spans": row.kept_spans, "kept_bytes": row.kept_bytes,
            })
        };
        json!({
            "config": named.name,
            "kept_traces": totals.kept_traces(),
            "kept_spans": totals.kept_spans(),
            "kept_bytes": totals.kept_bytes(),
            "rescued_traces": totals.rescued_traces(),
            "kept_spans_per_month": per_month.map(f64::round),
            "dollars_per_month": written_per_month.map(dollars),
            "dry_run": named.is_dry_run,
            "written_spans": totals.written_spans(),
            "written_bytes": totals.written_bytes(),
            "dollars_per_month_without_dry_run": per_month.map(dollars),
            "memory": {
                "peak_pending_traces": peak.pending_traces,
                "peak_pending_spans": peak.pending_spans,
                "peak_pending_bytes": peak.pending_bytes,
                "fixed_bytes": peak.fixed_bytes,
                "required_bytes": required(peak),
                "peak_used_bytes": peak.used_bytes,
                "limit_bytes": named.limit_bytes,
                "early_traces": totals.early_traces(),
                "refused_requests": named.side.refused_requests(),
            },
            "policies": totals.policies().iter().map(policy).collect::<Vec<_>>(),
            "services": totals.services().iter().map(service).collect::<Vec<_>>(),
        })
    }
}

/// Returns the bytes without which traces are decided early. Rescuable traces do not count, because they make way.
fn required(peak: Peak) -> u64 {
    peak.fixed_bytes + peak.pending_bytes
}

fn memory_text(named: &Named<'_>) -> String {
    let (totals, peak) = (named.side.totals(), named.side.peak());
    let mut text = format!(
        "  memory  {} of {}: {} for at most {} pending spans of {} traces, {} for verdicts and keys\n",
        size(required(peak)),
        size(named.limit_bytes as u64),
        size(peak.pending_bytes),
        grouped(peak.pending_spans),
        grouped(peak.pending_traces),
        size(peak.fixed_bytes)
    );
    let (early, refused) = (totals.early_traces(), named.side.refused_requests());
    if early + refused > 0 {
        let _ = writeln!(
            text,
            "          It is not enough: {} traces were decided early, and {} requests were refused.",
            grouped(early),
            grouped(refused)
        );
    }
    text
}

/// Returns the end of a policy whose time was over at `unix_seconds`.
fn end_of(row: &PolicyTotals, unix_seconds: u64) -> Option<String> {
    row.until.filter(|until| *until <= unix_seconds).map(display_unix_seconds)
}

/// Returns what a shadow policy would change.
fn shadow_text(shadow: ShadowTotals) -> String {
    let ShadowTotals { more_traces, more_spans, fewer_traces, fewer_spans } = shadow;
    if fewer_traces > 0 {
        format!("shadow: would drop {} kept traces, {} spans", grouped(fewer_traces), grouped(fewer_spans))
    } else {
        format!("shadow: would keep {} more traces, {} spans", grouped(more_traces), grouped(more_spans))
    }
}

/// Returns rows with columns of equal width. The first row is their heads.
fn table(rows: &[[String; 5]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let mut line = format!("  {:<width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(widths).skip(1).filter(|(_, width)| *width > 0) {
            let _ = write!(line, "  {cell:>width$}");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn service_name(row: &ServiceTotals) -> String {
    match &row.name {
        None => "(all others)".to_owned(),
        Some(name) if name.is_empty() => "(no name)".to_owned(),
        Some(name) => shown(name),
    }
}

/// Returns the beginning of a name without characters that would disturb a terminal.
fn shown(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let plain = name.chars().take(SHOWN_CHARS_MAX);
    plain.map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn part(part: u64, whole: u64) -> String {
    if whole == 0 { "0 %".to_owned() } else { format!("{:.1} %", 100.0 * part as f64 / whole as f64) }
}

/// Returns bytes in the unit that keeps the number short.
fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, shift)| bytes >= 1 << shift) {
        Some((unit, shift)) => format!("{:.1} {unit}", bytes as f64 / (1u64 << shift) as f64),
        None => format!("{bytes} B"),
    }
}
