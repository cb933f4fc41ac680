//! The data that spans of the same resource and scope share, encoded once for all of them.

use std::sync::Arc;

use super::attributes::{cut_entry, key_hash};
use super::resource::EncodedResource;
use super::{NAME_BYTES_MAX, Scratch, view};
use crate::otlp::altered::Alteration;
use crate::otlp::view::AnyValue;
use crate::resource::cache::{is_cut, shared_head};

/// The attribute keys for the name and the version of a scope.
pub(super) const SCOPE_KEYS: [&str; 2] = ["otel.scope.name", "otel.scope.version"];

/// An encoded resource and one of its scopes.
#[derive(Debug)]
pub struct SpanOrigin {
    pub(super) resource: Arc<EncodedResource>,
    /// The map entries of [`SCOPE_KEYS`]. An entry is empty if the resource has the key. The entry of the version is
    /// also empty if the scope has no version.
    pub(super) scope: [ScopeEntry; 2],
}

/// An encoded map entry for the scope, and the changes that were made to its text.
#[derive(Debug, Default)]
pub(super) struct ScopeEntry {
    pub(super) entry: Vec<u8>,
    pub(super) altered: Alteration,
}

impl SpanOrigin {
    /// Creates the origin of the spans of `resource` and `scope`, a message `InstrumentationScope`.
    pub(super) fn new(resource: Arc<EncodedResource>, scope: &[u8], scratch: &mut Scratch) -> Self {
        let head = shared_head(scope);
        let (name, version) = view::scope_name_version(head);
        let is_set = [true, !version.is_empty()];
        // Name and version are the first fields. If the head is cut and has no name, the name does not end within it.
        let is_lost = name.is_empty() && is_cut(head);
        scratch.renderer.note(Alteration { cut: is_lost, ..Alteration::default() });
        let mut entries = [ScopeEntry::default(), ScopeEntry::default()];
        for (i, text) in [name, version].into_iter().enumerate() {
            let key = SCOPE_KEYS[i];
            if is_set[i] && resource.owner(key, key_hash(key)).is_none() {
                cut_entry(&mut entries[i].entry, key, AnyValue::String(text), NAME_BYTES_MAX, &mut scratch.renderer);
                entries[i].altered = scratch.renderer.take_altered();
            }
        }
        SpanOrigin { resource, scope: entries }
    }

    /// Returns the encoded resource of the spans.
    #[must_use]
    pub fn resource(&self) -> &EncodedResource {
        &self.resource
    }

    /// Returns the approximate size in bytes, without the resource.
    pub(super) fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.scope.iter().map(|scope| scope.entry.capacity()).sum::<usize>()
    }
}
