//! All keys that the modules declare.

use super::settings::Settings;
use crate::settings::Declared;
use crate::settings::setting::{SectionKeys, Setting};

/// Returns all keys of a configuration, in the order of their declaration.
pub(super) fn declared() -> Vec<Setting> {
    declared_by::<Settings>()
}

/// Returns all keys that `T` declares, in the order of their declaration.
pub(super) fn declared_by<T: Declared>() -> Vec<Setting> {
    let mut all = Vec::new();
    T::describe(&mut SectionKeys::top(&mut all));
    all
}

/// Returns the paths of all keys.
pub(super) fn paths(declared: &[Setting]) -> Vec<String> {
    declared.iter().map(|setting| setting.path.clone()).collect()
}

/// Returns the names of the keys whose values are secrets.
pub(super) fn secrets(declared: &[Setting]) -> Vec<String> {
    let secrets = declared.iter().filter(|setting| setting.shape.is_secret());
    secrets.map(|setting| setting.path.rsplit('.').next().unwrap_or_default().to_owned()).collect()
}

/// Returns the names of the sections that have secrets in them, at any depth.
pub(super) fn sections_of_secrets(declared: &[Setting]) -> Vec<String> {
    let secrets = declared.iter().filter(|setting| setting.shape.is_secret());
    let sections = secrets.flat_map(|setting| setting.path.rsplit('.').skip(1));
    let mut names: Vec<String> = sections.map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    names
}
