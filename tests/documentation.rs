//! Every YAML example of the documentation can be read as a configuration and compiled.
//!
//! A fence marked `yaml` is a complete configuration: missing keys have their defaults. A fence that begins with
//! `processors:` is a file of the Collector, and the part below that line must be usable when it is pasted. Only such
//! files may cause warnings, and only for keys that have no effect here, or for errors that a `drop` of the Collector drops.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use spansieve::config;
use spansieve::sampling::Policies;

/// Returns `README.md` and all files in `docs/`.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .chain([root.join("README.md")])
        .collect()
}

/// Returns the fences marked `yaml` of a document, each with the number of its first line.
fn examples(document: &str) -> Vec<(usize, String)> {
    let mut examples = Vec::new();
    let mut lines = document.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.trim() == "```yaml" {
            let text = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
            examples.push((number + 2, text.map(|line| format!("{line}\n")).collect()));
        }
    }
    examples
}

/// Returns the part below `processors:`, one level less indented.
fn pasted(example: &str) -> Option<String> {
    let rest = example.strip_prefix("processors:\n")?;
    Some(rest.lines().map(|line| format!("{}\n", line.strip_prefix("  ").unwrap_or(line))).collect())
}

#[test]
fn every_yaml_example_can_be_used() {
    let mut count = 0;
    for path in documents() {
        for (line, example) in examples(&fs::read_to_string(&path).unwrap()) {
            let place = format!("{}:{line}", path.display());
            let collector = pasted(&example);
            let text = collector.as_ref().unwrap_or(&example);
            let environment = |name: &str| Some(if name == "PORT" { "8080".into() } else { "x".repeat(16) });
            let loaded = config::load(text, &environment).unwrap_or_else(|problems| panic!("{place}\n{problems}"));
            let is_usual =
                |warning: &str| warning.ends_with("has no effect") || warning.contains("drops traces with an error");
            let is_expected = |warning: &str| collector.is_some() && is_usual(warning);
            let unexpected = loaded.warnings.iter().find(|warning| !is_expected(&warning.message));
            assert_eq!(unexpected, None, "{place}");
            Policies::compile(
                &loaded.settings.tail_sampling.policies,
                loaded.settings.tail_sampling.sample_on_first_match,
            )
            .unwrap_or_else(|error| panic!("{place}: {error}"));
            count += 1;
        }
    }
    assert!(count >= 8, "only {count} examples were found");
}
