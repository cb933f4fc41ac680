//! `export`: where kept spans go.

use http::HeaderMap;

use crate::config::Files;
use crate::config::defaults::SPOOL_BYTES as SPOOL_BYTES_DEFAULT;
use crate::config::limits::{
    ALLOWED_HOSTS, ALLOWED_PROJECTS, BATCH_BYTES, BATCH_DELAY, BATCH_SPANS, EMBEDDED_BYTES, GIVE_UP_AFTER,
    HEADER_COUNT, MAPPING_COUNT, SPOOL_BYTES,
};
use crate::config::settings::{
    AllowedProjects, AttributeMapping, BaseMapping, Endpoint, Export, ExportApi, ExportTls, SpoolSettings,
};
use crate::config::values::{self, ANY_PROJECT};
use crate::settings::diagnostic::{SettingError, quote};
use crate::settings::node::Node;
use crate::settings::reader::Section;

/// The project of spans that are written to the embedded Cloud Trace, which has no ambient one.
const EMBEDDED_PROJECT: &str = "local-project";

const APIS: [(&str, ExportApi); 3] =
    [("cloud_trace", ExportApi::CloudTrace), ("telemetry", ExportApi::Telemetry), ("otlp", ExportApi::Otlp)];
/// The name of the API `cloud_trace` in the first version.
const CLOUD_TRACE_FORMERLY: &str = "v2";
const TELEMETRY_ENDPOINT: &str = "https://telemetry.googleapis.com";
/// The keys that have an effect only with `api: cloud_trace`.
const CLOUD_TRACE_KEYS: [&str; 2] = ["attribute_mapping", "cloud_run_revision"];

const BASE_MAPPINGS: [(&str, BaseMapping); 3] =
    [("none", BaseMapping::None), ("google", BaseMapping::Google), ("console", BaseMapping::Console)];

pub(super) fn export(mut section: Section<'_>, files: Files<'_>, export: &mut Export) {
    api(&mut section, &mut export.api);
    endpoint(&mut section, export);
    headers(&mut section, &mut export.headers);
    // Empty means ambient, so that `${env:PROJECT:-}` can be written.
    section.set("project", &mut export.project, |node| {
        if node.is_null() { Ok(None) } else { values::project(node).map(Some) }
    });
    let mut allowed = Vec::new();
    section.set_list("allowed_projects", &ALLOWED_PROJECTS, &mut allowed, values::allowed_project);
    export.allowed_projects = match allowed.iter().any(|project| project == ANY_PROJECT) {
        true => AllowedProjects::Any,
        false => AllowedProjects::Listed(allowed),
    };
    if let Some(section) = section.section("tls") {
        tls(section, files, &export.endpoint, &mut export.tls);
    }
    if let Some(mut section) = section.section("embedded") {
        section.set("listen", &mut export.embedded.listen, values::address);
        section.set_list("allowed_hosts", &ALLOWED_HOSTS, &mut export.embedded.allowed_hosts, values::host_name);
        section.set("max_bytes", &mut export.embedded.max_bytes, |node| values::byte_count(node, &EMBEDDED_BYTES));
    }
    attribute_mapping(&mut section, &mut export.attribute_mapping);
    section.set("cloud_run_revision", &mut export.cloud_run_revision, values::boolean);
    section.set("destination_project_quota", &mut export.destination_project_quota, values::boolean);
    if let Some((at, _)) = section.entry("destination_project_quota").filter(|_| export.api == ExportApi::Otlp) {
        let fault = SettingError::new("`destination_project_quota` has no effect: only Google counts calls by project");
        section.warn(at, fault.help("leave it out, or write `api: cloud_trace` or `api: telemetry`"));
    }
    if let Some(mut section) = section.section("batch") {
        let batch = &mut export.batch;
        section.set("max_spans", &mut batch.max_spans, |node| values::count(node, &BATCH_SPANS));
        section.set("max_bytes", &mut batch.max_bytes, |node| values::byte_count(node, &BATCH_BYTES));
        section.set("max_delay", &mut batch.max_delay, |node| values::duration(node, &BATCH_DELAY));
    }
    if let Some(section) = section.section("spool") {
        export.spool = spool(section);
    }
    section.set("give_up_after", &mut export.give_up_after, |node| values::duration(node, &GIVE_UP_AFTER));
    if export.endpoint == Endpoint::Embedded {
        export.project.get_or_insert_with(|| EMBEDDED_PROJECT.to_owned());
    }
}

fn api(section: &mut Section<'_>, api: &mut ExportApi) {
    match section.entry("api") {
        Some((_, node)) if node.is_text(CLOUD_TRACE_FORMERLY) => {
            *api = ExportApi::CloudTrace;
            let fault = SettingError::new("the API `v2` is now called `cloud_trace`");
            section.warn(node.at, fault.help("write `api: cloud_trace`; the old name is still taken"));
        }
        _ => section.set("api", api, |node| values::choice(node, "API", &APIS)),
    }
}

