//! A resource as every span of it carries it: encoded once, copied into each span.

use std::sync::Arc;

use super::attributes::{AttributeList, IDENTITIES, KeyFilter, KeyIndex, Keyed, Scratch, cut_entry, key_hash};
use super::names::KeyNames;
use super::origin::SCOPE_KEYS;
use super::{EncodeError, EncoderSettings, LONG_VALUE_BYTES_MAX, RESOURCE_BYTES_MAX, VALUE_BYTES_MAX, labels, write};
use crate::otlp::altered::Alteration;
use crate::otlp::view::AnyValue;
use crate::resource::{Attributes, Rewriter};
use crate::sampling::annotation;

/// A rewritten resource as map entries, ready to be copied into its spans.
#[derive(Debug)]
pub struct EncodedResource {
    project: Arc<str>,
    /// `name` of the request to the project: a whole field.
    request_name: Vec<u8>,
    /// The project is neither the own one nor an allowed one.
    is_foreign: bool,
    /// `projects/{project}/traces/`.
    pub(super) name_prefix: String,
    entries: Entries,
    /// How many of the entries are ours: a span's attribute of the same key gives way to them.
    own_count: usize,
    /// Attributes of the resource that were lost.
    pub(super) dropped_count: u64,
    /// What became of it otherwise.
    pub(super) altered: Alteration,
}

/// Map entries that find their keys.
#[derive(Debug, Default)]
struct Entries {
    /// All of them, one after the other.
    block: Vec<u8>,
    /// Those of the block, ours first: the least important last.
    all: Vec<ResourceEntry>,
    keys: KeyIndex,
    /// The same keys, and those of the scope, for the lists of the spans.
    filter: KeyFilter,
    /// Bytes of a value.
    value_max: usize,
    /// Entries that had no room in the block.
    left_out_count: u64,
}

impl Entries {
    /// Appends an entry, if there is room for it. Where values could be shorter and something had no room, nothing has.
    fn add(&mut self, key: &str, value: AnyValue<'_>, scratch: &mut Scratch) {
        if self.left_out_count > 0 && self.value_max > LONG_VALUE_BYTES_MAX {
            return;
        }
        let start = self.block.len();
        cut_entry(&mut self.block, key, value, self.value_max, &mut scratch.renderer);
        if self.block.len() > RESOURCE_BYTES_MAX {
            self.block.truncate(start);
            self.left_out_count += 1;
            return scratch.renderer.note(Alteration { cut: true, ..Alteration::default() });
        }
        self.note(key);
    }

    /// Notes that the block holds the entry of `key` up to here.
    fn note(&mut self, key: &str) {
        let hash = key_hash(key);
        self.filter.insert(hash);
        self.all.push(ResourceEntry { key: key.into(), hash, end: self.block.len() });
        self.keys.replace(&self.all, self.all.len() - 1);
    }

    #[inline]
    fn find(&self, key: &str, hash: u64) -> Option<usize> {
        self.keys.find(&self.all, key, hash)
    }
}

#[derive(Debug)]
struct ResourceEntry {
    key: Box<str>,
    hash: u64,
    /// Where the entry ends in the block; it begins where the one before ends.
    end: usize,
}

impl Keyed for ResourceEntry {
    fn key(&self) -> &str {
        &self.key
    }

    fn hash(&self) -> u64 {
        self.hash
    }
}

/// Whose a key of the resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Ours: it stays.
    Us,
    /// The user's, or our default for what the user may set: a span overrides this entry.
    User(usize),
}

impl EncodedResource {
    /// The project that the resource's spans are written to.
    #[must_use]
    pub fn project(&self) -> &Arc<str> {
        &self.project
    }

    /// The field `name` of a `BatchWriteSpansRequest` to that project, with its key.
    #[must_use]
    pub fn request_name(&self) -> &[u8] {
        &self.request_name
    }

    /// That the spans of this resource may be written.
    ///
    /// # Errors
    /// They name a project that is not allowed.
    #[inline]
    pub(super) fn check_project(&self) -> Result<(), EncodeError> {
        if self.is_foreign { Err(EncodeError::Project(Arc::clone(&self.project))) } else { Ok(()) }
    }

    pub(super) fn new(raw: &[u8], settings: &EncoderSettings, rewriter: &Rewriter, scratch: &mut Scratch) -> Self {
        let mut attributes = rewriter.rewrite(raw);
        attributes.remove_blank(&IDENTITIES);
        let project = attributes.project().unwrap_or_else(|| settings.default_project.clone());
        let mut request_name = Vec::new();
        write::bytes(&mut request_name, 1, format!("projects/{project}").as_bytes());
        let mut resource = EncodedResource {
            request_name,
            is_foreign: !settings.allows(&project),
            name_prefix: format!("projects/{project}/traces/"),
            project,
            entries: Entries::default(),
            own_count: 0,
            dropped_count: 0,
            altered: Alteration::default(),
        };
        if !resource.fill(&attributes, settings, VALUE_BYTES_MAX, scratch) {
            // The second time what does not fit is left out.
            resource.fill(&attributes, settings, LONG_VALUE_BYTES_MAX, scratch);
        }
        resource
    }

