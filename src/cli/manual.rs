//! `spansieve completions` and `spansieve man`: made from the definition of the command line.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, output};

const NAME: &str = "spansieve";

/// Writes the completions of `shell` to `out`.
pub fn completions(shell: Shell, out: &mut impl Write) -> io::Result<()> {
    // The generator ends the process if it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    out.write_all(&script)
}

/// Prints the man page of the program; with a `directory`, writes that page and those of all subcommands to files in it.
#[must_use]
pub fn man(directory: Option<&Path>) -> ExitCode {
    match directory {
        None => output::exit_code(page(&Cli::command(), &mut io::stdout()), ExitCode::SUCCESS),
        Some(directory) => match pages(directory) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let place = directory.display();
                output::print_error(&format!("error: cannot write man pages to {place}: {error}\n"));
                output::print_error("  = help: name a directory that exists and that you may write to\n");
                ExitCode::FAILURE
            }
        },
    }
}

/// Writes the man pages of the program and of all its subcommands to files in `directory`.
///
/// # Errors
/// The directory does not exist, or a file cannot be written.
fn pages(directory: &Path) -> io::Result<()> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut commands = vec![program];
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands().filter(|command| !command.is_hide_set()).cloned());
        let mut text = Vec::new();
        page(&command, &mut text)?;
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        std::fs::write(directory.join(format!("{name}.1")), text)?;
    }
    Ok(())
}

/// Writes the man page of `command` to `out`. Its examples stay lines of their own; [`Man::render`] would fill them to
/// paragraphs.
///
/// # Errors
/// `out` cannot be written.
fn page(command: &Command, out: &mut dyn Write) -> io::Result<()> {
    let man = Man::new(command.clone());
    let mut text = Vec::new();
    sections(command, &man, &mut text)?;
    // Each section begins with the same definitions. One at the start of the page is enough.
    let text = String::from_utf8_lossy(&text).into_owned();
    let definitions: String = text.split_inclusive('\n').take_while(|line| !line.starts_with(".TH")).collect();
    let rest = text.replace(&definitions, "");
    out.write_all(format!("{definitions}{rest}").as_bytes())
}

/// Writes the sections of a man page, each with its definitions.
fn sections(command: &Command, man: &Man, out: &mut Vec<u8>) -> io::Result<()> {
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(out)?;
    }
    if command.get_subcommands().any(|command| !command.is_hide_set()) {
        man.render_subcommands_section(out)?;
    }
    if let Some(text) = command.get_after_help() {
        out.write_all(examples(&text.to_string()).as_bytes())?;
    }
    if command.get_version().is_some() {
        man.render_version_section(out)?;
    }
    Ok(())
}

/// Returns the text after the help as a section without filling.
fn examples(text: &str) -> String {
    let text = text.strip_prefix("Examples:\n").unwrap_or(text);
    let mut roff = String::from(".SH EXAMPLES\n.nf\n");
    for line in text.lines() {
        // A backslash begins an escape, and a point or an apostrophe at the start of a line a request.
        let escaped = line.replace('\\', "\\e").replace('-', "\\-");
        let guard = if escaped.starts_with(['.', '\'']) { "\\&" } else { "" };
        roff.push_str(guard);
        roff.push_str(&escaped);
        roff.push('\n');
    }
    roff + ".fi\n"
}

#[cfg(test)]
mod tests;
