//! `docs/metrics.md`, the table in the code and the served metrics agree.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use spansieve::otlp::scan::RejectReason;
use spansieve::sampling::ShadowEffect;
use spansieve::telemetry::metrics::{
    Description, DropReason, HeldAmounts, LabelDescription, LabelValues, MetricKind, Metrics, Protocol, RecoverySource,
    TABLE,
};

use spansieve::telemetry::process::PROCESS;

use crate::support::exposition::{Exposition, Sample};

const DOCUMENT: &str = include_str!("../docs/metrics.md");
const POLICIES: [&str; 2] = ["errors", "a \"quoted\"\\ name\nof two lines"];

/// Returns the cells of each row of the document's table of metrics.
fn documented() -> Vec<Vec<String>> {
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| `spansieve_") || line.starts_with("| `process_"));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// Writes a label as the document does.
fn label_text(label: &LabelDescription) -> String {
    match label.values {
        LabelValues::Policy | LabelValues::ShadowPolicy | LabelValues::Sender | LabelValues::Build(_) => {
            format!("`{}`", label.name)
        }
        LabelValues::Listed(values) | LabelValues::Occurring(values) => {
            format!("`{}`: `{}`", label.name, values.join("`, `"))
        }
    }
}

fn scrape() -> Exposition {
    Exposition::parse(&Metrics::with_policies(&POLICIES).render(HeldAmounts::default()))
}

#[test]
fn the_document_has_the_table_of_the_code() {
    let rows = documented();
    assert_eq!(rows.len(), TABLE.len() + PROCESS.len());
    for (row, metric) in rows.iter().zip(TABLE) {
        let labels: Vec<_> = metric.labels.iter().map(label_text).collect();
        let name = format!("`{}`", metric.name);
        assert_eq!(*row, [name.as_str(), metric.kind.label(), &labels.join("; "), metric.help]);
    }
    for (row, metric) in rows[TABLE.len()..].iter().zip(PROCESS) {
        assert_eq!(*row, [&format!("`{}`", metric.name), metric.kind.label(), "", metric.help]);
    }
}

#[test]
fn the_document_explains_every_value() {
    let names = ["effect", "outcome", "parent", "reason", "share", "state", "trigger", "verdict"];
    let labels = TABLE.iter().flat_map(|metric| metric.labels).filter(|label| names.contains(&label.name));
    for label in labels {
        let LabelValues::Listed(values) = label.values else { panic!("{} is not listed", label.name) };
        let rows: String = DOCUMENT.lines().filter(|line| line.starts_with(&format!("| `{}`", label.name))).collect();
        for value in values {
            assert!(rows.contains(&format!("`{value}`")), "{} {value} is not explained", label.name);
        }
    }
}

#[test]
fn the_document_names_only_metrics_that_exist() {
    let names =
        DOCUMENT.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("spansieve_"));
    for name in names {
        let metric = TABLE.iter().find(|metric| match metric.kind {
            MetricKind::Histogram => {
                name.strip_prefix(metric.name).is_some_and(|part| matches!(part, "" | "_bucket" | "_sum" | "_count"))
            }
            MetricKind::Counter | MetricKind::Gauge => name == metric.name,
        });
        assert!(metric.is_some(), "{name}");
    }
}

#[test]
fn served_metrics_have_the_types_and_help_texts_of_the_table() {
    let scrape = scrape();
    let of_table = |text: fn(&Description) -> &'static str| -> BTreeMap<String, String> {
        // Without shadow policies, their metrics have no series.
        let served = TABLE.iter().filter(|metric| !metric.series(&POLICIES).is_empty());
        served.map(|metric| (metric.name.into(), text(metric).into())).collect()
    };
    assert_eq!(scrape.kind, of_table(|metric| metric.kind.label()));
    assert_eq!(scrape.help, of_table(|metric| metric.help));
}

