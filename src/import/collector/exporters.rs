//! The exporters. Spansieve writes to one sink: the first exporter of the pipeline that can be carried.

use super::pipelines::{Component, Pipeline};
use super::processors::add_batch;
use super::{Known, Parts, carry, copied, report_rest, scalar_item};
use crate::import::draft::Item;
use crate::import::foreign::{Foreign, shown};
use crate::import::report::{Outcome, Report};
use crate::import::scalar;

/// Google's Telemetry API, which takes OTLP.
const TELEMETRY_HOST: &str = "telemetry.googleapis.com";
/// The port of OTLP over HTTP, and that of OTLP over gRPC, which Spansieve speaks.
const HTTP_PORT: &str = ":4318";
const GRPC_PORT: &str = ":4317";

/// Keys of all exporters (opentelemetry-collector `exporter/exporterhelper/README.md`).
const COMMON: [Known; 12] = [
    ("encoding", Outcome::NotNeeded, "calls are gRPC, which is protobuf"),
    ("timeout", Outcome::NotNeeded, "calls have a deadline of their own"),
    ("compression", Outcome::NotNeeded, "calls are written as they are"),
    ("read_buffer_size", Outcome::NotNeeded, "buffers are part of the memory budget"),
    ("write_buffer_size", Outcome::NotNeeded, "buffers are part of the memory budget"),
    ("keepalive", Outcome::NotNeeded, "the connection is kept alive"),
    ("wait_for_ready", Outcome::NotNeeded, "spans wait until the sink takes them"),
    ("balancer_name", Outcome::NotCarried, "there is one connection to one address"),
    ("authority", Outcome::NotCarried, "the authority is the host of the endpoint"),
    ("user_agent", Outcome::NotCarried, "calls carry Spansieve's own name and version"),
    ("metric", Outcome::NotNeeded, "Spansieve takes traces only"),
    ("log", Outcome::NotNeeded, "Spansieve takes traces only"),
];
const OTLP_READ: [&str; 7] =
    ["endpoint", "traces_endpoint", "tls", "headers", "auth", "sending_queue", "retry_on_failure"];
const GOOGLE_READ: [&str; 6] =
    ["project", "trace", "destination_project_quota", "sending_queue", "retry_on_failure", "impersonate"];
const TLS_KNOWN: [Known; 3] = [
    (
        "insecure_skip_verify",
        Outcome::NotCarried,
        "the server's certificate is always checked: name its authority in `export.tls.ca_file`",
    ),
    ("cert_file", Outcome::NotCarried, "Spansieve shows no certificate of its own to the sink"),
    ("key_file", Outcome::NotCarried, "Spansieve shows no certificate of its own to the sink"),
];

/// Exporters that are not a sink of traces here, each with the reason and the advice.
const LOST: [(&str, &str, &str); 7] = [
    ("googlemanagedprometheus", "it takes metrics, and Spansieve takes traces only", "leave it in a Collector"),
    ("debug", SHOWN, EMBEDDED),
    ("logging", SHOWN, EMBEDDED),
    ("nop", SHOWN, EMBEDDED),
    ("file", "Spansieve writes to an API, not to a file", EMBEDDED),
    ("loadbalancing", "one Spansieve takes all spans of a trace", "name the final sink in `export`"),
    ("load_balancing", "one Spansieve takes all spans of a trace", "name the final sink in `export`"),
];
const SHOWN: &str = "it shows spans, and does not keep them";
const EMBEDDED: &str = "`export.endpoint: embedded` shows kept traces on a page";

