//! The connectors that make metrics of spans (opentelemetry-collector-contrib `connector/spanmetricsconnector/README.md`
//! and `connector/servicegraphconnector/README.md`).

use super::pipelines::{Component, Pipeline};
use super::{Known, Parts, carry, report_rest, scalar_item};
use crate::import::draft::Item;
use crate::import::foreign::Foreign;
use crate::import::report::{Outcome, Report};

pub(super) const SPAN_METRICS: &str = "spanmetrics";
pub(super) const SERVICE_GRAPH: &str = "servicegraph";

const COUNTS: &str = "all spans that come are counted, before any trace is dropped; the metrics are on `/metrics`, with durations in seconds";
const ESTIMATE: &str = "the calls are an estimate from a sample of all traces; the metrics are on `/metrics`";
const LEAVE: &str = "docs/span-metrics.md has the metrics that there are";
/// The most dimensions that Spansieve takes.
const DIMENSION_COUNT_MAX: usize = 8;
/// The names of the metrics here, and in the Collector since version 0.109.
const NAMESPACE: &str = "traces.span.metrics";

const NO_LIST: &str = "all metrics have the same labels";
const SPAN_METRICS_KNOWN: [Known; 14] = [
    ("calls_dimensions", Outcome::NotCarried, NO_LIST),
    ("exclude_dimensions", Outcome::NotCarried, "service, name, kind and status are always labels"),
    ("resource_metrics_key_attributes", Outcome::NotNeeded, "a series is found by its labels"),
    ("resource_metrics_cache_size", Outcome::NotNeeded, "`max_series` bounds the series of all resources"),
    ("dimensions_cache_size", Outcome::NotNeeded, "`max_series` bounds the series"),
    ("metric_timestamp_cache_size", Outcome::NotNeeded, "a scrape has no timestamps"),
    ("aggregation_temporality", Outcome::Different, "a scrape has sums since the start (cumulative)"),
    ("metrics_flush_interval", Outcome::NotNeeded, "a scrape has all spans that came before it"),
    ("exemplars", Outcome::Different, "each series has an exemplar, of a trace that is kept"),
    ("events", Outcome::NotCarried, "events of spans are not counted"),
    ("instrumentation_scope", Outcome::NotCarried, "the scope is not a label"),
    ("include_instrumentation_scope", Outcome::NotCarried, "the scope is not a label"),
    ("add_resource_attributes", Outcome::NotCarried, "only `dimensions` are labels"),
    ("enable_metrics_sampling_method", Outcome::NotNeeded, "all spans are counted, before sampling"),
];
const SPAN_METRICS_READ: [&str; 5] =
    ["histogram", "dimensions", "namespace", "metrics_expiration", "aggregation_cardinality_limit"];
const HISTOGRAM_KNOWN: [Known; 3] = [
    ("unit", Outcome::Different, "durations are in seconds"),
    ("exponential", Outcome::NotCarried, "there are no exponential histograms"),
    ("dimensions", Outcome::NotCarried, NO_LIST),
];
const SERVICE_GRAPH_KNOWN: [Known; 8] = [
    ("store", Outcome::NotNeeded, "16,384 spans wait for their call's other side, for up to 30 s"),
    ("cache_loop", Outcome::NotNeeded, "nothing is cached"),
    ("store_expiration_loop", Outcome::NotNeeded, "waits end by themselves"),
    ("metrics_flush_interval", Outcome::NotNeeded, "a scrape has all calls that came before it"),
    ("metrics_timestamp_offset", Outcome::NotNeeded, "a scrape has no timestamps"),
    ("dimensions", Outcome::NotCarried, "the graph has the two services as labels only"),
    (
        "virtual_node_peer_attributes",
        Outcome::Different,
        "`peer.service`, `service.peer.name` and `server.address` name a peer",
    ),
    (
        "database_name_attributes",
        Outcome::Different,
        "`db.namespace`, `db.name`, `db.system.name` and `db.system` name a database",
    ),
];

/// Reads the connectors to which the pipeline writes.
pub(super) fn read<'a>(pipeline: &Pipeline<'a>, parts: &mut Parts<'a>, report: &mut Report) {
    let entries = &mut parts.span_metrics;
    let metrics = first(pipeline, SPAN_METRICS, report);
    let graph = first(pipeline, SERVICE_GRAPH, report);
    if let Some(connector) = metrics {
        span_metrics(&connector.definition, entries, report);
    }
    match graph {
        Some(connector) => service_graph(&connector.definition, metrics.is_none(), entries, report),
        None if metrics.is_some() => entries.push(("service_graph", Item::yaml("false"))),
        None => {}
    }
}

/// Returns the first connector of a kind, and reports the others.
fn first<'p, 'a>(pipeline: &'p Pipeline<'a>, kind: &str, report: &mut Report) -> Option<&'p Component<'a>> {
    let mut connectors = pipeline.connectors.iter().filter(|connector| connector.kind == kind);
    let first = connectors.next();
    for other in connectors {
        report.not_carried(&other.definition, "there is one set of metrics of spans", "put their keys together");
    }
    first
}

