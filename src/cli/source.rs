//! The sources of a configuration: a file, standard input, or the built-in configuration.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::segment::file::read_regular;

/// The file that is read if the operator does not name one.
const DEFAULT_PATH: &str = "config.yaml";

/// The configuration that is used on a developer's machine without a file: the `config.yaml` of the repository.
pub const BUILT_IN: &str = include_str!("../../config.yaml");

/// The tests of the built-in configuration: the `config.test.yaml` of the repository.
pub const BUILT_IN_TESTS: &str = include_str!("../../config.test.yaml");

/// The most bytes that are read: enough for [`crate::config::load_with_files`] to see that a file is too long. The
/// limit ends the reading of an endless device.
const FILE_BYTES_MAX: usize = 2 << 20;

/// A source of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// The file at this path.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// The configuration in [`BUILT_IN`].
    BuiltIn,
}

impl ConfigSource {
    /// Returns the source for the operator's `path`. `-` is standard input. Without a path it is `./config.yaml`, or
    /// the built-in configuration if that file does not exist.
    #[must_use]
    pub fn of(path: Option<&Path>) -> Self {
        match path {
            Some(path) if path == Path::new("-") => ConfigSource::Stdin,
            Some(path) => ConfigSource::File(path.to_owned()),
            None if Path::new(DEFAULT_PATH).exists() => ConfigSource::File(DEFAULT_PATH.into()),
            None => ConfigSource::BuiltIn,
        }
    }

    /// Reads the text of the configuration.
    ///
    /// # Errors
    /// The file or standard input cannot be read, or is not UTF-8.
    pub fn read(&self) -> io::Result<String> {
        let bytes = match self {
            // The file may be a pipe, for example from `<(command)` in a shell.
            ConfigSource::File(path) => bounded(File::open(path)?)?,
            ConfigSource::Stdin => bounded(io::stdin())?,
            ConfigSource::BuiltIn => return Ok(BUILT_IN.to_owned()),
        };
        String::from_utf8(bytes).map_err(|error| {
            let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
            io::Error::new(
                ErrorKind::InvalidData,
                format!("it is not UTF-8 text: the first other byte is in line {line}"),
            )
        })
    }

    /// Returns what the operator can do about `error` of [`ConfigSource::read`], if that is known.
    #[must_use]
    pub fn help(&self, error: &io::Error) -> Option<String> {
        match self {
            ConfigSource::File(path) if error.kind() == ErrorKind::NotFound => {
                Some(format!("write one to start from: spansieve config default > {}", path.display()))
            }
            ConfigSource::File(path) if error.kind() == ErrorKind::IsADirectory => {
                Some(format!("name a file in it, such as {}", path.join(DEFAULT_PATH).display()))
            }
            _ if error.kind() == ErrorKind::PermissionDenied => {
                Some("let the user of this process read the file, or run as a user who may".to_owned())
            }
            _ if error.kind() == ErrorKind::InvalidData => Some("save it as UTF-8; a configuration is YAML".to_owned()),
            _ => None,
        }
    }
}

impl fmt::Display for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigSource::File(path) => path.display().fmt(f),
            ConfigSource::Stdin => f.write_str("standard input"),
            ConfigSource::BuiltIn => f.write_str("built-in configuration"),
        }
    }
}

/// Reads a file that the configuration names.
///
/// # Errors
/// The file cannot be read, is not a regular file, or has more than 2 MiB.
pub fn file(path: &Path) -> io::Result<Vec<u8>> {
    read_regular(path, FILE_BYTES_MAX)
}

fn bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "bounded by `take`")]
    reader.take(FILE_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
