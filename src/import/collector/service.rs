//! `service.telemetry` and the extensions.

use super::pipelines::Pipeline;
use super::{Parts, report_rest, scalar_item};
use crate::import::draft::Item;
use crate::import::foreign::Foreign;
use crate::import::report::{Outcome, Report};
use crate::import::scalar;

/// Extensions, each with its outcome and the reason.
const EXTENSIONS: [(&str, Outcome, &str); 8] = [
    (
        "health_check",
        Outcome::Different,
        "`/livez`, `/readyz` and grpc.health.v1 are on every address of `otlp.listen`",
    ),
    (
        "healthcheckv2",
        Outcome::Different,
        "`/livez`, `/readyz` and grpc.health.v1 are on every address of `otlp.listen`",
    ),
    ("memory_limiter", Outcome::NotNeeded, "`memory.limit` bounds all that is held"),
    ("memory_ballast", Outcome::NotNeeded, "there is no garbage collector"),
    ("googleclientauth", Outcome::NotNeeded, "Google's credentials are found by the export itself"),
    ("pprof", Outcome::NotCarried, "Spansieve serves no profiles"),
    ("zpages", Outcome::NotCarried, "Spansieve has no such pages; `/metrics` counts every span"),
    (
        "file_storage",
        Outcome::NotCarried,
        "Spansieve's files have a form of their own: write `export.spool.directory`, and `journal.directory` for pending spans",
    ),
];
const FORMATS: [(&str, &str); 2] = [("json", "json"), ("console", "text")];
const SERVICE_READ: [&str; 3] = ["pipelines", "extensions", "telemetry"];

/// Reads what is not a part of a pipeline.
pub(super) fn read(root: &Foreign<'_>, pipeline: &Pipeline<'_>, parts: &mut Parts<'_>, report: &mut Report) {
    extensions(pipeline, report);
    let Some(service) = root.get("service") else { return };
    report_rest(&service, &SERVICE_READ, &[], report);
    service.get("extensions").iter().for_each(|list| report.read(list));
    let Some(telemetry) = service.filled("telemetry") else { return };
    parts.telemetry.extend(metrics(&telemetry, report).map(|item| ("listen", item)));
    let log = log(&telemetry, report);
    if !log.is_empty() {
        let logs = telemetry.get("logs").unwrap_or_else(|| telemetry.clone());
        parts.telemetry.push(("log", Item::map(log).parts_of(&logs)));
    }
    let known = [
        ("traces", Outcome::NotNeeded, "Spansieve does not trace itself"),
        ("resource", Outcome::NotNeeded, "Spansieve's metrics have no resource"),
    ];
    report_rest(&telemetry, &["metrics", "logs"], &known, report);
}

fn extensions(pipeline: &Pipeline<'_>, report: &mut Report) {
    for extension in &pipeline.extensions {
        let definition = &extension.definition;
        // The receivers and exporters have reported the authenticators already.
        if extension.kind.ends_with("auth") && extension.kind != "googleclientauth" {
            continue;
        }
        match EXTENSIONS.iter().find(|(kind, _, _)| *kind == extension.kind) {
            Some((_, Outcome::NotCarried, reason)) => report.not_carried(definition, *reason, super::LEAVE_OUT),
            Some((_, Outcome::Different, reason)) => report.different_whole(definition, *reason),
            Some((_, _, reason)) => report.not_needed(definition, *reason),
            None => report.not_carried(definition, "Spansieve has no extensions", super::LEAVE_OUT),
        }
    }
}

/// Returns the address of the Collector's own metrics: of the first reader for Prometheus, or the older `address`.
fn metrics(telemetry: &Foreign<'_>, report: &mut Report) -> Option<Item> {
    let metrics = telemetry.filled("metrics")?;
    let known = [("level", Outcome::NotNeeded, "all metrics are always there")];
    report_rest(&metrics, &["address", "readers"], &known, report);
    if let Some(address) = metrics.filled("address") {
        return scalar_item(&address, report);
    }
    let readers = metrics.get("readers").map(|list| list.items()).unwrap_or_default();
    let mut item = None;
    for reader in &readers {
        let prometheus = reader.find(&["pull", "exporter", "prometheus"]);
        match prometheus.as_ref().and_then(address).filter(|_| item.is_none()) {
            Some(address) => {
                item = Some(Item::text(&address).from(reader));
                let exporter = prometheus.iter();
                exporter
                    .flat_map(|part| ["host", "port"].map(|key| part.get(key)))
                    .flatten()
                    .for_each(|v| report.read(&v));
            }
            None => report.not_carried(reader, "metrics are scraped by Prometheus at one address", super::LEAVE_OUT),
        }
    }
    item
}

/// Returns `host:port` of a reader for Prometheus.
fn address(prometheus: &Foreign<'_>) -> Option<String> {
    let part = |key| scalar::references(prometheus.filled(key)?.text()?).ok();
    Some(format!("{}:{}", part("host")?, part("port")?))
}

fn log(telemetry: &Foreign<'_>, report: &mut Report) -> Vec<(&'static str, Item)> {
    let Some(logs) = telemetry.filled("logs") else { return Vec::new() };
    let mut entries = Vec::new();
    if let Some(level) = logs.filled("level") {
        // The Collector takes levels in any case.
        let text = level.text().map(str::to_lowercase).filter(|text| !text.contains('$'));
        let item = text.map(|text| Item::text(&text).from(&level)).or_else(|| scalar_item(&level, report));
        entries.extend(item.map(|item| ("level", item)));
    }
    if let Some(encoding) = logs.filled("encoding") {
        let format = FORMATS.iter().find(|(name, _)| encoding.is_text(name));
        match format {
            Some((_, format)) => entries.push(("format", Item::text(format).from(&encoding))),
            None => report.not_carried(&encoding, "logs are text or JSON", "`telemetry.log.format`"),
        }
    }
    report_rest(&logs, &["level", "encoding"], &[], report);
    entries
}
