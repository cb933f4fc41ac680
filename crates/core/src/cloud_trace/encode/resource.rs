//! The attributes of a resource, encoded once and copied into each span of the resource.

use std::sync::Arc;

use super::attributes::{AttributeList, HasKey, IDENTITIES, KeyFilter, KeyIndex, Scratch, cut_entry, key_hash};
use super::fields::batch_write_spans_request;
use super::names::KeyNames;
use super::origin::SCOPE_KEYS;
use super::{EncodeError, EncoderSettings, LONG_VALUE_BYTES_MAX, RESOURCE_BYTES_MAX, VALUE_BYTES_MAX, labels, write};
use crate::otlp::altered::Alteration;
use crate::otlp::view::AnyValue;
use crate::resource::{ResourceAttributes, Rewriter};
use crate::sampling::annotation;

/// A rewritten resource as map entries, ready to be copied into its spans.
#[derive(Debug)]
pub struct EncodedResource {
    project: Arc<str>,
    /// The encoded field `name` of a request to the project, with the protobuf key of the field.
    request_name: Vec<u8>,
    /// True if the project is neither the default project nor an allowed one.
    is_foreign: bool,
    /// The prefix `projects/{project}/traces/` of span names.
    pub(super) name_prefix: String,
    entries: EncodedEntries,
    /// The number of entries that Spansieve adds and that a span cannot override. They are the first entries.
    own_count: usize,
    /// The number of attributes of the resource that were lost.
    pub(super) dropped_count: u64,
    /// The changes that were made to the resource.
    pub(super) altered: Alteration,
}

/// Encoded map entries, with an index of their keys.
#[derive(Debug, Default)]
struct EncodedEntries {
    /// The bytes of all entries, one after the other.
    block: Vec<u8>,
    /// The entries of the block. The entries that Spansieve adds come first, and the least important entries come last.
    all: Vec<ResourceEntry>,
    keys: KeyIndex,
    /// The keys of the entries and of the scope. The attribute list of each span starts with this set.
    filter: KeyFilter,
    /// The most bytes of a value.
    value_max: usize,
    /// The number of entries that did not fit into the block.
    left_out_count: u64,
}

impl EncodedEntries {
    /// Appends an entry if there is room for it. After an entry that did not fit, appends nothing more if values can
    /// still be made shorter, because all entries are then written again with shorter values.
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

    /// Notes that the entry of `key` ends at the present end of the block.
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
    /// The end of the entry in the block. The entry begins at the end of the one before.
    end: usize,
}

impl HasKey for ResourceEntry {
    fn key(&self) -> &str {
        &self.key
    }

    fn hash(&self) -> u64 {
        self.hash
    }
}

/// The owner of a key of the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyOwner {
    /// Spansieve. A span cannot override the entry.
    Us,
    /// The user. The agent label counts as the user's, because the user may set it. A span overrides the entry at this
    /// place.
    User(usize),
}

impl EncodedResource {
    /// Returns the project that the resource's spans are written to.
    #[must_use]
    pub fn project(&self) -> &Arc<str> {
        &self.project
    }

    /// Returns the encoded field `name` of a `BatchWriteSpansRequest` to the project, with the protobuf key of the
    /// field.
    #[must_use]
    pub fn request_name(&self) -> &[u8] {
        &self.request_name
    }

    /// Checks that the spans of this resource may be written.
    ///
    /// # Errors
    /// [`EncodeError::Project`] if the project is not allowed.
    #[inline]
    pub(super) fn check_project(&self) -> Result<(), EncodeError> {
        if self.is_foreign { Err(EncodeError::Project(Arc::clone(&self.project))) } else { Ok(()) }
    }