/// Returns the metric and the labels of a sample. The parts of a histogram belong to the histogram, without `le`.
fn series(sample: &Sample) -> (String, Vec<(String, String)>) {
    let of_histogram = TABLE.iter().filter(|metric| metric.kind == MetricKind::Histogram);
    let histogram = of_histogram.map(|metric| metric.name).find(|&name| sample.name.starts_with(name));
    let labels = sample.labels.iter().filter(|(name, _)| name != "le").cloned();
    (histogram.unwrap_or(&sample.name).to_owned(), labels.collect())
}

#[test]
fn exactly_the_series_of_the_table_are_served_and_they_start_at_zero() {
    let scrape = scrape();
    let expected = TABLE.iter().flat_map(|metric| {
        metric.series(&POLICIES).into_iter().map(|values| {
            let names = metric.labels.iter().map(|label| label.name.to_owned());
            (metric.name.to_owned(), names.zip(values.into_iter().map(str::to_owned)).collect())
        })
    });
    assert_eq!(scrape.samples.iter().map(series).collect::<BTreeSet<_>>(), expected.collect());
    for (i, sample) in scrape.samples.iter().enumerate() {
        let at_start = if sample.name == "spansieve_build_info" { 1.0 } else { 0.0 };
        assert_eq!(sample.value, at_start, "{sample:?}");
        let same = |other: &Sample| other.name == sample.name && other.labels == sample.labels;
        assert!(!scrape.samples[..i].iter().any(same), "served twice: {sample:?}");
    }
}

#[test]
fn the_series_of_policies_that_come_later_start_at_zero() {
    let metrics = Metrics::new();
    metrics.declare_policies(POLICIES.into_iter(), ["trial"].into_iter());
    let scrape = Exposition::parse(&metrics.render(HeldAmounts::default()));
    let expected: BTreeSet<_> = TABLE
        .iter()
        .flat_map(|metric| {
            metric.series_with_shadow(&POLICIES, &["trial"]).into_iter().map(|values| {
                let names = metric.labels.iter().map(|label| label.name.to_owned());
                (metric.name.to_owned(), names.zip(values.into_iter().map(str::to_owned)).collect::<Vec<_>>())
            })
        })
        .collect();
    assert_eq!(scrape.samples.iter().map(series).collect::<BTreeSet<_>>(), expected);
    let of_shadow = |(name, _): &&(String, _)| name.starts_with("spansieve_shadow_");
    assert_eq!(expected.iter().filter(of_shadow).count(), 3 * 2);
    // Counts stay when the policies are declared again.
    metrics.shadowed("trial", ShadowEffect::Keep, 2, 3_000_000);
    metrics.shadowed("trial", ShadowEffect::Keep, 1, 2_000_000);
    metrics.declare_policies(std::iter::empty(), ["trial", "second"].into_iter());
    let scrape = Exposition::parse(&metrics.render(HeldAmounts::default()));
    let value = |name: &str| {
        let is_it = |sample: &&Sample| sample.name == name && sample.labels.iter().any(|(_, value)| value == "keep");
        scrape.samples.iter().filter(is_it).map(|sample| sample.value).sum::<f64>()
    };
    assert_eq!(value("spansieve_shadow_traces_total"), 3.0);
    assert_eq!(value("spansieve_shadow_spans_total"), 5e6);
    assert_eq!(value("spansieve_shadow_dollars"), 1.0);
}

#[test]
fn missing_spans_follow_from_the_conservation_law() {
    let metrics = Metrics::new();
    metrics.received(Protocol::Grpc, 60);
    metrics.received(Protocol::HttpJson, 40);
    metrics.rejected(RejectReason::TraceId, 1);
    metrics.sampled_out(70);
    metrics.exported(10);
    metrics.dropped(DropReason::Refused, 2);
    metrics.recovered(RecoverySource::Spool, 6);
    let missing = |held| Exposition::parse(&metrics.render(held)).missing_spans();
    assert_eq!(missing(HeldAmounts::default()), 23.0);
    let held = HeldAmounts {
        pending_spans: 8,
        rescuable_spans: 4,
        export_spans: 5,
        spooled_spans: 6,
        ..HeldAmounts::default()
    };
    assert_eq!(missing(held), 0.0);
}
