//! Suggestions for unknown keys and names.

use super::diagnostic::{SettingError, quote};

/// Returns the path of `key` in the section `path`.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Returns the names of the keys in the section `path`, of all keys with these `paths`.
pub(crate) fn of_section<'a>(paths: &'a [String], path: &str) -> impl Iterator<Item = &'a str> + Clone {
    paths.iter().filter_map(move |key| {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        (section == path).then_some(name)
    })
}

/// The sections of a Collector's configuration (<https://opentelemetry.io/docs/collector/configuration/>).
pub const COLLECTOR_SECTIONS: [&str; 6] =
    ["receivers", "processors", "exporters", "connectors", "extensions", "service"];

/// The keys of Refinery's rules (refinery `config/sampler_config.go`, `V2SamplerConfig`).
pub const REFINERY_SECTIONS: [&str; 2] = ["RulesVersion", "Samplers"];

/// Returns the fault of `key`, which the section `path` does not have, with the key that was probably meant. `paths` are those
/// of all keys; `is_written` returns true for a key that the section has.
pub fn unknown(paths: &[String], path: &str, key: &str, is_written: impl Fn(&str) -> bool) -> SettingError {
    let fault = SettingError::new(format!("unknown key {}", quote(key)));
    if key == "<<" {
        return fault.help("merge keys are not part of YAML 1.2: write the keys out");
    }
    if path.is_empty() && COLLECTOR_SECTIONS.contains(&key) {
        let is_earlier = |section: &&&str| **section != key && is_written(section);
        return match COLLECTOR_SECTIONS.iter().take_while(|section| **section != key).find(is_earlier) {
            Some(earlier) => fault.help(format!("like {}, it is a section of a Collector's configuration", quote(earlier))),
            None => fault.help(
                "this is a section of an OpenTelemetry Collector's configuration: `spansieve import FILE` turns it into \
                 one of Spansieve; docs/migrating-from-the-collector.md has the differences",
            ),
        };
    }
    if path.is_empty() && REFINERY_SECTIONS.contains(&key) {
        return fault
            .help("these are Refinery's rules: `spansieve import FILE` turns them into a configuration of Spansieve");
    }
    let known = of_section(paths, path);
    if let Some(help) = did_you_mean(key, known.clone().filter(|name| !is_written(name))) {
        return fault.help(help);
    }
    // A slip of the pen for a key that is written already does not come from another section.
    let is_slip = closest(key, known.clone()).is_some();
    match elsewhere(paths, path, key).filter(|_| !is_slip) {
        Some((section, name)) => fault.help(format!("did you mean `{name}` of `{section}`?")),
        None => fault.help(format!("known here: {}", known.collect::<Vec<_>>().join(", "))),
    }
}

/// Returns the section, other than `path`, that has `key`, or a key of one letter less, more or other. Keys in the items of
/// a list are suggested only in that list: a stray `service` does not stand for the `service` of a latency threshold.
fn elsewhere<'a>(paths: &'a [String], path: &str, key: &str) -> Option<(&'a str, &'a str)> {
    let is_near = |section: &str| section.rsplit_once("[]").is_none_or(|(list, _)| path.starts_with(list));
    let distance_max = usize::from(key.chars().count() > ONE_LETTER_CHARS_MIN);
    let candidates = paths.iter().filter_map(|path| path.rsplit_once('.'));
    let candidates = candidates.filter(|(section, _)| *section != path && is_near(section));
    let distances = candidates.map(|entry| (strsim::damerau_levenshtein(key, entry.1), entry));
    distances
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, entry)| entry)
}

/// The length in characters of a word in which one other letter makes another word; shorter words count as well.
const ONE_LETTER_CHARS_MIN: usize = 4;

/// Returns the one of `known` that `word` probably stands for: up to a third of its letters may be wrong, or it may be cut off or
/// continued.
fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let distance_max = word.chars().count() / 3;
    let distances = known.filter_map(|name| {
        let lower = name.to_lowercase();
        let (short, long) = if lower.len() < word.len() { (&lower, &word) } else { (&word, &lower) };
        let is_cut = short.len() >= 3 && long.starts_with(short.as_str());
        let distance = strsim::damerau_levenshtein(&word, &lower);
        (is_cut || distance <= distance_max).then_some((distance, name))
    });
    distances.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// Returns the question whether the closest of `known` was meant, as a help text.
pub fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    closest(word, known).map(|name| format!("did you mean `{name}`?"))
}

#[cfg(test)]
mod tests;
