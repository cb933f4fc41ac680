//! The output of the commands: what is written, and what becomes of the exit code if it cannot be written.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use crate::settings::diagnostic::printable;

/// Writes `text` to standard output.
///
/// # Errors
/// Standard output cannot be written, or its reader has closed it.
pub(super) fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes `text` to standard output, and returns `code`, or the code of [`exit_code`].
pub(super) fn print(text: &str, code: ExitCode) -> ExitCode {
    exit_code(write(text), code)
}

/// Returns `code` if the output was written. A reader that has closed the pipe has read enough, so nothing is wrong then.
/// Any other error is reported, and the code is 1.
#[must_use]
pub fn exit_code(written: io::Result<()>, code: ExitCode) -> ExitCode {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            print_error(&format!("error: cannot write to standard output: {error}\n"));
            ExitCode::FAILURE
        }
        _ => code,
    }
}

/// Writes `text` to standard error.
pub(super) fn print_error(text: &str) {
    // If standard error is closed, there is no reader to tell.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Returns JSON text in which no character controls a terminal: such characters stand in strings only, and are escaped.
pub(super) fn printable_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || printable(c) == c {
            out.push(c);
        } else if matches!(c, '\t' | '\r') {
            // White space between values.
            out.push(' ');
        } else {
            // RFC 8259, section 7. All of them are in the basic multilingual plane.
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
    }
    out
}

#[cfg(test)]
mod tests;