type Entries = Vec<(&'static str, Item)>;

/// Reads the exporters.
pub(super) fn read(pipeline: &Pipeline<'_>, parts: &mut Parts<'_>, report: &mut Report) {
    let mut sink = None;
    for exporter in &pipeline.exporters {
        let is_first = sink.is_none();
        match exporter.kind {
            "googlecloud" | "otlp" | "otlp_grpc" | "otlphttp" | "otlp_http" if !is_first => {
                let reason = "Spansieve writes to one sink, and another one is carried";
                report.not_carried(
                    &exporter.definition,
                    reason,
                    "let the sink, or a Collector behind Spansieve, pass spans on",
                );
            }
            "googlecloud" => sink = Some(google(exporter, parts, report)),
            "otlp" | "otlp_grpc" => sink = otlp(exporter, false, pipeline, parts, report),
            "otlphttp" | "otlp_http" => sink = otlp(exporter, true, pipeline, parts, report),
            kind => lost(&exporter.definition, kind, report),
        }
    }
    // The sink comes before the batches, which processors may have added.
    let none =
        if pipeline.exporters.is_empty() { "the file names no exporter" } else { "no exporter could be carried" };
    let entries = sink.unwrap_or_else(|| vec![("endpoint", embedded(none))]);
    parts.export.splice(0..0, entries);
}

fn embedded(remark: &'static str) -> Item {
    Item::text("embedded").remark(remark)
}

fn lost(part: &Foreign<'_>, kind: &str, report: &mut Report) {
    let known = LOST.iter().find(|(name, _, _)| *name == kind);
    let unknown =
        ("Spansieve writes to Google Cloud Trace or over OTLP", "send OTLP to the sink, or to a Collector that has it");
    let (reason, help) = known.map_or(unknown, |(_, reason, help)| (reason, help));
    report.not_carried(part, reason, help);
}

/// Returns the settings of a `googlecloud` exporter
/// (opentelemetry-collector-contrib `exporter/googlecloudexporter/README.md`).
fn google(exporter: &Component<'_>, parts: &mut Parts<'_>, report: &mut Report) -> Entries {
    let part = &exporter.definition;
    let mut entries = vec![("endpoint", google_endpoint(part, report))];
    carry(part, "project", "project", &mut entries, report);
    carry(part, "destination_project_quota", "destination_project_quota", &mut entries, report);
    entries.extend(mappings(part, report).map(|item| ("attribute_mapping", item)));
    if let Some(account) = part.filled("impersonate") {
        let reason = "Spansieve acts as the account of its credentials";
        report.not_carried(&account, reason, "run it as that account, or give its own account the roles");
    }
    if let Some(trace) = part.filled("trace") {
        let known = [("grpc_pool_size", Outcome::NotNeeded, "calls share one connection")];
        report_rest(&trace, &["endpoint", "use_insecure", "attribute_mappings"], &known, report);
    }
    let other = "spans whose resource names another project are dropped unless `export.allowed_projects` has it";
    report.different(part, other);
    report_rest(part, &GOOGLE_READ, &COMMON, report);
    helper(part, parts, &mut entries, report);
    entries
}

/// Returns the endpoint: that of the section `trace`, or Cloud Trace's own.
fn google_endpoint(part: &Foreign<'_>, report: &mut Report) -> Item {
    let own = || Item::text("https://cloudtrace.googleapis.com").from(part);
    let trace = part.filled("trace");
    let Some(endpoint) = trace.as_ref().and_then(|trace| trace.filled("endpoint")) else { return own() };
    let is_insecure = trace.as_ref().is_some_and(|trace| is_insecure(trace, "use_insecure", report));
    url(&endpoint, is_insecure, report).unwrap_or_else(own)
}

/// Returns true if the switch `key` of `part` says that the sink has no TLS. A value that is not known is reported.
fn is_insecure(part: &Foreign<'_>, key: &str, report: &mut Report) -> bool {
    let Some(value) = part.filled(key) else { return false };
    if value.boolean().is_none() {
        let reason = "its value is not known here: the endpoint is written with TLS";
        report.not_carried(&value, reason, "write `http://` in `export.endpoint` if it is true");
    }
    report.read(&value);
    value.boolean().unwrap_or(false)
}

/// Splits `text` at the first `separator` that is not within a reference to the environment.
fn split_outside<'t>(text: &'t str, separator: &str) -> Option<(&'t str, &'t str)> {
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.find(separator)?;
        match text[from..at].rfind("${") {
            // A reference is open: its end comes before the next place to look at.
            Some(start) if !text[from + start..at].contains('}') => from = at + text[at..].find('}')? + 1,
            _ => return Some((&text[..at], &text[at + separator.len()..])),
        }
    }
}

