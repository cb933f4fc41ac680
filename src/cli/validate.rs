//! `spansieve validate`: says whether a configuration can be used, and everything that is wrong with it.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::config::settings::Endpoint;
use crate::config::{self, Loaded, Settings};
use crate::sampling::Policies;

/// The exit code for a configuration that cannot be used (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// Enough for [`config::load_with_files`] to see that a file is too long; a device without end is not read to its end.
const FILE_BYTES_MAX: u64 = 2 << 20;

/// Checks the configuration at `path`: its warnings, `PATH: ok` and a summary, or everything that is wrong.
#[must_use]
pub fn run(path: &Path) -> ExitCode {
    match load(path) {
        Some(loaded) => {
            // Nobody is left to tell if standard output is closed.
            let _ = writeln!(io::stdout(), "{}: ok: {}", path.display(), summary(&loaded.settings));
            ExitCode::SUCCESS
        }
        None => ExitCode::from(EXIT_CONFIG),
    }
}

/// Reads the configuration at `path` with the environment of this process. Warnings and problems go to standard
/// error; `None` if it cannot be used.
#[must_use]
pub fn load(path: &Path) -> Option<Loaded> {
    let name = path.display().to_string();
    let color = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let text = match read(path).and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other)) {
        Ok(text) => text,
        Err(error) => {
            report(&format!("error: cannot read {name}: {error}\n"));
            return None;
        }
    };
    match config::load_with_files(&text, &|variable| std::env::var(variable).ok(), &read) {
        Ok(loaded) => {
            report(&config::render(&loaded.warnings, &text, &name, color));
            // Together, policies may ask for more than fits.
            let compiled = Policies::compile(&loaded.settings.tail_sampling);
            compiled.map(|_| loaded).inspect_err(|error| report(&format!("error: {name}: {error}\n"))).ok()
        }
        Err(problems) => {
            report(&problems.render(&name, color));
            None
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "bounded by `take`")]
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn report(text: &str) {
    // Nobody is left to tell if standard error is closed.
    let _ = io::stderr().write_all(text.as_bytes());
}

fn summary(settings: &Settings) -> String {
    let names: Vec<&str> = settings.tail_sampling.policies.iter().map(|policy| policy.name.as_str()).collect();
    let endpoint = match &settings.cloud_trace.endpoint {
        Endpoint::Embedded => "the embedded Cloud Trace",
        Endpoint::Tls(url) | Endpoint::Plaintext(url) => url,
    };
    format!("keeps by {}; writes to {endpoint}", names.join(", "))
}
