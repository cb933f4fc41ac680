//! Reads the sections of a configuration that belong to this crate, for tests.

use std::io;

use crate::resource::settings::ResourceSettings;
use crate::settings::diagnostic::Severity;
use crate::settings::kinds::{Filled, Sub};
use crate::settings::reader::{ReadContext, Section};
use crate::settings::setting::SectionKeys;
use crate::settings::{Declared, document, section};
use crate::span_metrics::settings::SpanMetricsSettings;
use crate::tail::settings::{Memory, TailSampling};

section! {
    /// The sections of this crate.
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) struct Settings {
        /// The section `tail_sampling`.
        pub(crate) tail_sampling: TailSampling = TailSampling::default(), Sub;
        /// The section `span_metrics`.
        pub(crate) span_metrics: Option<SpanMetricsSettings> = None, Filled;
        /// The section `resource`.
        pub(crate) resource: ResourceSettings = ResourceSettings::default(), Sub;
        /// The section `memory`.
        pub(crate) memory: Memory = Memory::default(), Sub;
    }
}

/// Reads a configuration in YAML.
///
/// # Errors
/// All problems in words, including warnings. Warnings alone are not an error.
pub(crate) fn load(text: &str) -> Result<Settings, String> {
    let mut problems = Vec::new();
    let mut settings = Settings::default();
    let mut keys = Vec::new();
    Settings::describe(&mut SectionKeys::top(&mut keys));
    let paths: Vec<String> = keys.into_iter().map(|key| key.path).collect();
    match document::parse(text, Some(&|_| None), &mut problems) {
        Ok(Some(root)) => {
            let files = &|_: &std::path::Path| Err(io::ErrorKind::NotFound.into());
            let context = ReadContext { paths: &paths, secrets: &[], files };
            if let Some(mut top) = Section::open(context, &root, String::new(), &mut problems) {
                settings.read(&mut top);
            }
        }
        Ok(None) => {}
        Err(problem) => problems.push(problem),
    }
    if problems.iter().all(|problem| problem.severity == Severity::Warning) {
        return Ok(settings);
    }
    Err(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}
