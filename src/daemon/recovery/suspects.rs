//! Requests of the journal that may have killed an earlier process.
//!
//! A file beside the journal holds the numbers of the requests that are taken and not yet finished. It is written
//! before a request is taken, and removed when all of them are finished, or at a stop. A request is finished when its
//! traces are decided and the kept ones are encoded, even if the sink does not accept them. A process that finds this
//! file knows that the process before it was killed while it had those requests: perhaps by chance, perhaps because of
//! one of them, for example because memory ran out.
//!
//! After the first kill, the requests are taken like any others. If that process is killed too, the first request is
//! taken alone; once it is finished, the next two are taken together, then four, and so on. A request is dropped if two
//! processes were killed while they had it alone. The file needs no sync, because the kernel keeps written bytes when
//! the process is killed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::segment::file::{open_with, read_regular};
use crate::tail::journal_hold::Sequence;

/// The most bytes that are read of the file. [`Mark::line`] is shorter.
const LINE_BYTES_MAX: usize = 128;
/// The mode of the file: the same as that of the journal's other files.
const FILE_MODE: u32 = 0o600;
/// The number of processes killed in a row after which requests are taken one by one.
const KILLED_MAX: u32 = 2;
/// The number of processes killed in a row, with only one and the same request, after which the request is dropped.
const KILLED_ALONE_MAX: u32 = 2;

/// The content of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    /// The first of the requests that are taken; `last` is the last of them.
    first: Sequence,
    last: Sequence,
    /// The last of the requests that an earlier process had taken.
    until: Sequence,
    /// The number of processes killed with these requests, if this process is killed, too.
    killed: u32,
    /// True if requests are taken a few at a time.
    is_careful: bool,
}

impl Mark {
    fn read(path: &Path) -> Option<Self> {
        let text = String::from_utf8(read_regular(path, LINE_BYTES_MAX).ok()?).ok()?;
        let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        let (first, last, until) = (next()?, next()?, next()?);
        Some(Mark { first, last, until, killed: u32::try_from(next()?).ok()?, is_careful: next()? == 1 })
    }

    /// Returns a line of constant length, so that it can be overwritten in place.
    fn line(self) -> String {
        let Mark { first, last, until, killed, is_careful } = self;
        format!("{first:020} {last:020} {until:020} {killed:010} {}\n", u8::from(is_careful))
    }
}

/// The advice on the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    Take,
    /// Wait until all requests in work are finished.
    Wait,
    /// Drop the request: processes were killed while they had it alone.
    Drop,
}

/// The requests that this process has taken, and the mark of the process before it.
#[derive(Debug)]
pub(super) struct Suspects {
    path: PathBuf,
    file: Option<File>,
    /// True if the file could not be written. From then on nothing is recorded.
    is_broken: bool,
    /// The mark that the process before has left.
    before: Mark,
    mark: Option<Mark>,
    taken: Vec<Weak<Bytes>>,
    /// The most requests that may be taken together, if that is limited.
    count_max: Option<usize>,
    /// The number of requests taken since the last wait.
    count: usize,
}

impl Suspects {
    /// Reads the file at `path`.
    pub(super) fn open(path: PathBuf) -> Self {
        let before = Mark::read(&path).unwrap_or_default();
        let is_careful = before.is_careful || before.killed >= KILLED_MAX;
        let count_max = is_careful.then_some(1);
        Suspects { path, file: None, is_broken: false, before, mark: None, taken: Vec::new(), count_max, count: 0 }
    }

    /// Returns the number of processes killed, if requests are taken a few at a time for that reason.
    pub(super) fn killed(&self) -> Option<u32> {
        self.count_max.map(|_| self.before.killed)
    }

    /// Returns the advice on the next request. If it may be taken, the file records that it is.
    ///
    /// # Errors
    /// The file cannot be written. From then on, requests are taken without a record.
    pub(super) fn next(&mut self, request: Sequence) -> io::Result<Advice> {
        let Some(count_max) = self.count_max else {
            let first = self.mark.map_or(request, |mark| mark.first);
            let killed = self.before.killed + 1;
            self.set(Mark { first, last: request, until: request, killed, is_careful: false })?;
            return Ok(Advice::Take);
        };
        let is_past = request > self.before.until;
        if is_past || self.count == count_max {
            if !self.is_idle() {
                return Ok(Advice::Wait);
            }
            self.count_max = (!is_past).then_some(2 * count_max);
            self.before = if is_past { Mark::default() } else { self.before };
            (self.count, self.mark) = (0, None);
            if is_past {
                return self.next(request);
            }
        }
        let was_alone = self.before.is_careful && (self.before.first, self.before.last) == (request, request);
        let killed = if was_alone { self.before.killed } else { 0 };
        if killed >= KILLED_ALONE_MAX && self.count == 0 {
            return Ok(Advice::Drop);
        }
        let first = self.mark.map_or(request, |mark| mark.first);
        let killed = if self.count == 0 { killed + 1 } else { 1 };
        self.set(Mark { first, last: request, until: self.before.until, killed, is_careful: true })?;
        self.count += 1;
        Ok(Advice::Take)
    }

    /// Returns a body for the request that may be taken, with the same bytes. The request is finished when this body is
    /// dropped.
    pub(super) fn watched(&mut self, body: Bytes) -> Bytes {
        if self.taken.len() == self.taken.capacity() {
            self.taken.retain(|body| body.strong_count() > 0);
        }
        let body = Arc::new(body);
        self.taken.push(Arc::downgrade(&body));
        Bytes::from_owner(WatchedBody(body))
    }

    /// Returns true if all requests that were taken are finished.
    pub(super) fn is_idle(&mut self) -> bool {
        self.taken.retain(|body| body.strong_count() > 0);
        self.taken.is_empty()
    }

    /// Removes the file: this process has survived its requests.
    pub(super) fn end(self) {
        // Without the file, the next start is like a first start. If the file stays, the next start is careful, at
        // worst.
        let _ = fs::remove_file(self.path);
    }

    fn set(&mut self, mark: Mark) -> io::Result<()> {
        self.mark = Some(mark);
        if self.is_broken {
            return Ok(());
        }
        let written = self.write(mark);
        self.is_broken = written.is_err();
        written
    }

    fn write(&mut self, mark: Mark) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            file => {
                let mut options = OpenOptions::new();
                options.write(true).create(true).truncate(true).mode(FILE_MODE);
                file.insert(open_with(&mut options, &self.path)?)
            }
        };
        file.write_all_at(mark.line().as_bytes(), 0)
    }
}

/// A body whose drop can be observed, by a weak reference.
struct WatchedBody(Arc<Bytes>);

impl AsRef<[u8]> for WatchedBody {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests;
