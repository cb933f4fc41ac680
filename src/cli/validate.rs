//! `spansieve validate`: reports if a configuration can be used, and everything that is wrong with it.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use super::source::{self, ConfigSource};
use crate::config::{self, Loaded, Settings};
use crate::export::settings::Endpoint;
use crate::sampling::Policies;
use crate::sampling::settings::{Policy, Rule};

/// The exit code for a configuration that cannot be used (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// Checks the configuration in `source`: prints its warnings, `NAME: ok` and a summary, or everything that is wrong.
#[must_use]
pub fn run(source: &ConfigSource) -> ExitCode {
    match load(source) {
        Some(loaded) => {
            // If standard output is closed, there is no reader to tell.
            let _ = writeln!(io::stdout(), "{source}: ok: {}", summary(&loaded.settings));
            ExitCode::SUCCESS
        }
        None => ExitCode::from(EXIT_CONFIG),
    }
}

/// Reads the configuration in `source` with the environment of this process. Writes warnings and problems to standard
/// error. Returns `None` if the configuration cannot be used.
#[must_use]
pub fn load(source: &ConfigSource) -> Option<Loaded> {
    let name = source.to_string();
    let color = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let text = match source.read() {
        Ok(text) => text,
        Err(error) => {
            report(&format!("error: cannot read {name}: {error}\n"));
            if let Some(help) = source.help(&error) {
                report(&format!("  = help: {help}\n"));
            }
            return None;
        }
    };
    match config::load_with_files(&text, &|variable| std::env::var(variable).ok(), &source::file) {
        Ok(loaded) => {
            report(&config::render(&loaded.warnings, &text, &name, color));
            // The sum of all policies may exceed a limit.
            let compiled = Policies::compile(
                &loaded.settings.tail_sampling.policies,
                loaded.settings.tail_sampling.sample_on_first_match,
            );
            compiled.map(|_| loaded).inspect_err(|error| report(&format!("error: {name}: {error}\n"))).ok()
        }
        Err(problems) => {
            report(&problems.render(&name, color));
            None
        }
    }
}

fn report(text: &str) {
    // If standard error is closed, there is no reader to tell.
    let _ = io::stderr().write_all(text.as_bytes());
}

fn summary(settings: &Settings) -> String {
    let is_drop = |policy: &&Policy| matches!(policy.rule, Rule::Drop(_));
    let policies = &settings.tail_sampling.policies;
    let keeps = names(policies.iter().filter(|policy| !is_drop(policy)));
    let drops = names(policies.iter().filter(is_drop));
    let keeps = if keeps.is_empty() { "keeps nothing".to_owned() } else { format!("keeps by {keeps}") };
    let drops = if drops.is_empty() { String::new() } else { format!("; drops by {drops}") };
    let endpoint = match &settings.export.endpoint {
        Endpoint::Embedded => "the embedded Cloud Trace",
        Endpoint::Tls(url) | Endpoint::Plaintext(url) => url,
    };
    format!("{keeps}{drops}; writes to {endpoint}")
}

fn names<'a>(policies: impl Iterator<Item = &'a Policy>) -> String {
    policies.map(|policy| policy.name.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
