//! Reads the settings from the tree, and checks those of different modules against each other.

use std::io;

use super::Files;
use super::keys;
use super::settings::Settings;
use crate::export::settings::{Endpoint, ExportApi};
use crate::policy_tests::TestFile;
use crate::resource::settings::Normalize;
use crate::settings::diagnostic::{Diagnostic, SettingError};
use crate::settings::node::{Node, NodeValue};
use crate::settings::reader::{ReadContext, Section};
use crate::settings::{Declared, Size};

const EXPORT: &str = "export";
/// The name of the section `export` in the first version, when Cloud Trace was the only sink.
const EXPORT_FORMERLY: &str = "cloud_trace";

/// Gives the section `cloud_trace` of `root` its present name, with a warning. It is an error if the section `export` is
/// written, too; then `cloud_trace` is left out.
pub(super) fn rename_sections(root: &mut Node, problems: &mut Vec<Diagnostic>) {
    let NodeValue::Map(entries) = &mut root.value else { return };
    let has_export = entries.iter().any(|(key, _)| key.name == EXPORT);
    for (key, _) in entries.iter_mut().filter(|(key, _)| key.name == EXPORT_FORMERLY) {
        problems.push(if has_export {
            let fault = SettingError::new("the section `export` is given twice, once by its old name `cloud_trace`");
            fault.help("move the settings of `cloud_trace` to `export`").error(key.at)
        } else {
            EXPORT.clone_into(&mut key.name);
            let fault = SettingError::new("the section `cloud_trace` is now called `export`");
            fault.help("write `export:`; the old name is still taken").warning(key.at)
        });
    }
    entries.retain(|(key, _)| key.name != EXPORT_FORMERLY);
}

/// Returns the file with tests in `root`.
pub(super) fn test_file(root: Option<&Node>, problems: &mut Vec<Diagnostic>) -> TestFile {
    let mut file = TestFile::default();
    let Some(root) = root.filter(|root| !root.is_null()) else { return file };
    let paths = keys::paths(&keys::declared_by::<TestFile>());
    let context = ReadContext { paths: &paths, secrets: &[], files: &|_| Err(io::ErrorKind::NotFound.into()) };
    if let Some(mut top) = Section::open(context, root, String::new(), problems) {
        file.read(&mut top);
    }
    file
}

/// Returns the settings in `root`, with the default for each one that is not written or wrong.
pub(super) fn settings(root: Option<&Node>, files: Files<'_>, problems: &mut Vec<Diagnostic>) -> Settings {
    let mut settings = Settings::default();
    let Some(root) = root.filter(|root| !root.is_null()) else { return settings };
    let declared = keys::declared();
    let (paths, secrets) = (keys::paths(&declared), keys::secrets(&declared));
    let context = ReadContext { paths: &paths, secrets: &secrets, files };
    let Some(mut top) = Section::open(context, root, String::new(), problems) else { return settings };
    settings.read(&mut top);
    listen_twice(root, &settings, problems);
    api_for_every_sender(root, &settings, problems);
    api_for_every_client(root, &settings, problems);
    recording_for_every_client(root, &settings, problems);
    spans_normalized_for_otlp(root, &settings, problems);
    request_beyond_memory(root, &settings, problems);
    request_beyond_journal(root, &settings, problems);
    directory_twice(root, &settings, problems);
    settings
}

/// Reports an address that two sections listen on. The addresses of `otlp` are compared with each other where they are read.
fn listen_twice(root: &Node, settings: &Settings, problems: &mut Vec<Diagnostic>) {
    let otlp = settings.otlp.listen.iter().map(|address| ("otlp", address.as_str()));
    let embedded = Some(settings.export.embedded.listen.as_str());
    let embedded = embedded.filter(|_| settings.export.endpoint == Endpoint::Embedded);
    let telemetry = settings.telemetry.listen.as_deref();
    // The API may share the address of another section.
    let shares =
        |address: &&str| telemetry == Some(*address) || settings.otlp.listen.iter().any(|otlp| otlp == address);
    let api = settings.api.listen.as_deref().filter(|address| !shares(address));
    let others = [("export.embedded", embedded), ("telemetry", telemetry), ("api", api)];
    let mut taken: Vec<(&str, &str)> = otlp.collect();
    for (section, address) in others.into_iter().filter_map(|(section, address)| Some((section, address?))) {
        if let Some((other, place)) = taken.iter().find(|(_, other)| collide(other, address)) {
            let keys: Vec<&str> = section.split('.').chain(["listen"]).collect();
            let Some(node) = root.find(&keys).or_else(|| root.find(&[other, "listen"])) else { return };
            if !is_reported(node, problems) {
                let fault = SettingError::new(format!("`{address}` of `{section}` is taken by `{place}` of `{other}`"));
                problems.push(fault.help("give one of them another port").error(node.at));
            }
        }
        taken.push((section, address));
    }
}

/// Warns that every client that can send spans can also ask the API.
fn api_for_every_sender(root: &Node, settings: &Settings, problems: &mut Vec<Diagnostic>) {
    let Some(node) = root.find(&["api", "listen"]) else { return };
    let is_shared = settings.api.listen.as_ref().is_some_and(|address| settings.otlp.listen.contains(address));
    if is_shared && settings.api.auth.is_none() && settings.otlp.auth.is_none() {
        let fault = SettingError::new("every client that can send spans can also ask the API");
        let help = "write `api.auth` or `otlp.auth`, or give the API an address of its own";
        problems.push(fault.help(help).warning(node.at));
    }
}