fn span_metrics<'a>(part: &Foreign<'a>, entries: &mut Vec<(&'a str, Item)>, report: &mut Report) {
    report.different(part, COUNTS);
    entries.push(("spans", Item::text("all").remark("the connector counts every span")));
    entries.push(("span_names", Item::text("as_sent").remark("`normalized` puts `*` in place of ids")));
    entries.extend(dimensions(part, report).map(|item| ("dimensions", item)));
    if let Some(histogram) = part.filled("histogram") {
        entries.extend(buckets(&histogram, report).map(|item| ("buckets", item)));
        if histogram.get("disable").is_some_and(|disable| disable.boolean() == Some(true)) {
            report.not_carried(&histogram, "the histogram is always there", LEAVE);
        }
        report_rest(&histogram, &["explicit", "disable"], &HISTOGRAM_KNOWN, report);
        if let Some(disable) = histogram.get("disable") {
            report.read(&disable);
        }
    }
    limits(part, entries, report);
    report_rest(part, &SPAN_METRICS_READ, &SPAN_METRICS_KNOWN, report);
}

fn dimensions(part: &Foreign<'_>, report: &mut Report) -> Option<Item> {
    let list = part.filled("dimensions")?;
    let mut items = Vec::new();
    for dimension in list.items() {
        if items.len() == DIMENSION_COUNT_MAX {
            report.not_carried(&dimension, "there are more dimensions than Spansieve takes", "leave some of them out");
            continue;
        }
        let mut keys = Vec::new();
        for key in ["name", "default"] {
            carry(&dimension, key, key, &mut keys, report);
        }
        report_rest(&dimension, &["name", "default"], &[], report);
        items.push(Item::map(keys).from(&dimension));
    }
    (!items.is_empty()).then(|| Item::list(items).parts_of(&list))
}

/// Returns the buckets of `histogram.explicit`.
fn buckets(histogram: &Foreign<'_>, report: &mut Report) -> Option<Item> {
    let explicit = histogram.filled("explicit")?;
    report_rest(&explicit, &["buckets"], &[], report);
    bounds(&explicit.filled("buckets")?, report)
}

/// Returns a list of durations. Those that Spansieve does not take are left out one by one.
fn bounds(list: &Foreign<'_>, report: &mut Report) -> Option<Item> {
    let items: Vec<Item> = list.items().iter().filter_map(|bound| scalar_item(bound, report)).collect();
    (!items.is_empty()).then(|| Item::list(items).parts_of(list))
}

fn limits<'a>(part: &Foreign<'a>, entries: &mut Vec<(&'a str, Item)>, report: &mut Report) {
    match part.filled("metrics_expiration") {
        Some(never) if never.count() == Some(0) || never.text().is_some_and(|text| text.starts_with('0')) => {
            report.different_whole(&never, "a series that no span has had for an hour is removed (`expire_after`)");
        }
        Some(_) => carry(part, "metrics_expiration", "expire_after", entries, report),
        None => {}
    }
    match part.filled("aggregation_cardinality_limit") {
        Some(none) if none.count() == Some(0) => {
            report.different_whole(&none, "there are at most 2,000 combinations of labels (`max_series`)");
        }
        Some(limit) => {
            report.different(&limit, "the limit is for all services together");
            entries.extend(scalar_item(&limit, report).map(|item| ("max_series", item)));
        }
        None => {}
    }
    if let Some(namespace) = part.filled("namespace") {
        match namespace.is_text(NAMESPACE) {
            true => report.not_needed(&namespace, "the metrics have this name"),
            false => report.different_whole(&namespace, "the names of the metrics begin with `traces_span_metrics_`"),
        }
    }
}

/// Reads the connector `servicegraph`. Without the other one, its buckets are those of all metrics.
fn service_graph<'a>(part: &Foreign<'a>, is_alone: bool, entries: &mut Vec<(&'a str, Item)>, report: &mut Report) {
    report.different(part, ESTIMATE);
    entries.push(("service_graph", Item::yaml("true")));
    let mut read = vec!["latency_histogram_buckets"];
    if let Some(buckets) = part.filled(read[0]) {
        if is_alone {
            entries.extend(bounds(&buckets, report).map(|item| ("buckets", item)));
        } else {
            report.different_whole(&buckets, "the buckets are those of `spanmetrics`");
        }
    }
    if is_alone {
        entries.push(("spans", Item::text("entry").remark("the graph comes with the metrics of spans")));
    }
    read.push("metrics_exporter");
    if let Some(exporter) = part.get("metrics_exporter") {
        report.not_needed(&exporter, "the metrics are scraped");
    }
    report_rest(part, &read, &SERVICE_GRAPH_KNOWN, report);
}