/// Returns an endpoint `host:port` as a URL. If it is refused, nothing is written to another machine.
fn url(endpoint: &Foreign<'_>, is_insecure: bool, report: &mut Report) -> Option<Item> {
    let refused = |reason| report.not_carried(endpoint, reason, "write the value itself");
    let text = scalar::references(endpoint.text().unwrap_or_default()).map_err(refused).ok()?;
    let text = text.strip_prefix("dns:///").unwrap_or(&text);
    let scheme = if is_insecure { "http" } else { "https" };
    let text = if split_outside(text, "://").is_some() { text.to_owned() } else { format!("{scheme}://{text}") };
    if text.starts_with(&format!("{scheme}://${{")) {
        report.different(
            endpoint,
            format!("the variable must contain a host, without a scheme: `{scheme}://` is written"),
        );
    }
    Some(Item::text(&text).from(endpoint).or(embedded("the endpoint could not be carried")))
}

fn mappings(part: &Foreign<'_>, report: &mut Report) -> Option<Item> {
    let mappings = part.find(&["trace", "attribute_mappings"]).filter(|mappings| !mappings.is_null())?;
    let mut own = Vec::new();
    for pair in mappings.items() {
        match copied(&pair) {
            Ok(item) => own.push(item.from(&pair)),
            Err(reason) => report.not_carried(&pair, reason, "write the value itself"),
        }
    }
    let base = Item::text("none").remark("a list in the Collector takes the place of its own names");
    Some(Item::map(vec![("base", base), ("own", Item::list(own))]).parts_of(&mappings))
}

/// Returns the settings of an `otlp` or `otlphttp` exporter; `None`, and a report, if it has no endpoint for Spansieve.
fn otlp(
    exporter: &Component<'_>,
    is_http: bool,
    pipeline: &Pipeline<'_>,
    parts: &mut Parts<'_>,
    report: &mut Report,
) -> Option<Entries> {
    let part = &exporter.definition;
    // Over HTTP the address for traces goes before the one for all signals.
    let mut endpoints = ["traces_endpoint", "endpoint"].iter().filter_map(|key| part.filled(key));
    let Some(endpoint) = endpoints.next() else {
        report.not_carried(part, "it has no `endpoint`", "write `export.endpoint`");
        return None;
    };
    endpoints.for_each(|other| report.not_needed(&other, "traces go to `traces_endpoint`"));
    let mut entries = sink(part, &endpoint, is_http, report)?;
    headers(part, pipeline, &mut entries, report);
    tls(part, &mut entries, report);
    report_rest(part, &OTLP_READ, &COMMON, report);
    helper(part, parts, &mut entries, report);
    Some(entries)
}