/// Returns true if only clients on this machine reach the address.
fn is_local(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host == "localhost" || host == "[::1]" || host.starts_with("127.")
}

/// Warns that every client on the network can ask the API. It names traces, services and the configuration.
fn api_for_every_client(root: &Node, settings: &Settings, problems: &mut Vec<Diagnostic>) {
    let Some(node) = root.find(&["api", "listen"]) else { return };
    let is_shared = |address: &str| settings.otlp.listen.iter().any(|otlp| otlp == address);
    let Some(address) = settings.api.listen.as_deref().filter(|address| !is_local(address) && !is_shared(address))
    else {
        return;
    };
    // The warning about recordings says more.
    let has_auth = settings.api.auth.is_some() || settings.otlp.auth.is_some();
    if !has_auth && !settings.api.recording.enabled && !is_reported(node, problems) {
        let fault = SettingError::new(format!("every client that can reach `{address}` can ask the API"));
        problems.push(fault.help("write `api.auth` or `otlp.auth`, or listen on 127.0.0.1").warning(node.at));
    }
}

/// Warns that every client on the network can record all spans.
fn recording_for_every_client(root: &Node, settings: &Settings, problems: &mut Vec<Diagnostic>) {
    let Some(node) = root.find(&["api", "recording", "enabled"]) else { return };
    let Some(address) = settings.api.listen.as_deref().filter(|_| settings.api.recording.enabled) else { return };
    if !is_local(address) && settings.api.auth.is_none() && settings.otlp.auth.is_none() {
        let fault = SettingError::new(format!("every client that can reach `{address}` can record all spans"));
        problems.push(fault.help("write `api.auth`, or listen on 127.0.0.1").warning(node.at));
    }
}

/// Warns that spans go to OTLP sinks as they were sent.
fn spans_normalized_for_otlp(root: &Node, settings: &Settings, problems: &mut Vec<Diagnostic>) {
    let Some(node) = root.find(&["resource", "normalize"]) else { return };
    if settings.export.api != ExportApi::CloudTrace && settings.resource.normalize == Normalize::Span {
        let fault =
            SettingError::new("spans are normalized only with `export.api: cloud_trace`, and here only resources");
        problems.push(fault.help("write `resource`").warning(node.at));
    }
}

/// Reports requests that are larger than the budget, because they would always be refused.
fn request_beyond_memory(root: &Node, settings: &Settings, problems: &mut Vec<Diagnostic>) {
    let Size::Bytes(limit) = settings.memory.limit else { return };
    let Some(node) = root.find(&["memory", "limit"]) else { return };
    let request = root.find(&["otlp", "max_request_bytes"]);
    if settings.otlp.max_request_bytes as u64 > limit && !request.is_some_and(|node| is_reported(node, problems)) {
        let fault = SettingError::new("`memory.limit` is less than `otlp.max_request_bytes`");
        problems.push(fault.help("raise the limit, or take smaller requests").error(node.at));
    }
}

/// Reports requests that are larger than the journal, because they would always be refused.
fn request_beyond_journal(root: &Node, settings: &Settings, problems: &mut Vec<Diagnostic>) {
    let Some(journal) = &settings.journal else { return };
    let keys: [&[&str]; 2] = [&["journal", "max_bytes"], &["otlp", "max_request_bytes"]];
    let Some(node) = keys.into_iter().find_map(|key| root.find(key)) else { return };
    if settings.otlp.max_request_bytes as u64 >= journal.max_bytes && !is_reported(node, problems) {
        let fault = SettingError::new("`journal.max_bytes` is not more than `otlp.max_request_bytes`");
        problems.push(fault.help("let the journal have more, or take smaller requests").error(node.at));
    }
}

/// Reports a directory that the journal and the spool share, because each would warn of the other's files.
fn directory_twice(root: &Node, settings: &Settings, problems: &mut Vec<Diagnostic>) {
    let (Some(journal), Some(spool)) = (&settings.journal, &settings.export.spool) else { return };
    let Some(node) = root.find(&["export", "spool", "directory"]) else { return };
    if journal.directory == spool.directory {
        let fault = SettingError::new("`journal.directory` and `export.spool.directory` are the same");
        problems.push(fault.help("give each a directory of its own").error(node.at));
    }
}

/// Returns true if the value itself is wrong, so that the default stands in its place.
fn is_reported(node: &Node, problems: &[Diagnostic]) -> bool {
    problems.iter().any(|problem| (problem.line, problem.column) == (node.at.line, node.at.column))
}

/// Returns true if both addresses cannot be listened on at once.
fn collide(a: &str, b: &str) -> bool {
    let (Some((a_host, a_port)), Some((b_host, b_port))) = (a.rsplit_once(':'), b.rsplit_once(':')) else {
        return false;
    };
    let any = ["0.0.0.0", "[::]"];
    a_port == b_port && a_port != "0" && (a_host == b_host || any.contains(&a_host) || any.contains(&b_host))
}
