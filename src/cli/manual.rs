//! `spansieve completions` and `spansieve man`: made from the definition of the command line.

use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use super::Cli;

const NAME: &str = "spansieve";

/// Writes the completions of `shell` to `out`.
pub fn completions(shell: Shell, out: &mut impl Write) -> io::Result<()> {
    // The generator ends the process if it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    out.write_all(&script)
}

/// Writes the man page of the program to `out`; with a `directory`, that page and those of all subcommands to files in it.
///
/// # Errors
/// The directory does not exist, or a file cannot be written.
pub fn man(directory: Option<&Path>, out: &mut impl Write) -> io::Result<()> {
    match directory {
        None => Man::new(Cli::command()).render(out),
        Some(directory) => {
            let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", directory.display()));
            clap_mangen::generate_to(Cli::command(), directory).map_err(named)
        }
    }
}

#[cfg(test)]
mod tests;