/// Returns the API and the endpoint.
fn sink(part: &Foreign<'_>, endpoint: &Foreign<'_>, is_http: bool, report: &mut Report) -> Option<Entries> {
    let text = endpoint.text().unwrap_or_default();
    let (scheme, address) = split_outside(text, "://").map_or((None, text), |(scheme, rest)| (Some(scheme), rest));
    let (host, path) = split_outside(address, "/").unwrap_or((address, ""));
    if host == TELEMETRY_HOST || host.starts_with("telemetry.googleapis.com:") {
        return Some(vec![("api", Item::text("telemetry").from(endpoint))]);
    }
    if !is_http {
        let is_insecure = part.filled("tls").is_some_and(|tls| is_insecure(&tls, "insecure", report));
        return Some(vec![("api", Item::text("otlp")), ("endpoint", url(endpoint, is_insecure, report)?)]);
    }
    if !path.is_empty() && path != "v1/traces" {
        let reason = format!("Spansieve speaks OTLP over gRPC, which has no path such as `{}`", shown(path));
        report.not_carried(part, reason, "write the sink's address for gRPC in `export.endpoint`");
        return None;
    }
    report.different(endpoint, http_differs(scheme, host));
    let host = host.strip_suffix(HTTP_PORT).map_or_else(|| host.to_owned(), |host| format!("{host}{GRPC_PORT}"));
    // The Collector wants a scheme here, so without one it is in the variable.
    let address = scheme.map_or_else(|| host.clone(), |scheme| format!("{scheme}://{host}"));
    let refused = |reason| report.not_carried(endpoint, reason, "write the value itself");
    let address = scalar::references(&address).map_err(refused).ok()?;
    let item = Item::text(&address).from(endpoint).or(embedded("the endpoint could not be carried"));
    Some(vec![("api", Item::text("otlp")), ("endpoint", item)])
}

/// Returns the difference between an endpoint for OTLP over HTTP and the one that is written.
fn http_differs(scheme: Option<&str>, host: &str) -> &'static str {
    match (scheme, host.contains("${")) {
        (None, true) => {
            "Spansieve speaks OTLP over gRPC: the variable must contain the sink's address for gRPC with its scheme, such as \
             `http://tempo:4317`"
        }
        (Some(_), true) => {
            "Spansieve speaks OTLP over gRPC: with the value of the variable it must be the sink's address for gRPC, such as \
             `http://tempo:4317`"
        }
        _ => "Spansieve speaks OTLP over gRPC: port 4318 has become 4317, and any other port must speak gRPC",
    }
}

fn headers(part: &Foreign<'_>, pipeline: &Pipeline<'_>, entries: &mut Entries, report: &mut Report) {
    let mut headers = Vec::new();
    for (name, value) in part.filled("headers").map(|headers| headers.entries()).unwrap_or_default() {
        headers.extend(scalar_item(&value, report).map(|item| (name, item)));
    }
    if let Some(auth) = part.filled("auth") {
        let id = auth.get("authenticator").and_then(|id| id.text()).unwrap_or_default();
        match authorization(id, pipeline, report) {
            Some(Some(item)) => {
                headers.push(("authorization", item));
                report.read(&auth);
            }
            Some(None) => report.not_needed(&auth, "Google's credentials are found by the export itself"),
            None => {
                let reason =
                    format!("the authenticator `{}` has no counterpart: calls carry no credentials", shown(id));
                report.not_carried(&auth, reason, "write `export.headers`");
            }
        }
    }
    if !headers.is_empty() {
        entries.push(("headers", Item::map(headers).parts_of(&part.get("headers").unwrap_or_else(|| part.clone()))));
    }
}

/// Returns the header for an authenticator: that of its token, or no header for Google's credentials. `None` if the
/// authenticator has no counterpart.
fn authorization(id: &str, pipeline: &Pipeline<'_>, report: &mut Report) -> Option<Option<Item>> {
    let extension = pipeline.extension(id)?;
    let definition = &extension.definition;
    match extension.kind {
        "googleclientauth" => Some(None),
        "bearertokenauth" => {
            let token = definition.filled("token")?;
            definition.filled("scheme").iter().for_each(|scheme| report.read(scheme));
            let scheme = definition.filled("scheme").and_then(|scheme| scheme.text()).unwrap_or("Bearer");
            let text = scalar::references(&format!("{scheme} {}", token.text()?)).ok()?;
            Some(Some(Item::text(&text).from(&token)))
        }
        _ => None,
    }
}

