//! Traces in files: OTLP in JSON (one request, or one in each line) or in protobuf, compressed or not, and recordings.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use thiserror::Error;

use super::TimedRequest;
use crate::journal::recording::{Recorded, Recording};
use crate::otlp::json::{JsonError, to_protobuf};
use crate::otlp::scan::{NoProbe, Scan, scan};
use crate::receiver::inflate::{Coding, InflateError, inflate};

/// The most bytes of a file, as it stands on the disk and inflated. A recording may have more: it is read piece by piece.
pub const FILE_BYTES_MAX: usize = 256 << 20;

/// The path that stands for standard input.
pub const STDIN: &str = "-";

/// The first bytes of a segment of a recording.
const SEGMENT_MAGIC: &[u8] = b"SPANJRNL";
/// The first bytes of gzip (RFC 1952) and of zstd (RFC 8878).
const COMPRESSED: [(&[u8], Coding); 2] = [(b"\x1f\x8b", Coding::Gzip), (b"\x28\xb5\x2f\xfd", Coding::Zstd)];

/// The reason why traces cannot be read, and what to do about it.
#[derive(Debug, Error)]
#[error("{name}: {fault}")]
pub struct InputError {
    /// The name of the file, with the place in it if that is known.
    pub name: String,
    /// The reason.
    pub fault: String,
    /// The remedy.
    pub help: Option<String>,
}

impl InputError {
    fn new(name: &str, fault: &dyn Display, help: Option<&str>) -> Self {
        InputError { name: name.to_owned(), fault: fault.to_string(), help: help.map(str::to_owned) }
    }

    fn unreadable(name: &str, error: &io::Error) -> Self {
        let help = (error.kind() == io::ErrorKind::NotFound).then_some("is the path right?");
        InputError::new(name, &format_args!("cannot be read: {error}"), help)
    }
}

/// Opens all files and recordings. The requests of all files arrive together, when the last span in any of them has
/// ended, because a file does not say when they arrived.
///
/// # Errors
/// See [`Input::open`].
pub fn open_all(paths: &[impl AsRef<Path>]) -> Result<Vec<Input>, InputError> {
    let mut inputs: Vec<Input> = paths.iter().map(|path| Input::open(path.as_ref())).collect::<Result<_, _>>()?;
    arrive_together(&mut inputs);
    Ok(inputs)
}

/// Lets the requests of all files arrive when the last span in any of them has ended.
pub fn arrive_together(inputs: &mut [Input]) {
    let ends = inputs.iter().filter_map(|input| match input {
        Input::File(requests) => requests.as_slice().iter().map(|request| request.unix_nano).max(),
        Input::Recording { .. } => None,
    });
    if let Some(end) = ends.max() {
        let files = inputs.iter_mut().filter_map(|input| match input {
            Input::File(requests) => Some(requests.as_mut_slice()),
            Input::Recording { .. } => None,
        });
        files.flatten().for_each(|request| request.unix_nano = end);
    }
}

/// The requests of a file or of a recording.
#[derive(Debug)]
pub enum Input {
    /// The requests of a file.
    File(std::vec::IntoIter<TimedRequest>),
    /// A recording.
    Recording {
        /// Its requests.
        requests: Box<Recording>,
        /// Its path.
        name: String,
    },
}

impl Input {
    /// Opens the file or the recording at `path`; `-` is standard input. A request from a file arrives when its last span
    /// has ended, one of a recording when it was recorded.
    ///
    /// # Errors
    /// The file cannot be read, is too large, or has something else in it.
    pub fn open(path: &Path) -> Result<Self, InputError> {
        if path == Path::new(STDIN) {
            let name = "standard input";
            return Ok(Input::File(requests(name, bounded(name, io::stdin())?)?.into_iter()));
        }
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| InputError::unreadable(&name, &error))?;
        // The file may be a pipe, for example from `<(command)` in a shell.
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            recording(path, name)
        } else {
            Ok(Input::File(requests(&name, bounded(&name, file)?)?.into_iter()))
        }
    }

    /// Returns the input with this body of an export request in protobuf.
    ///
    /// # Errors
    /// It is something else, or it has no spans.
    pub fn of_request(name: &str, body: Vec<u8>) -> Result<Self, InputError> {
        Ok(Input::File(vec![request(name, body.into())?].into_iter()))
    }

    /// Returns what could not be read of a recording so far, one line each.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        match self {
            Input::File(_) => Vec::new(),
            Input::Recording { requests, .. } => requests.faults().to_vec(),
        }
    }
}

