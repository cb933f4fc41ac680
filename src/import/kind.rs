//! Recognizes the program that a file was written for.

use super::foreign::Foreign;
use crate::settings::diagnostic::{Diagnostic, SettingError};
use crate::settings::node::Node;
use crate::settings::suggest::{COLLECTOR_SECTIONS, REFINERY_SECTIONS};
use crate::settings::values::not_a_section;

/// A program whose files can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignKind {
    /// The OpenTelemetry Collector.
    Collector,
    /// Refinery. Only its rules can be imported, in version 2 of their format.
    Refinery,
}

impl ForeignKind {
    /// Returns the words for a file of this program.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            ForeignKind::Collector => "a Collector's configuration",
            ForeignKind::Refinery => "Refinery's rules",
        }
    }
}

/// Keys of files that cannot be imported, each with the message and the help. They are a section of Refinery's other
/// file, and keys of rules in the first version of their format.
const REFINERY_OTHERS: [(&str, &str, &str); 3] = [
    (
        "General",
        "this is Refinery's own configuration, not its rules",
        "import the file with `RulesVersion` and `Samplers`; for this one, see docs/migrating-from-the-collector.md",
    ),
    ("Sampler", OLD_RULES, CONVERT),
    ("DryRun", OLD_RULES, CONVERT),
];
const OLD_RULES: &str = "these are rules of Refinery 1, whose format had no version";
const CONVERT: &str = "convert them with Refinery's own `convert rules`, and import the result";
/// Sections that only a configuration of Spansieve has.
const OWN_SECTIONS: [&str; 6] = ["otlp", "export", "cloud_trace", "journal", "memory", "telemetry"];
/// Paths of a Collector's configuration in files that wrap it: a resource of the OpenTelemetry Operator for Kubernetes,
/// and values of the Helm chart.
const WRAPPERS: [&[&str]; 2] = [&["spec", "config"], &["config"]];

/// Returns the program that the file was written for, and the part of the file that is to be imported.
pub(super) fn recognize(tree: &Node) -> Result<(ForeignKind, Foreign<'_>), Diagnostic> {
    let root = Foreign::root(tree);
    if !root.is_section() {
        return Err(not_a_section(tree).help(KNOWN_BY).error(tree.at));
    }
    if REFINERY_SECTIONS.iter().any(|key| root.get(key).is_some()) {
        return Ok((ForeignKind::Refinery, root));
    }
    if is_collector(&root) || is_processors(&root) {
        return Ok((ForeignKind::Collector, root));
    }
    let wrapped = WRAPPERS.iter().find_map(|keys| root.find(keys)).filter(is_collector);
    wrapped.map(|inner| (ForeignKind::Collector, inner.called(""))).ok_or_else(|| refusal(&root))
}

const KNOWN_BY: &str = "a Collector's configuration has the sections `receivers`, `processors`, `exporters` and \
                        `service`; Refinery's rules have `RulesVersion: 2` and `Samplers`";

fn is_collector(value: &Foreign<'_>) -> bool {
    COLLECTOR_SECTIONS.iter().any(|section| value.get(section).is_some())
}

/// Returns true if the file has `tail_sampling` at its top level, as examples of single processors do.
fn is_processors(root: &Foreign<'_>) -> bool {
    let is_sampler = |key: &str| key.split('/').next() == Some("tail_sampling");
    OWN_SECTIONS.iter().all(|section| root.get(section).is_none())
        && root.entries().iter().any(|(key, _)| is_sampler(key))
}

fn refusal(root: &Foreign<'_>) -> Diagnostic {
    if let Some(text) = WRAPPERS.iter().find_map(|keys| root.find(keys)).filter(|inner| inner.text().is_some()) {
        let fault = SettingError::new("the configuration is a text within this file");
        return fault.help("write the text to its own file, and import that file").error(text.at);
    }
    if let Some(own) = OWN_SECTIONS.iter().find_map(|section| root.get(section)) {
        let fault = SettingError::new("this is a configuration of Spansieve already");
        return fault.help("check it with `spansieve validate FILE`").error(own.at);
    }
    for (key, message, help) in REFINERY_OTHERS {
        if let Some(found) = root.get(key) {
            return SettingError::new(message).help(help).error(found.at);
        }
    }
    let fault = SettingError::new("neither a Collector's configuration nor Refinery's rules");
    fault.help(KNOWN_BY).error(root.node().at)
}
