//! Traces in files: OTLP in JSON (one request, or one in each line) or in protobuf, and recordings, compressed or not.

mod source;

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use thiserror::Error;

use self::source::{Contents, Position};
use super::TimedRequest;
use crate::journal::recording::{Fault, Recorded, Recording, Remarks};
use crate::otlp::json::{JsonError, to_protobuf};
use crate::otlp::scan::{NoProbe, Scan, scan};

/// The most bytes of a file, inflated. A recording may have more: it is read piece by piece.
pub const FILE_BYTES_MAX: usize = 256 << 20;

/// The path that stands for standard input.
pub const STDIN: &str = "-";

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
        let help = match error.kind() {
            io::ErrorKind::NotFound => Some("is the path right?"),
            io::ErrorKind::PermissionDenied => Some("let the user of this process read it, or run as a user who may"),
            // The kinds of a compressed body that cannot be inflated.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                Some("copy the file again if the original is whole; `zstd -t` and `gzip -t` check it")
            }
            _ => None,
        };
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
    let ends = inputs.iter().filter_map(|input| match &input.requests {
        Requests::File { rest, .. } => rest.as_slice().iter().map(|request| request.unix_nano).max(),
        Requests::Recording { .. } => None,
    });
    if let Some(end) = ends.max() {
        let files = inputs.iter_mut().filter_map(|input| match &mut input.requests {
            Requests::File { rest, .. } => Some(rest.as_mut_slice()),
            Requests::Recording { .. } => None,
        });
        files.flatten().for_each(|request| request.unix_nano = end);
    }
}

/// The requests of a file or of a recording.
#[derive(Debug)]
pub struct Input {
    name: String,
    requests: Requests,
    position: Position,
}

#[derive(Debug)]
enum Requests {
    File {
        rest: std::vec::IntoIter<TimedRequest>,
        /// The number of all requests.
        count: usize,
    },
    Recording {
        /// The first request, which was read to see if there is one.
        first: Option<Recorded>,
        rest: Box<Recording>,
    },
}

impl Requests {
    fn file(requests: Vec<TimedRequest>) -> Self {
        Requests::File { count: requests.len(), rest: requests.into_iter() }
    }
}

impl Input {
    /// Opens the file or the recording at `path`; `-` is standard input. A request from a file arrives when its last span
    /// has ended, one of a recording when it was recorded.
    ///
    /// # Errors
    /// The file cannot be read, is too large, or has something else in it.
    pub fn open(path: &Path) -> Result<Self, InputError> {
        let position = Position::default();
        if path == Path::new(STDIN) {
            return Input::read("standard input".to_owned(), Box::new(io::stdin()), position);
        }
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| InputError::unreadable(&name, &error))?;
        // The file may be a pipe, for example from `<(command)` in a shell.
        match file.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                let recording = Recording::open(path).map_err(|error| InputError::unreadable(&name, &error))?;
                Input::recording(name, recording, position, "a directory without a recording")
            }
            metadata => {
                let position = Position::within(metadata.ok().map_or(0, |metadata| metadata.len()));
                let reader = position.counted(file);
                Input::read(name, Box::new(reader), position)
            }
        }
    }

    /// Returns the input with this body of an export request in protobuf.
    ///
    /// # Errors
    /// It is something else, or it has no spans.
    pub fn of_request(name: &str, body: Vec<u8>) -> Result<Self, InputError> {
        let requests = Requests::file(vec![request(name, body.into())?]);
        Ok(Input { name: name.to_owned(), requests, position: Position::default() })
    }

    fn read(name: String, reader: Box<dyn Read + Send>, position: Position) -> Result<Self, InputError> {
        let failed = |error: io::Error| InputError::unreadable(&name, &error);
        let contents = source::contents(reader).map_err(failed)?;
        let requests = match contents {
            Contents::Segment(reader) => match Recording::read(reader, name.clone()).map_err(failed)? {
                Ok(recording) => return Input::recording(name, recording, position, "a recording without a request"),
                Err(fault) => {
                    let fault = format!("is not a recording that can be read: {fault}");
                    return Err(InputError::new(&name, &fault, Some("record again, with this version")));
                }
            },
            Contents::Other(reader) => requests(&name, bounded(&name, reader)?)?,
        };
        Ok(Input { name, requests: Requests::file(requests), position })
    }

    /// Reads the first request of a recording. Without one, it is `nothing`.
    fn recording(name: String, mut rest: Recording, position: Position, nothing: &str) -> Result<Self, InputError> {
        let first = rest.next().transpose().map_err(|error| InputError::unreadable(&name, &error))?;
        if first.is_none() {
            let fault = match rest.faults() {
                [] => format!("is {nothing}"),
                faults => format!(
                    "has no request that can be read: {}",
                    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ")
                ),
            };
            let help = "name a recording that `spansieve record` has made while spans came, a file in the directory, or a \
                        directory with `journal-*.segment` files that hold requests";
            return Err(InputError::new(&name, &fault, Some(help)));
        }
        Ok(Input { name, requests: Requests::Recording { first, rest: Box::new(rest) }, position })
    }

    /// Returns what could not be read of a recording so far.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        match &self.requests {
            Requests::File { .. } => Vec::new(),
            Requests::Recording { rest, .. } => rest.faults().to_vec(),
        }
    }

    /// Returns what a recording says of itself so far; `None` for other files.
    #[must_use]
    pub fn remarks(&self) -> Option<&Remarks> {
        match &self.requests {
            Requests::File { .. } => None,
            Requests::Recording { rest, .. } => Some(rest.remarks()),
        }
    }

    /// Returns the number of bytes of the file that its requests so far have taken, about, and the number that it has; 0 if
    /// it is not known.
    #[must_use]
    pub fn position(&self) -> (u64, u64) {
        let (read, len) = self.position.get();
        match &self.requests {
            // The whole file was read before the first request.
            Requests::File { rest, count } => {
                let taken = count - rest.len();
                ((len as f64 * taken as f64 / (*count).max(1) as f64) as u64, len)
            }
            Requests::Recording { .. } => (read, len),
        }
    }
}

impl Iterator for Input {
    type Item = Result<TimedRequest, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.requests {
            Requests::File { rest, .. } => rest.next().map(Ok),
            Requests::Recording { first, rest } => match first.take() {
                Some(first) => Some(Ok(timed(first))),
                None => Some(rest.next()?.map(timed).map_err(|error| InputError::unreadable(&self.name, &error))),
            },
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
    InputError::new(name, &fault, Some("split it; a recording may be larger"))
}

/// Reads the contents of a file.
fn requests(name: &str, bytes: Vec<u8>) -> Result<Vec<TimedRequest>, InputError> {
    if bytes.trim_ascii().is_empty() {
        return Err(InputError::new(name, &"is empty", Some("it needs OTLP in JSON or protobuf, or a recording")));
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

#[cfg(test)]
mod tests;
