//! The attribute map of a span. It has the attributes of the resource, those that Spansieve adds, those of the scope
//! and those of the span. Each key occurs once.
//!
//! If a key occurs several times, an attribute of the span wins over one of the resource. The attributes of the scope
//! are written only if neither the resource nor the span has the key. Labels and annotations, which Spansieve adds, win
//! over all others. Over the limit, attributes of the resource are dropped first, from the last to the first, then
//! those of the span in the same way.

use smallvec::SmallVec;

use super::attributes::{AttributeList, Scratch};
use super::fields::{attributes, span};
use super::origin::{SCOPE_KEYS, SpanOrigin};
use super::resource::{EncodedResource, KeyOwner};
use super::{ATTRIBUTES_MAX, write};
use crate::otlp::altered::Alteration;

/// The shared entries that attributes of the span replace.
#[derive(Debug, Default)]
struct Overridden {
    /// The places of entries of the resource, in ascending order.
    resource: SmallVec<[usize; 8]>,
    /// True for each of [`SCOPE_KEYS`] that the span has.
    scope: [bool; SCOPE_KEYS.len()],
}

/// Writes the field `attributes` of a span. `list` has the attributes of the span, and `annotations` are encoded map
/// entries.
pub(super) fn write(
    out: &mut Vec<u8>,
    list: &mut AttributeList<'_>,
    origin: &SpanOrigin,
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
    write::message(out, span::ATTRIBUTES, |out| {
        resource.write(out, &overridden.resource, resource_kept);
        out.extend_from_slice(annotations);
        for (scope, _) in scope() {
            out.extend_from_slice(&scope.entry);
            scratch.renderer.note(scope.altered);
        }
        let without_room = list.live().take(span_kept).filter(|item| !item.write(out, scratch)).count();
        let lost = (lost + without_room) as u64;
        let lost = lost + list.dropped_count() + resource.dropped_count;
        write::count(out, attributes::DROPPED_ATTRIBUTES_COUNT, lost);
    });
}

/// Marks attributes of the span as not live if Spansieve adds an entry with the same key. Returns the shared entries
/// that the other attributes of the span replace.
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
            Some(KeyOwner::Us) => item.live = false,
            Some(KeyOwner::User(place)) => overridden.resource.push(place),
        }
    }
    overridden.resource.sort_unstable();
    overridden
}
