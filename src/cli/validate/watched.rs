//! The file of a configuration that is run, to be applied again when it changes.

use std::sync::Arc;

use super::{ConfigSource, compiled, environment, source};
use crate::config::{self, ConfigError, Loaded, Severity};
use crate::daemon::{ConfigFile, Unusable};

/// Returns the file of a configuration that was loaded with this `text`. `None` if it is not from a file that can be
/// read again.
#[must_use]
pub fn watched(source: &ConfigSource, text: &str) -> Option<ConfigFile> {
    let ConfigSource::File(path) = source else { return None };
    let is_regular = std::fs::metadata(path).is_ok_and(|file| file.is_file());
    let name = path.display().to_string();
    let load = move |text: &str| load(text, &name);
    is_regular.then(|| ConfigFile::loaded(path.clone(), text, Arc::new(load)))
}

/// Reads the changed configuration `text` of the file `name`. Its warnings go to the log.
fn load(text: &str, name: &str) -> Result<Loaded, Unusable> {
    let loaded = config::load_with_files(text, &environment, &source::file).map_err(|problems| unusable(&problems))?;
    compiled(&loaded.settings)?;
    for warning in &loaded.warnings {
        tracing::warn!("{name}:{warning}");
    }
    Ok(loaded)
}

fn unusable(problems: &ConfigError) -> Unusable {
    let mut errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    let first = errors.next().map_or_else(String::new, |first| format!(" at {}:{}", first.line, first.column));
    let kind = match errors.count() {
        0 => format!("an error{first}"),
        more => format!("{} errors, the first{first}", more + 1),
    };
    Unusable { reason: problems.to_string(), kind }
}