    /// Writes all entries, with values of at most `value_max` bytes. Returns whether they fit; if they do not and values could be
    /// shorter, nothing that was written is of use.
    fn fill(
        &mut self,
        attributes: &Attributes,
        settings: &EncoderSettings,
        value_max: usize,
        scratch: &mut Scratch,
    ) -> bool {
        self.entries = Entries { value_max, ..Entries::default() };
        // A span may have the scope's keys, which are written beside the resource.
        SCOPE_KEYS.iter().for_each(|key| _ = self.entries.filter.insert(key_hash(key)));
        self.dropped_count = u64::from(attributes.dropped_count());
        scratch.renderer.note(Alteration { cut: attributes.is_cut(), ..Alteration::default() });
        self.add_own(attributes, settings, scratch);
        self.add_users(attributes, &settings.names, scratch);
        self.dropped_count += self.entries.left_out_count;
        self.altered = scratch.renderer.take_altered();
        self.entries.left_out_count == 0
    }

    /// The labels, and the keys of the annotations, which are written with each span.
    fn add_own(&mut self, attributes: &Attributes, settings: &EncoderSettings, scratch: &mut Scratch) {
        if settings.annotate {
            annotation::KEYS.iter().for_each(|key| self.entries.note(key));
        }
        for (key, value) in labels::monitored_resource(attributes, settings.cloud_run_revision) {
            self.entries.add(&key, AnyValue::String(value.as_bytes()), scratch);
        }
        self.own_count = self.entries.all.len();
    }

    /// The agent, unless somebody set it, and the attributes that are not overwritten by ours.
    fn add_users(&mut self, attributes: &Attributes, names: &KeyNames, scratch: &mut Scratch) {
        if attributes.get(labels::AGENT).is_none() {
            self.entries.add(labels::AGENT, AnyValue::String(labels::agent(attributes).as_bytes()), scratch);
        }
        let mut list = AttributeList::new(names);
        for (key, value) in attributes.iter() {
            list.push(key, value);
        }
        list.dedupe(&mut scratch.keys);
        for item in list.live() {
            if self.entries.find(&item.key, item.hash).is_none() {
                self.entries.add(&item.key, item.value, scratch);
            }
        }
        self.dropped_count += list.dropped_count();
        scratch.renderer.note(list.altered());
    }

    /// Whose `key` is, if the resource has it.
    #[inline]
    pub(super) fn owner(&self, key: &str, hash: u64) -> Option<Owner> {
        let place = self.entries.find(key, hash)?;
        Some(if place < self.own_count { Owner::Us } else { Owner::User(place) })
    }

    /// How many of the entries are ours, the annotations included.
    pub(super) fn own_count(&self) -> usize {
        self.own_count
    }

    /// How many of the entries a span may override.
    pub(super) fn users_count(&self) -> usize {
        self.entries.all.len() - self.own_count
    }

    /// The keys of the entries and of the scope.
    pub(super) fn filter(&self) -> &KeyFilter {
        &self.entries.filter
    }

    /// Writes our entries and the first `users_max` of the others, without those in `overridden` (ascending).
    pub(super) fn write(&self, out: &mut Vec<u8>, overridden: &[usize], users_max: usize) {
        let Entries { block, all, .. } = &self.entries;
        if overridden.is_empty() && users_max >= self.users_count() {
            return out.extend_from_slice(block);
        }
        let own_end = self.own_count.checked_sub(1).map_or(0, |last| all[last].end);
        out.extend_from_slice(&block[..own_end]);
        let live = (self.own_count..all.len()).filter(|place| overridden.binary_search(place).is_err());
        for place in live.take(users_max) {
            let start = place.checked_sub(1).map_or(0, |before| all[before].end);
            out.extend_from_slice(&block[start..all[place].end]);
        }
    }

    /// Roughly what it holds, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        let Entries { block, all, .. } = &self.entries;
        let keys: usize = all.iter().map(|entry| entry.key.len()).sum();
        let entries = all.capacity() * (size_of::<ResourceEntry>() + 2 * size_of::<u32>());
        size_of::<Self>() + self.request_name.len() + self.name_prefix.len() + block.capacity() + keys + entries
    }
}
