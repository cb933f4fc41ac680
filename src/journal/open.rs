//! Opens the journal's directory, and finds what an earlier process left in it.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::backlog::{Backlog, Unread};
use super::format::{self, Fault, Kind, NoSegment, PolicyMarks, Records};
use super::store::{Segment, Store};
use crate::config::settings;
use crate::otlp::TraceId;
use crate::sampling::Keep;
use crate::segment::directory::{Directory, OpenError, Owner};
use crate::tail::budget::{Budget, Share};
use crate::tail::hold::{Note, Sequence};
use crate::telemetry::Metrics;

pub(super) const OWNER: Owner = Owner { name: "journal", key: "journal.directory" };

/// What an entry of a hash table of the size of `T` takes, with the table's slack.
const fn entry_bytes<T>() -> usize {
    size_of::<T>() * 2
}

/// Opens the directory of `settings`, makes it if need be, and finds what waits in it; what cannot be read is logged,
/// counted in `metrics` and left alone. What is remembered of it counts in `budget`.
///
/// # Errors
/// See [`OpenError`].
pub(super) fn open(
    settings: &settings::Journal,
    policies: PolicyMarks,
    budget: &Budget,
    metrics: &Metrics,
) -> Result<(Store, Backlog), OpenError> {
    let (directory, files) = Directory::open(&settings.directory, OWNER)?;
    let mut survey = Survey { policies: policies.clone(), ..Survey::default() };
    let mut found = Vec::new();
    for (number, path) in files {
        match survey.segment(number, &path, metrics) {
            Ok(segment) => found.push((segment, path)),
            Err(cause) => {
                metrics.journal_fault("read");
                tracing::error!(path = %path.display(), "A segment of the journal cannot be read and is left alone: {cause}");
                let bytes = fs::metadata(&path).map_or(0, |file| file.len());
                found.push((Found::Foreign { number, bytes }, path));
            }
        }
    }
    Ok(survey.conclude(Store::new(directory, policies), found, budget.share()))
}

/// What a file of the directory is.
enum Found {
    /// With the requests in it.
    Segment(Segment, Vec<Sequence>),
    Foreign {
        number: u64,
        bytes: u64,
    },
}

/// What the notes say.
#[derive(Default)]
struct Survey {
    policies: PolicyMarks,
    released: HashSet<Sequence>,
    settled: HashMap<Sequence, Vec<TraceId>>,
    kept: Vec<(TraceId, Keep)>,
    sequence_max: Sequence,
}

impl Survey {
    /// Goes through a segment but for the bodies of requests.
    fn segment(&mut self, number: u64, path: &Path, metrics: &Metrics) -> io::Result<Found> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let (mut segment, mut requests) = (Segment::new(number, bytes), Vec::new());
        let mut records = match Records::open(file, bytes)? {
            Ok(records) => records,
            // Killed before the first record.
            Err(NoSegment::Short) => {
                report(path, Fault::Torn, bytes, metrics);
                return Ok(Found::Segment(segment, requests));
            }
            Err(reason) => {
                metrics.journal_fault("foreign");
                tracing::warn!(path = %path.display(), "A segment of the journal is left alone: {reason}");
                return Ok(Found::Foreign { number, bytes });
            }
        };
        while let Some(record) = records.next_record()? {
            match record {
                Ok(header) if header.kind == Kind::Request => {
                    segment.add(header.sequence);
                    requests.push(header.sequence);
                }
                Ok(header) => match records.body(&header)? {
                    Some(notes) => self.notes(&notes),
                    None => report(path, Fault::Corrupt, header.body_len.into(), metrics),
                },
                Err(fault) => {
                    report(path, fault, records.rest(), metrics);
                    break;
                }
            }
        }
        Ok(Found::Segment(segment, requests))
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

    /// Leaves to the store what is there, and to the backlog what is not released.
    fn conclude(mut self, mut store: Store, found: Vec<(Found, PathBuf)>, mut memory: Share) -> (Store, Backlog) {
        let mut unread = Vec::new();
        for (found, path) in found {
            match found {
                Found::Foreign { number, bytes } => store.leave_alone(number, bytes),
                Found::Segment(mut segment, mut requests) => {
                    self.sequence_max = requests.iter().copied().max().unwrap_or(0).max(self.sequence_max);
                    requests.retain(|request| !self.released.contains(request));
                    segment.live = requests.len() as u64;
                    store.adopt(segment);
                    if !requests.is_empty() {
                        unread.push(Unread { path, requests, bytes: segment.bytes });
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
        (store, Backlog::new(unread, self.settled, self.kept, self.sequence_max, memory))
    }
}

fn report(path: &Path, fault: Fault, bytes: u64, metrics: &Metrics) {
    metrics.journal_fault(fault.label());
    let path = path.display();
    match fault {
        Fault::Torn => {
            tracing::warn!(%path, bytes, "A segment of the journal ends within a record, which was never acknowledged.");
        }
        Fault::Corrupt => tracing::error!(%path, bytes, "A part of a segment of the journal is corrupt and lost."),
    }
}
