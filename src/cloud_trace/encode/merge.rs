//! The attribute map of a span: its resource's, ours, its scope's and its own, each key once.
//!
//! A later one of the same key wins: resource, then span. The scope's are set unless the user set them; labels and
//! annotations, which are ours, win over everything. Over the limit the resource's go first, the last before the first,
//! then the span's.

use smallvec::SmallVec;

use super::attributes::{AttributeList, Scratch, entry, key_hash};
use super::resource::{EncodedResource, Owner};
use super::{ATTRIBUTES_MAX, write};
use crate::otlp::altered::Alteration;
use crate::otlp::view;

const SCOPE_NAME: &str = "otel.scope.name";
const SCOPE_VERSION: &str = "otel.scope.version";

/// Appends the name and version of the message `InstrumentationScope` as attributes, for the span's own to override,
/// unless the resource has them.
pub(super) fn push_scope<'a>(list: &mut AttributeList<'a>, scope: &'a [u8], resource: &EncodedResource) {
    let (name, version) = view::scope_name_version(scope);
    let is_free = |key| resource.owner(key, key_hash(key)).is_none();
    if is_free(SCOPE_NAME) {
        list.push(SCOPE_NAME.as_bytes(), view::AnyValue::String(name));
    }
    if !version.is_empty() && is_free(SCOPE_VERSION) {
        list.push(SCOPE_VERSION.as_bytes(), view::AnyValue::String(version));
    }
}

/// Writes the field `attributes` of a span. `list` has the scope's and the span's own attributes, `annotations` are
/// map entries.
pub(super) fn write(
    out: &mut Vec<u8>,
    list: &mut AttributeList<'_>,
    resource: &EncodedResource,
    annotations: &[u8],
    scratch: &mut Scratch,
) {
    list.dedupe(&mut scratch.keys);
    let overridden = override_resource(list, resource);
    let room = ATTRIBUTES_MAX - resource.own_count();
    let (span_count, resource_count) = (list.live().count(), resource.users_count() - overridden.len());
    let span_kept = span_count.min(room);
    let resource_kept = resource_count.min(room - span_kept);
    let lost = (span_count - span_kept + resource_count - resource_kept) as u64;
    scratch.renderer.note(list.altered());
    scratch.renderer.note(Alteration { cut: lost > 0, ..Alteration::default() });
    write::message(out, 7, |out| {
        resource.write(out, &overridden, resource_kept);
        out.extend_from_slice(annotations);
        for item in list.live().take(span_kept) {
            entry(out, &item.key, item.value, &mut scratch.renderer);
        }
        write::count(out, 2, lost + list.dropped_count() + resource.dropped_count);
    });
}

/// Lets attributes give way to ours of the same key, and finds the entries of the resource that give way to them, in
/// ascending order.
fn override_resource(list: &mut AttributeList<'_>, resource: &EncodedResource) -> SmallVec<[usize; 8]> {
    let mut overridden = SmallVec::new();
    if !list.may_repeat() {
        return overridden;
    }
    for item in list.live_mut() {
        match resource.owner(&item.key, item.hash) {
            None => {}
            Some(Owner::Us) => item.live = false,
            Some(Owner::User(place)) => overridden.push(place),
        }
    }
    overridden.sort_unstable();
    overridden
}
