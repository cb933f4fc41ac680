//! Which records of the spool wait to be delivered, by project. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

/// Where a record is. Later ones compare greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The number of its segment.
    pub segment: u64,
    /// Its first byte there.
    pub offset: u64,
}

/// What is remembered of a record that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: RecordId,
    /// In the file.
    pub(super) body_offset: u64,
    pub(super) body_len: u32,
    pub(super) body_checksum: u32,
    pub(super) span_count: u32,
    pub(super) since_unix_ms: u64,
}

/// The waiting records of one project, oldest first.
#[derive(Debug)]
struct Line {
    project: Arc<str>,
    entries: VecDeque<Entry>,
}

/// The waiting records, a line for each project: one that cannot be delivered must not stand in the others' way.
#[derive(Debug, Default)]
pub(super) struct Index {
    lines: Vec<Line>,
    len: usize,
}

impl Index {
    /// The number of waiting records.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts a record at the end of its project's line.
    pub(super) fn push(&mut self, project: &str, entry: Entry) {
        let at = self.lines.iter().position(|line| &*line.project == project).unwrap_or_else(|| {
            self.lines.push(Line { project: project.into(), entries: VecDeque::new() });
            self.lines.len() - 1
        });
        self.lines[at].entries.push_back(entry);
        self.len += 1;
    }

    /// Takes out the oldest record of a project that `wanted` names.
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

    /// Whether a project that `wanted` names has a record.
    pub(super) fn has(&self, wanted: impl Fn(&Arc<str>) -> bool) -> bool {
        self.lines.iter().any(|line| wanted(&line.project))
    }
}
