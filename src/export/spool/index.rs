//! The records of the spool that wait to be delivered, by project. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

/// The position of a record. Later records compare greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The number of its segment.
    pub segment: u64,
    /// The offset of its first byte in the segment.
    pub offset: u64,
}

/// The facts about a waiting record that are kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: RecordId,
    /// The offset of the body in the file.
    pub(super) body_offset: u64,
    pub(super) body_len: u32,
    pub(super) body_checksum: u32,
    pub(super) span_count: u32,
    /// The time at which the last of its spans was kept, in milliseconds after the store was opened.
    pub(super) since_ms: i64,
}

/// The waiting records of one project, oldest first.
#[derive(Debug)]
struct ProjectRecords {
    project: Arc<str>,
    entries: VecDeque<Entry>,
}

/// The waiting records, with a queue for each project, so that a project that cannot be delivered does not delay the
/// others.
#[derive(Debug, Default)]
pub(super) struct Index {
    lines: Vec<ProjectRecords>,
    /// Records that cannot be read at present, with their projects. They are not returned by `pop`.
    aside: Vec<(Arc<str>, Entry)>,
    len: usize,
}

impl Index {
    /// Returns the number of waiting records, including those set aside.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends a record to the queue of its project.
    pub(super) fn push(&mut self, project: &str, entry: Entry) {
        let at = self.lines.iter().position(|line| &*line.project == project).unwrap_or_else(|| {
            self.lines.push(ProjectRecords { project: project.into(), entries: VecDeque::new() });
            self.lines.len() - 1
        });
        self.lines[at].entries.push_back(entry);
        self.len += 1;
    }

    /// Removes and returns the oldest record of the `wanted` projects.
    pub(super) fn pop(&mut self, wanted: impl Fn(&Arc<str>) -> bool) -> Option<(Arc<str>, Entry)> {
        let heads = self.lines.iter().enumerate().filter(|(_, line)| wanted(&line.project));
        let (_, at) = heads.filter_map(|(at, line)| Some((line.entries.front()?.id, at))).min()?;
        let line = &mut self.lines[at];
        let project = Arc::clone(&line.project);
        let entry = line.entries.pop_front()?;
        if line.entries.is_empty() {
            self.lines.swap_remove(at);
        }
        self.len -= 1;
        Some((project, entry))
    }

    /// Returns true if a `wanted` project has a record.
    pub(super) fn has(&self, wanted: impl Fn(&Arc<str>) -> bool) -> bool {
        self.lines.iter().any(|line| wanted(&line.project))
    }

    /// Removes the `chosen` records, including those set aside. Returns their number, and the number of their spans.
    pub(super) fn remove(&mut self, chosen: impl Fn(RecordId) -> bool) -> (usize, u64) {
        let removed = self.take_of_lines(&chosen);
        let aside = self.aside.extract_if(.., |(_, entry)| chosen(entry.id));
        let spans = removed.into_iter().chain(aside).map(|(_, entry)| u64::from(entry.span_count));
        let (count, spans) = spans.fold((0, 0), |(count, sum), spans| (count + 1, sum + spans));
        self.len -= count;
        (count, spans)
    }

    /// Sets a record aside that was removed before.
    pub(super) fn push_aside(&mut self, project: Arc<str>, entry: Entry) {
        self.aside.push((project, entry));
        self.len += 1;
    }

    /// Sets the `chosen` records aside.
    pub(super) fn set_aside(&mut self, chosen: impl Fn(RecordId) -> bool) {
        let taken = self.take_of_lines(chosen);
        self.aside.extend(taken);
    }

    /// Moves the records that were set aside back to their places in the queues.
    pub(super) fn put_back(&mut self) {
        let aside = std::mem::take(&mut self.aside);
        self.len -= aside.len();
        aside.iter().for_each(|(project, entry)| self.push(project, *entry));
        self.sort();
    }

    /// Sorts the records of each project, after some were appended out of order.
    pub(super) fn sort(&mut self) {
        for line in &mut self.lines {
            line.entries.make_contiguous().sort_unstable_by_key(|entry| entry.id);
        }
    }

    fn take_of_lines(&mut self, chosen: impl Fn(RecordId) -> bool) -> Vec<(Arc<str>, Entry)> {
        let mut taken = Vec::new();
        for line in &mut self.lines {
            line.entries.retain(|entry| {
                let is_chosen = chosen(entry.id);
                taken.extend(is_chosen.then(|| (Arc::clone(&line.project), *entry)));
                !is_chosen
            });
        }
        self.lines.retain(|line| !line.entries.is_empty());
        taken
    }
}
