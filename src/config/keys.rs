//! The one table of known keys, and what to suggest for unknown ones.

use crate::journal::settings::Journal;
use crate::receiver::settings::Otlp;
use crate::resource::settings::ResourceSettings;
use crate::settings::kinds::{SettingKind, Sub, SubIf};
use crate::settings::setting::{SectionKeys, Setting};
use crate::tail::settings::{Memory, TailSampling};
use crate::telemetry::settings::Telemetry;

/// Every key by its path; `[]` stands for each item of a list. `docs/configuration.md` lists the same.
const KEYS: &[&str] = &[
    "export",
    "export.api",
    "export.endpoint",
    "export.headers",
    "export.project",
    "export.allowed_projects",
    "export.tls",
    "export.tls.ca_file",
    "export.embedded",
    "export.embedded.listen",
    "export.embedded.allowed_hosts",
    "export.embedded.max_bytes",
    "export.attribute_mapping",
    "export.attribute_mapping.base",
    "export.attribute_mapping.own",
    "export.attribute_mapping.own[].key",
    "export.attribute_mapping.own[].replacement",
    "export.cloud_run_revision",
    "export.batch",
    "export.batch.max_spans",
    "export.batch.max_bytes",
    "export.batch.max_delay",
    "export.spool",
    "export.spool.directory",
    "export.spool.max_bytes",
    "export.destination_project_quota",
    "export.give_up_after",
];

/// Returns the keys that modules declare.
pub(super) fn declared() -> Vec<Setting> {
    let mut all = Vec::new();
    let mut top = SectionKeys::top(&mut all);
    Sub.describe(top.at("otlp", ""), &Otlp::default());
    SubIf(Journal::has_directory).describe(top.at("journal", "Off without it."), &None);
    Sub.describe(top.at("tail_sampling", ""), &TailSampling::default());
    Sub.describe(top.at("resource", ""), &ResourceSettings::default());
    Sub.describe(top.at("memory", ""), &Memory::default());
    Sub.describe(top.at("telemetry", ""), &Telemetry::default());
    all
}

/// Returns the paths of all keys.
pub(super) fn paths() -> Vec<String> {
    declared().into_iter().map(|setting| setting.path).chain(KEYS.iter().map(|&path| path.to_owned())).collect()
}