impl Iterator for Input {
    type Item = Result<TimedRequest, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Input::File(requests) => requests.next().map(Ok),
            Input::Recording { requests, name } => {
                let recorded = requests.next()?;
                Some(recorded.map(timed).map_err(|error| InputError::unreadable(name, &error)))
            }
        }
    }
}

fn timed(recorded: Recorded) -> TimedRequest {
    TimedRequest { unix_nano: recorded.unix_nano, body: recorded.body }
}

fn bounded(name: &str, reader: impl Read) -> Result<Vec<u8>, InputError> {
    let mut bytes = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "bounded by `take`")]
    let read = reader.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| InputError::unreadable(name, &error))?;
    if bytes.len() > FILE_BYTES_MAX { Err(too_large(name)) } else { Ok(bytes) }
}

fn too_large(name: &str) -> InputError {
    let fault = format!("has more than {} MiB", FILE_BYTES_MAX >> 20);
    InputError::new(name, &fault, Some("split it; a recording (a directory) may be larger"))
}

/// Reads the contents of a file.
fn requests(name: &str, bytes: Vec<u8>) -> Result<Vec<TimedRequest>, InputError> {
    let compressed = COMPRESSED.into_iter().find(|(magic, _)| bytes.starts_with(magic));
    let bytes = match compressed {
        None => bytes,
        Some((_, coding)) => {
            inflate(coding, &bytes, FILE_BYTES_MAX, |_| true, |_| true).map_err(|error| match error {
                InflateError::TooLarge => too_large(name),
                error => InputError::new(name, &error, None),
            })?
        }
    };
    if bytes.trim_ascii().is_empty() {
        return Err(InputError::new(name, &"is empty", Some("it needs OTLP in JSON or protobuf, or a recording")));
    }
    if bytes.starts_with(SEGMENT_MAGIC) {
        let help = "give the directory that it stands in: a recording is a directory";
        return Err(InputError::new(name, &"is one file of a recording", Some(help)));
    }
    let bodies = match bytes.trim_ascii_start().first() {
        Some(b'{' | b'[' | b'"' | 0xef) => json(name, &bytes)?,
        _ => vec![bytes],
    };
    bodies.into_iter().map(|body| request(name, body.into())).collect()
}

/// Returns the request in `body`, with the end of its last span as its arrival.
fn request(name: &str, body: Bytes) -> Result<TimedRequest, InputError> {
    let mut found = Scan::default();
    let body = scan(body, &NoProbe, &mut found).map_err(|error| {
        let help = "it needs the body of an export request: OTLP in JSON or protobuf, or a recording";
        InputError::new(name, &format_args!("has no traces in it: {error}"), Some(help))
    })?;
    if found.span_count() == 0 {
        let help = "metrics, logs and the traces of other tools have another form";
        return Err(InputError::new(name, &"has no spans in it", Some(help)));
    }
    let ends = found.facts.iter().map(|fact| fact.end_unix_nano.max(fact.start_unix_nano));
    Ok(TimedRequest { unix_nano: ends.max().unwrap_or(0), body })
}

/// Converts one request in JSON, or one in each line, as the Collector's file exporter writes them.
fn json(name: &str, text: &[u8]) -> Result<Vec<Vec<u8>>, InputError> {
    let whole = match to_protobuf(text) {
        Ok(body) => return Ok(vec![body]),
        Err(error) => error,
    };
    let lines = || text.split(|&byte| byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
    let has_lines = lines().nth(1).is_some() && lines().next().is_some_and(|(_, line)| to_protobuf(line).is_ok());
    if !has_lines {
        return Err(json_error(name, 0, &whole));
    }
    lines().map(|(index, line)| to_protobuf(line).map_err(|error| json_error(name, index, &error))).collect()
}

fn json_error(name: &str, lines_before: usize, error: &JsonError) -> InputError {
    let place = format!("{name}:{}:{}", lines_before + error.line, error.column);
    let help = "OTLP/JSON is described in docs/otlp-json.md";
    InputError::new(&place, &format_args!("is not OTLP in JSON: {}", error.message), Some(help))
}

/// Opens a recording, or a journal that no process has open.
fn recording(path: &Path, name: String) -> Result<Input, InputError> {
    let open = || Recording::open(path).map_err(|error| InputError::unreadable(&name, &error));
    let mut first = open()?;
    if first.next().is_none() {
        let fault = match first.faults() {
            [] => "is a directory without a recording".to_owned(),
            faults => format!("has no request that can be read: {}", faults.join("; ")),
        };
        let help = "name a file in it, or a directory with `journal-*.segment` files that hold requests";
        return Err(InputError::new(&name, &fault, Some(help)));
    }
    Ok(Input::Recording { requests: Box::new(open()?), name })
}

#[cfg(test)]
mod tests;