    pub(super) fn new(raw: &[u8], settings: &EncoderSettings, rewriter: &Rewriter, scratch: &mut Scratch) -> Self {
        let mut attributes = rewriter.rewrite(raw);
        attributes.remove_blank(&IDENTITIES);
        let project = attributes.project().unwrap_or_else(|| settings.default_project.clone());
        let mut request_name = Vec::new();
        let name = format!("projects/{project}");
        write::bytes(&mut request_name, batch_write_spans_request::NAME, name.as_bytes());
        let mut resource = EncodedResource {
            request_name,
            is_foreign: !settings.allows(&project),
            name_prefix: format!("projects/{project}/traces/"),
            project,
            entries: EncodedEntries::default(),
            own_count: 0,
            dropped_count: 0,
            altered: Alteration::default(),
        };
        if !resource.fill(&attributes, settings, VALUE_BYTES_MAX, scratch) {
            // The second pass leaves out entries that do not fit.
            resource.fill(&attributes, settings, LONG_VALUE_BYTES_MAX, scratch);
        }
        resource
    }

    /// Writes all entries, with values of at most `value_max` bytes. Returns true if they fit. If they do not fit and
    /// values can still be made shorter, the entries are incomplete and must be written again.
    fn fill(
        &mut self,
        attributes: &ResourceAttributes,
        settings: &EncoderSettings,
        value_max: usize,
        scratch: &mut Scratch,
    ) -> bool {
        self.entries = EncodedEntries { value_max, ..EncodedEntries::default() };
        // A span may have the scope's keys as well, so the set needs them, although they are not entries.
        SCOPE_KEYS.iter().for_each(|key| _ = self.entries.filter.insert(key_hash(key)));
        self.dropped_count = u64::from(attributes.dropped_count());
        scratch.renderer.note(Alteration { cut: attributes.is_cut(), ..Alteration::default() });
        self.add_own(attributes, settings, scratch);
        self.add_users(attributes, &settings.names, scratch);
        self.dropped_count += self.entries.left_out_count;
        self.altered = scratch.renderer.take_altered();
        self.entries.left_out_count == 0
    }

    /// Adds the labels, and the keys of the annotations. The annotations themselves are written with each span.
    fn add_own(&mut self, attributes: &ResourceAttributes, settings: &EncoderSettings, scratch: &mut Scratch) {
        if settings.annotate {
            annotation::KEYS.iter().for_each(|key| self.entries.note(key));
        }
        for (key, value) in labels::monitored_resource(attributes, settings.cloud_run_revision) {
            self.entries.add(&key, AnyValue::String(value.as_bytes()), scratch);
        }
        self.own_count = self.entries.all.len();
    }

    /// Adds the agent label if the resource does not have it, and then the attributes whose keys Spansieve does not
    /// set.
    fn add_users(&mut self, attributes: &ResourceAttributes, names: &KeyNames, scratch: &mut Scratch) {
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

    /// Returns the owner of `key`, if the resource has it.
    #[inline]
    pub(super) fn owner(&self, key: &str, hash: u64) -> Option<KeyOwner> {
        let place = self.entries.find(key, hash)?;
        Some(if place < self.own_count { KeyOwner::Us } else { KeyOwner::User(place) })
    }

    /// Returns the number of entries that Spansieve adds and that a span cannot override, including the annotations.
    pub(super) fn own_count(&self) -> usize {
        self.own_count
    }

    /// Returns the number of entries that a span may override.
    pub(super) fn users_count(&self) -> usize {
        self.entries.all.len() - self.own_count
    }

    /// Returns the set of the keys of the entries and of the scope.
    pub(super) fn filter(&self) -> &KeyFilter {
        &self.entries.filter
    }

    /// Writes the entries that a span cannot override. Then writes the first `users_max` of the other entries, except
    /// those whose places are in `overridden` (in ascending order).
    pub(super) fn write(&self, out: &mut Vec<u8>, overridden: &[usize], users_max: usize) {
        let EncodedEntries { block, all, .. } = &self.entries;
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

    /// Returns the approximate size in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        let EncodedEntries { block, all, .. } = &self.entries;
        let keys: usize = all.iter().map(|entry| entry.key.len()).sum();
        let entries = all.capacity() * (size_of::<ResourceEntry>() + 2 * size_of::<u32>());
        size_of::<Self>() + self.request_name.len() + self.name_prefix.len() + block.capacity() + keys + entries
    }
}
