//! Requests of the journal that may have killed an earlier process.
//!
//! The numbers of the requests that were taken and not let go again stand in a file beside the journal. It is written before a request
//! is taken, and removed when all of them are let go, or at a stop. A request is let go when its traces are decided, and what is kept of
//! them is encoded, whether or not the sink accepts it. A process that finds this file knows that the one before was killed while it had
//! those requests: perhaps by chance, perhaps because of one of them, for example because memory ran out.
//!
//! The first time they are taken again like others. If that process is killed too, one is taken alone; when it is let go two together,
//! then four, and so on. A request with which two processes were killed while they had it alone is dropped. The file needs no sync: what was
//! written outlives the process.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::segment::file::{open_with, read_regular};
use crate::tail::hold::Sequence;

/// [`Mark::line`] is shorter.
const LINE_BYTES_MAX: usize = 128;
/// As that of the journal's other files.
const FILE_MODE: u32 = 0o600;
/// After so many processes that were killed one after the other, requests are taken one by one.
const KILLED_MAX: u32 = 2;
/// After so many processes that were killed while they had a request alone, it is dropped.
const KILLED_ALONE_MAX: u32 = 2;

/// The content of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    /// The requests that are taken.
    first: Sequence,
    last: Sequence,
    /// The last of those that an earlier process had taken.
    until: Sequence,
    /// How many processes have been killed with these, if this one is.
    killed: u32,
    /// Requests are taken a few at a time.
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

    /// A line that is always as long, so that it can be written over.
    fn line(self) -> String {
        let Mark { first, last, until, killed, is_careful } = self;
        format!("{first:020} {last:020} {until:020} {killed:010} {}\n", u8::from(is_careful))
    }
}

/// What is to be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    Take,
    /// Only when those that were taken are let go.
    Wait,
    /// Processes were killed while they had it alone.
    Drop,
}

/// The requests that this process has taken, and what is known of the one before.
#[derive(Debug)]
pub(super) struct Suspects {
    path: PathBuf,
    file: Option<File>,
    /// The file could not be written: nothing is noted down any more.
    is_broken: bool,
    /// What the process before has left.
    before: Mark,
    mark: Option<Mark>,
    taken: Vec<Weak<Bytes>>,
    /// How many may be taken at a time, if that is bounded.
    count_max: Option<usize>,
    /// Of those at a time that are taken now.
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

    /// How many processes were killed, if requests are taken a few at a time for that reason.
    pub(super) fn killed(&self) -> Option<u32> {
        self.count_max.map(|_| self.before.killed)
    }

    /// What to do with the next request. If it may be taken, the file says that it is.
    ///
    /// # Errors
    /// The file cannot be written. From then on requests are taken without it.
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

    /// The body of the request that was advised to take, to be taken. While it is held, the request is not let go.
    pub(super) fn watched(&mut self, body: Bytes) -> Bytes {
        if self.taken.len() == self.taken.capacity() {
            self.taken.retain(|body| body.strong_count() > 0);
        }
        let body = Arc::new(body);
        self.taken.push(Arc::downgrade(&body));
        Bytes::from_owner(Watched(body))
    }

    /// Whether all that was taken is let go.
    pub(super) fn is_idle(&mut self) -> bool {
        self.taken.retain(|body| body.strong_count() > 0);
        self.taken.is_empty()
    }

    /// This process has lived through it: removes the file.
    pub(super) fn end(self) {
        // Without it nothing is known, as at the first start. A file that stays makes the next start careful, at worst.
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

/// A body that says when it is dropped.
struct Watched(Arc<Bytes>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests;
