//! The file of a configuration that is run, to be applied again when it changes.

use std::sync::Arc;

use super::{ConfigSource, compiled, environment, source};
use crate::config::{self, Loaded};
use crate::daemon::ConfigFile;

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
fn load(text: &str, name: &str) -> Result<Loaded, String> {
    let loaded = config::load_with_files(text, &environment, &source::file).map_err(|problems| problems.to_string())?;
    compiled(&loaded.settings)?;
    for warning in &loaded.warnings {
        tracing::warn!("{name}:{warning}");
    }
    Ok(loaded)
}
