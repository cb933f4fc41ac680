//! The exemplar of a series: one span of a kept trace.

use parking_lot::Mutex;

use super::label::VALUE_BYTES_MAX;
use super::read::{self, KeyReader, ResourcePart, SpanPart};
use super::series::SeriesTable;
use super::{SLICE_SPANS, span_nanos};
use crate::budget::Share;
use crate::tail::notes::NotesCache;
use crate::tail::request::{OpenFragment, PlacedSpan, ResourceId};

/// Seconds after which a newer exemplar takes the place of one of a slower span. A scrape comes in between.
const STAY_S: u32 = 60;

/// A span of a kept trace. It is small, because every series has room for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Exemplar {
    /// The duration in nanoseconds. Bytes need no alignment, which saves a tenth of the memory of a series.
    nanos: [u8; 8],
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    /// The time at which the trace was decided, in seconds since 1970; 0 if there is no exemplar.
    pub(super) unix_s: u32,
}

impl Exemplar {
    /// Returns the exemplar of a span of a trace that was decided at `unix_s`.
    pub(super) fn of(span: &SpanPart<'_>, unix_s: u32) -> Option<Self> {
        let (trace_id, span_id) = (span.trace_id.try_into().ok()?, span.span_id.try_into().ok()?);
        Some(Exemplar { nanos: span_nanos(span).to_ne_bytes(), trace_id, span_id, unix_s: unix_s.max(1) })
    }

    /// Returns the duration of the span in nanoseconds.
    pub(super) fn nanos(&self) -> u64 {
        u64::from_ne_bytes(self.nanos)
    }

    pub(super) fn is_set(&self) -> bool {
        self.unix_s != 0
    }

    /// Puts `other` in the place of this exemplar, unless this one is of a slower span and not old.
    pub(super) fn replace(&mut self, other: Exemplar) {
        let is_old = other.unix_s.saturating_sub(self.unix_s) >= STAY_S;
        if !self.is_set() || is_old || other.nanos() >= self.nanos() {
            *self = other;
        }
    }
}

/// The largest resource that is read for an exemplar, if there are dimensions. Each trace with a span of the resource may
/// be kept in a round of its own, and then the resource is read again. SDKs send a few KiB.
const RESOURCE_BYTES_MAX: u32 = 16 << 10;

/// Bytes of a resource from which its dimensions are remembered for the other traces of a round.
const REMEMBERED_BYTES_MIN: u32 = 256;

/// Sets the exemplars of the traces that one round keeps. Call [`Exemplars::flush`] at the end.
#[derive(Debug)]
pub(super) struct Exemplars<'m> {
    reader: &'m KeyReader,
    table: &'m Mutex<SeriesTable>,
    unix_s: u32,
    /// The dimensions of resources, charged to `share`.
    resources: NotesCache<ResourceId, Box<[u8]>>,
    share: Share,
    /// The resource that was read last, and its dimensions.
    last: Option<ResourceId>,
    dimensions: Vec<u8>,
    /// The name of the service of the span that is offered.
    service: Vec<u8>,
    /// The keys of `found`, one after the other.
    keys: Vec<u8>,
    /// Exemplars, each with the place at which its key begins.
    found: Vec<(usize, Exemplar)>,
}

impl<'m> Exemplars<'m> {
    /// Begins a round at `unix_s`. The empty `share` becomes that of its memory.
    pub(super) fn new(reader: &'m KeyReader, table: &'m Mutex<SeriesTable>, share: Share, unix_s: u32) -> Self {
        let resources = NotesCache::new(reader.dimensions_bytes_max());
        let (last, dimensions, service, keys, found) = Default::default();
        Exemplars { reader, table, unix_s, resources, share, last, dimensions, service, keys, found }
    }

    /// Offers the counted spans of a kept trace.
    pub(super) fn offer(&mut self, fragment: &OpenFragment<'_>) {
        let body = fragment.body();
        for placed in fragment.placed().filter(|placed| placed.is_counted) {
            if !self.read_resource(body, &placed) {
                continue;
            }
            let span = self.reader.span(placed.span.of(body));
            let Some(exemplar) = Exemplar::of(&span, self.unix_s) else { continue };
            self.found.push((self.keys.len(), exemplar));
            self.service.clear();
            read::write_service(placed.scope.service.of(body), &mut self.service);
            let resource = ResourcePart { service: &self.service, dimensions: &self.dimensions };
            self.reader.write_key(resource, &span, &mut self.keys);
            if self.found.len() >= SLICE_SPANS || self.keys.len() >= SLICE_SPANS * VALUE_BYTES_MAX {
                self.flush();
            }
        }
    }

    /// Makes `dimensions` those of the resource of a span. Returns false if the resource is too large to be read.
    fn read_resource(&mut self, body: &[u8], placed: &PlacedSpan) -> bool {
        let (id, place) = (placed.resource_id, placed.scope.resource);
        if self.reader.dimensions_bytes_max() == 0 || self.last == Some(id) {
            return true;
        }
        if place.len > RESOURCE_BYTES_MAX {
            return false;
        }
        self.dimensions.clear();
        self.last = Some(id);
        if let Some(known) = self.resources.get(&id) {
            self.dimensions.extend_from_slice(known);
            return true;
        }
        self.reader.write_dimensions(place.of(body), &mut self.dimensions);
        if place.len >= REMEMBERED_BYTES_MIN {
            self.resources.remember(id, &self.dimensions.as_slice().into(), &mut self.share);
        }
        true
    }

    /// Gives the exemplars that were found to their series, under one lock.
    pub(super) fn flush(&mut self) {
        if self.found.is_empty() {
            return;
        }
        let mut table = self.table.lock();
        for (i, (at, exemplar)) in self.found.iter().enumerate() {
            let end = self.found.get(i + 1).map_or(self.keys.len(), |(next, _)| *next);
            table.set_exemplar(self.keys.get(*at..end).unwrap_or_default(), *exemplar);
        }
        drop(table);
        self.keys.clear();
        self.found.clear();
    }
}