fn tls(part: &Foreign<'_>, entries: &mut Entries, report: &mut Report) {
    let Some(tls) = part.filled("tls") else { return };
    if let Some(insecure) = tls.filled("insecure").filter(|insecure| !report.tells_all_of(insecure)) {
        report.not_needed(&insecure, "the scheme of the endpoint says it");
    }
    report_rest(&tls, &["ca_file", "insecure"], &TLS_KNOWN, report);
    let item = tls.filled("ca_file").and_then(|file| scalar_item(&file, report));
    entries.extend(item.map(|item| ("tls", Item::map(vec![("ca_file", item)]).parts_of(&tls))));
}

/// Reads what all exporters have: the queue and the retries.
fn helper(part: &Foreign<'_>, parts: &mut Parts<'_>, entries: &mut Entries, report: &mut Report) {
    if let Some(queue) = part.filled("sending_queue") {
        let known = [
            ("enabled", Outcome::NotNeeded, QUEUE),
            ("num_consumers", Outcome::NotNeeded, "calls in flight are adapted to the sink's answers"),
            ("queue_size", Outcome::NotNeeded, QUEUE),
            ("sizer", Outcome::NotNeeded, QUEUE),
            ("block_on_overflow", Outcome::NotNeeded, QUEUE),
            ("wait_for_result", Outcome::NotNeeded, QUEUE),
            (
                "storage",
                Outcome::NotCarried,
                "write `export.spool: {directory: ...}`, which holds kept spans on a disk",
            ),
        ];
        report_rest(&queue, &["batch"], &known, report);
        queue_batch(&queue, parts, report);
    }
    let Some(retry) = part.filled("retry_on_failure") else { return };
    let known = [
        ("initial_interval", Outcome::NotNeeded, "retries follow the sink's answers (docs/delivery.md)"),
        ("max_interval", Outcome::NotNeeded, "retries follow the sink's answers (docs/delivery.md)"),
        ("randomization_factor", Outcome::NotNeeded, "retries follow the sink's answers (docs/delivery.md)"),
        ("multiplier", Outcome::NotNeeded, "retries follow the sink's answers (docs/delivery.md)"),
    ];
    if let Some(off) = retry.get("enabled").filter(|enabled| enabled.boolean() == Some(false)) {
        report.different(&off, "spans are retried until they are written, or `give_up_after` is over");
    }
    retry.get("enabled").iter().for_each(|enabled| report.read(enabled));
    report_rest(&retry, &["enabled", "max_elapsed_time"], &known, report);
    carry(&retry, "max_elapsed_time", "give_up_after", entries, report);
}

const QUEUE: &str = "kept spans wait in the memory budget, and then in `export.spool` if there is one";

fn queue_batch(queue: &Foreign<'_>, parts: &mut Parts<'_>, report: &mut Report) {
    let Some(batch) = queue.filled("batch") else { return };
    let mut entries = Vec::new();
    let is_spans = batch.filled("sizer").or_else(|| queue.filled("sizer")).is_none_or(|sizer| sizer.is_text("items"));
    let sizes = ["max_size", "min_size"].iter().filter_map(|key| batch.filled(key));
    let (unset, sizes): (Vec<_>, Vec<_>) = sizes.partition(|size| size.count() == Some(0));
    unset.iter().for_each(|unset| report.not_needed(unset, "0 is no limit"));
    let mut sizes = sizes.into_iter();
    let size = sizes.next();
    sizes.for_each(|other| report.not_needed(&other, "batches have one size here: `max_size`"));
    batch.filled("sizer").iter().for_each(|sizer| report.read(sizer));
    match size {
        Some(size) if is_spans => entries.extend(scalar_item(&size, report).map(|item| ("max_spans", item))),
        Some(size) => {
            report.not_carried(&size, "batches are counted in spans and bytes", "write `export.batch.max_bytes`");
        }
        None => {}
    }
    if let Some(delay) = batch.filled("flush_timeout") {
        entries.extend(scalar_item(&delay, report).map(|item| ("max_delay", item)));
    }
    report_rest(&batch, &["max_size", "min_size", "flush_timeout", "sizer"], &[], report);
    add_batch(parts, &batch, entries, report);
}
