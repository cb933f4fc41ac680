//! The attribute map of a span: its resource's, ours, its scope's and its own, each key once.
//!
//! A later one of the same key wins: resource, then span. The scope's are set unless the user set them; labels and
//! annotations, which are ours, win over everything. Over the limit the resource's go first, the last before the first,
//! then the span's.

use smallvec::SmallVec;

use super::attributes::{AttributeList, Scratch};
use super::origin::{Origin, SCOPE_KEYS};
use super::resource::{EncodedResource, Owner};
use super::{ATTRIBUTES_MAX, write};
use crate::otlp::altered::Alteration;

/// What spans share that gives way to the attributes of a span.
#[derive(Debug, Default)]
struct Overridden {
    /// Entries of the resource, in ascending order.
    resource: SmallVec<[usize; 8]>,
    /// By the keys of the scope.
    scope: [bool; SCOPE_KEYS.len()],
}

/// Writes the field `attributes` of a span. `list` has the span's own attributes, `annotations` are map entries.
pub(super) fn write(
    out: &mut Vec<u8>,
    list: &mut AttributeList<'_>,
    origin: &Origin,
    annotations: &[u8],
    scratch: &mut Scratch,
) {
    let resource = &origin.resource;
    list.dedupe(&mut scratch.keys);
    let overridden = override_shared(list, resource);
    let scope = || {
        origin
            .scope
            .iter()
            .zip(overridden.scope)
            .filter(|(scope, is_overridden)| !is_overridden && !scope.entry.is_empty())
    };
    let room = ATTRIBUTES_MAX - resource.own_count() - scope().count();
    let (span_count, resource_count) = (list.live().count(), resource.users_count() - overridden.resource.len());
    let span_kept = span_count.min(room);
    let resource_kept = resource_count.min(room - span_kept);
    let lost = span_count - span_kept + resource_count - resource_kept;
    scratch.renderer.note(list.altered());
    scratch.renderer.note(Alteration { cut: lost > 0, ..Alteration::default() });
    write::message(out, 7, |out| {
        resource.write(out, &overridden.resource, resource_kept);
        out.extend_from_slice(annotations);
        for (scope, _) in scope() {
            out.extend_from_slice(&scope.entry);
            scratch.renderer.note(scope.altered);
        }
        let without_room = list.live().take(span_kept).filter(|item| !item.write(out, scratch)).count();
        let lost = (lost + without_room) as u64;
        write::count(out, 2, lost + list.dropped_count() + resource.dropped_count);
    });
}

/// Lets attributes give way to ours of the same key, and finds what gives way to them.
fn override_shared(list: &mut AttributeList<'_>, resource: &EncodedResource) -> Overridden {
    let mut overridden = Overridden::default();
    if !list.may_repeat() {
        return overridden;
    }
    for item in list.live_mut() {
        match resource.owner(&item.key, item.hash) {
            None => {
                for (key, is_overridden) in SCOPE_KEYS.iter().zip(&mut overridden.scope) {
                    *is_overridden |= item.key == *key;
                }
            }
            Some(Owner::Us) => item.live = false,
            Some(Owner::User(place)) => overridden.resource.push(place),
        }
    }
    overridden.resource.sort_unstable();
    overridden
}