fn endpoint(section: &mut Section<'_>, export: &mut Export) {
    let api = export.api;
    if api == ExportApi::Telemetry {
        export.endpoint = Endpoint::Tls(TELEMETRY_ENDPOINT.to_owned());
    }
    section.set("endpoint", &mut export.endpoint, values::endpoint);
    match section.entry("endpoint") {
        Some((_, node)) if export.endpoint == Endpoint::Embedded && api != ExportApi::CloudTrace => {
            let fault = SettingError::new("the embedded Cloud Trace takes no OTLP");
            section.error(node.at, fault.help("leave `api` out, or name an endpoint that takes OTLP over gRPC"));
        }
        None if api == ExportApi::Otlp && !section.has("endpoint") => {
            let at = section.entry("api").map_or(section.at(), |(at, _)| at);
            let fault = SettingError::new("`api: otlp` has no endpoint of its own");
            section.error(at, fault.help("add `endpoint: http://host:port` or `endpoint: https://host[:port]`"));
        }
        _ => {}
    }
    for key in CLOUD_TRACE_KEYS.into_iter().filter(|_| api != ExportApi::CloudTrace) {
        if let Some((at, _)) = section.entry(key) {
            let fault = SettingError::new(format!("`{key}` has no effect: OTLP carries attributes as they are"));
            section.warn(at, fault.help("leave it out, or write `api: cloud_trace`"));
        }
    }
}

fn headers(section: &mut Section<'_>, headers: &mut HeaderMap) {
    for (key, node) in section.own_entries("headers") {
        let header = values::header_name(&key.name).map_err(|fault| (key.at, fault)).and_then(|name| {
            if headers.contains_key(&name) {
                return Err((key.at, SettingError::new(format!("the header {} is given twice", quote(&key.name)))));
            }
            values::header_value(node).map(|value| (name, value)).map_err(|fault| (node.at, fault))
        });
        match header {
            Ok((name, value)) => _ = headers.insert(name, value),
            Err((at, fault)) => section.error(at, fault),
        }
    }
    if let Some((at, _)) = section.entry("headers").filter(|_| headers.len() > HEADER_COUNT) {
        let fault = SettingError::new(format!("{} headers", headers.len()));
        section.error(at, fault.help(format!("at most {HEADER_COUNT}: each call carries all of them")));
    }
}

fn tls(mut section: Section<'_>, files: Files<'_>, endpoint: &Endpoint, tls: &mut ExportTls) {
    // Empty means none, so that `${env:CA_FILE:-}` can be written.
    section.set("ca_file", &mut tls.ca_pem, |node| {
        if node.is_null() { Ok(None) } else { values::certificates(node, files).map(Some) }
    });
    if let (Some(_), false, Some((at, _))) =
        (&tls.ca_pem, matches!(endpoint, Endpoint::Tls(_)), section.entry("ca_file"))
    {
        let fault = SettingError::new("`ca_file` has no effect: the endpoint has no TLS");
        section.warn(at, fault.help("leave it out, or write an endpoint that begins with `https://`"));
    }
}

fn spool(section: Section<'_>) -> Option<SpoolSettings> {
    super::directory_of_files(section, SPOOL_BYTES_DEFAULT, &SPOOL_BYTES)
        .map(|(directory, max_bytes)| SpoolSettings { directory, max_bytes })
}

/// The name of a base alone, or a section.
fn attribute_mapping(section: &mut Section<'_>, mapping: &mut AttributeMapping) {
    let base = |node: &Node| values::choice(node, "attribute mapping", &BASE_MAPPINGS);
    if section.entry("attribute_mapping").is_some_and(|(_, node)| node.is_scalar()) {
        return section.set("attribute_mapping", &mut mapping.base, base);
    }
    let Some(mut section) = section.section("attribute_mapping") else { return };
    section.set("base", &mut mapping.base, base);
    for node in section.items("own", &MAPPING_COUNT).unwrap_or_default() {
        let pair = section.item("own", node).and_then(renamed_key);
        if let Some((key, _)) = pair.as_ref().filter(|(key, _)| mapping.own.iter().any(|(known, _)| known == key)) {
            section
                .error(node.at, SettingError::new(format!("the key {} is given twice", quote(key))).help("keep one"));
        }
        mapping.own.extend(pair);
    }
}

fn renamed_key(mut section: Section<'_>) -> Option<(String, String)> {
    section.refuse_unknown(&[]);
    let key = section.require("key", values::attribute_key);
    let replacement = section.require("replacement", values::attribute_key);
    key.zip(replacement)
}
