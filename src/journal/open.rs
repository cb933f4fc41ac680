//! Opens the journal's directory and finds the requests that an earlier process left in it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;

use super::backlog::{Backlog, Unread};
use super::format::{self, JournalRecords, NoSegment, PolicyMarks, RecordKind, SegmentError};
use super::store::{JournalSegment, JournalStore, first_sequence};
use crate::budget::{Budget, Share};
use crate::journal::settings;
use crate::otlp::TraceId;
use crate::sampling::Keep;
use crate::segment::directory::{Directory, DirectoryOwner, OpenError};
use crate::segment::file::SegmentFile;
use crate::tail::journal_hold::{Note, Sequence};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::DiskFault;

pub(crate) const OWNER: DirectoryOwner = DirectoryOwner { name: "journal", key: "journal.directory" };

/// Returns the bytes of one hash table entry of type `T`, including the unused part of the table.
const fn entry_bytes<T>() -> usize {
    size_of::<T>() * 2
}

/// Opens the directory of `settings` and finds the unreleased requests in it. Creates the directory if it does not
/// exist. Files that cannot be read are logged, counted in `metrics` and left alone. The memory of the result is
/// charged to `budget`.
///
/// # Errors
/// See [`OpenError`].
pub(super) fn open(
    settings: &settings::JournalSettings,
    policies: PolicyMarks,
    budget: &Budget,
    metrics: &Metrics,
) -> Result<(JournalStore, Backlog), OpenError> {
    let (directory, numbers) = Directory::open(&settings.directory, OWNER)?;
    Ok(load(directory, &numbers, policies, budget, metrics))
}

/// Finds the unreleased requests in the segments of these `numbers`, oldest first.
pub(super) fn load(
    directory: Directory,
    numbers: &[u64],
    policies: PolicyMarks,
    budget: &Budget,
    metrics: &Metrics,
) -> (JournalStore, Backlog) {
    let mut survey = Survey { policies: policies.clone(), ..Survey::default() };
    let mut found = Vec::new();
    for &number in numbers {
        let path = directory.segment(number);
        let opened = directory.open_segment(number);
        found.push(opened.and_then(|file| survey.segment(number, file, &path, metrics)).unwrap_or_else(|cause| {
            metrics.journal_fault(DiskFault::Read);
            tracing::error!(
                path = %path.display(), %cause,
                "A segment of the journal cannot be read; it stays for the next start."
            );
            FoundFile::Foreign { bytes: fs::metadata(&path).map_or(0, |file| file.len()) }
        }));
    }
    survey.conclude(JournalStore::new(directory, policies), found, budget.share())
}

/// A file of the directory.
enum FoundFile {
    /// A segment, and the requests in it.
    Segment(JournalSegment, Vec<Sequence>),
    Foreign {
        bytes: u64,
    },
}

/// The contents of the notes.
#[derive(Default)]
struct Survey {
    policies: PolicyMarks,
    released: HashSet<Sequence>,
    settled: HashMap<Sequence, Vec<TraceId>>,
    kept: Vec<(TraceId, Keep)>,
    sequence_max: Sequence,
}

impl Survey {
    /// Reads the record headers and notes of a segment, but not the bodies of requests.
    fn segment(&mut self, number: u64, file: SegmentFile, path: &Path, metrics: &Metrics) -> io::Result<FoundFile> {
        let bytes = file.size()?;
        let (mut segment, mut requests) = (JournalSegment::new(number, bytes), Vec::new());
        let mut records = match JournalRecords::open(file, bytes, format::FORM)? {
            Ok(records) => records,
            // The earlier process ended before it wrote the first record.
            Err(NoSegment::Short) => {
                report(path, SegmentError::Torn, bytes, metrics);
                return Ok(FoundFile::Segment(segment, requests));
            }
            Err(reason) => {
                metrics.journal_fault(DiskFault::Foreign);
                tracing::warn!(path = %path.display(), "A segment of the journal is left alone: {reason}");
                return Ok(FoundFile::Foreign { bytes });
            }
        };
        while let Some(record) = records.next_record()? {
            match record {
                Ok(header) if header.kind == RecordKind::Request && header.sequence >= first_sequence(number + 1) => {
                    report(path, SegmentError::Corrupt, header.body_len.into(), metrics);
                }
                Ok(header) if header.kind == RecordKind::Request => {
                    self.begins(header.sequence);
                    segment.add(header.sequence);
                    requests.push(header.sequence);
                }
                Ok(header) if header.kind == RecordKind::Remark => {}
                Ok(header) => match records.body(&header)? {
                    Some(notes) => self.notes(&notes),
                    None => report(path, SegmentError::Corrupt, header.body_len.into(), metrics),
                },
                Err(fault) => {
                    report(path, fault, records.rest(), metrics);
                    break;
                }
            }
        }
        Ok(FoundFile::Segment(segment, requests))
    }

    /// Forgets the notes that stand before `request`: a note stands after the request that it is about. Earlier
    /// versions could give a number twice, so earlier notes with this number are about another request.
    fn begins(&mut self, request: Sequence) {
        self.released.remove(&request);
        self.settled.remove(&request);
    }

    fn notes(&mut self, mut notes: &[u8]) {
        while let Some(note) = format::take_note(&mut notes, &self.policies) {
            match note {
                Note::Kept(_, trace, keep) => self.kept.push((trace, keep)),
                Note::Settled(request, trace) => self.settled.entry(request).or_default().push(trace),
                Note::Released(request) => {
                    self.settled.remove(&request);
                    self.released.insert(request);
                }
            }
        }
    }

    /// Gives the segments to the store, and the unreleased requests to the backlog.
    fn conclude(
        mut self,
        mut store: JournalStore,
        found: Vec<FoundFile>,
        mut memory: Share,
    ) -> (JournalStore, Backlog) {
        let mut unread = Vec::new();
        for found in found {
            match found {
                FoundFile::Foreign { bytes } => store.leave_alone(bytes),
                FoundFile::Segment(mut segment, mut requests) => {
                    self.sequence_max = requests.iter().copied().max().unwrap_or(0).max(self.sequence_max);
                    requests.retain(|request| !self.released.contains(request));
                    segment.live = requests.len() as u64;
                    store.adopt(segment);
                    if !requests.is_empty() {
                        let file = store.segment_path(segment.number);
                        unread.push(Unread { file, requests, bytes: segment.bytes });
                    }
                }
            }
        }
        let requests = unread.iter().map(|unread| unread.requests.len()).sum::<usize>();
        let settled = self.settled.values().map(Vec::len).sum::<usize>();
        memory.resize(
            requests * size_of::<Sequence>()
                + self.settled.len() * entry_bytes::<(Sequence, Vec<TraceId>)>()
                + (settled + self.kept.len()) * entry_bytes::<(TraceId, Keep)>(),
        );
        let next_sequence = store.first_sequence().max(self.sequence_max + 1);
        (store, Backlog::new(unread, self.settled, self.kept, next_sequence, memory))
    }
}

fn report(path: &Path, fault: SegmentError, bytes: u64, metrics: &Metrics) {
    metrics.journal_fault(fault.into());
    let path = path.display();
    match fault {
        SegmentError::Torn => {
            tracing::warn!(%path, bytes, "A segment of the journal ends within a record, which was never acknowledged.");
        }
        SegmentError::Corrupt => {
            tracing::error!(%path, bytes, "A part of a segment of the journal is corrupt and lost.");
        }
    }
}
