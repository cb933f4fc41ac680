//! What spans of the same resource and scope share, encoded once for all of them.

use std::sync::Arc;

use super::attributes::{cut_entry, key_hash};
use super::resource::EncodedResource;
use super::{NAME_BYTES_MAX, Scratch, view};
use crate::otlp::altered::Alteration;
use crate::otlp::view::AnyValue;
use crate::resource::cache::{is_cut, shared_head};

/// The keys of a scope's name and version.
pub(super) const SCOPE_KEYS: [&str; 2] = ["otel.scope.name", "otel.scope.version"];

/// A resource and a scope below it.
#[derive(Debug)]
pub struct Origin {
    pub(super) resource: Arc<EncodedResource>,
    /// The map entries of [`SCOPE_KEYS`]; empty where the resource has the key, or the scope has no version.
    pub(super) scope: [ScopeEntry; 2],
}

/// A map entry of the scope.
#[derive(Debug, Default)]
pub(super) struct ScopeEntry {
    pub(super) entry: Vec<u8>,
    pub(super) altered: Alteration,
}

impl Origin {
    /// The origin of the spans of `resource` and of the message `InstrumentationScope` `scope`.
    pub(super) fn new(resource: Arc<EncodedResource>, scope: &[u8], scratch: &mut Scratch) -> Self {
        let head = shared_head(scope);
        let (name, version) = view::scope_name_version(head);
        let is_set = [true, !version.is_empty()];
        // Name and version are the first fields: a name that is not there is one that does not end within the head.
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
        Origin { resource, scope: entries }
    }

    /// The resource.
    #[must_use]
    pub fn resource(&self) -> &EncodedResource {
        &self.resource
    }

    /// Roughly what it holds beside the resource, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.scope.iter().map(|scope| scope.entry.capacity()).sum::<usize>()
    }
}
