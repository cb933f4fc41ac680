//! The series of the metrics of spans: counts by the key that [`super::read`] writes.
//!
//! Series lie one after the other, and so do their keys and the counts of their buckets. An index finds a series by the
//! hash of its key. Nothing is removed in between: when series have expired, the table is built anew from the others.
//!
//! A service gets another series only while it has fewer than are still free. So the first one can have half of them, and a
//! flood of names in one service leaves room for the others. It is the rule by which peers get places for requests, too.

use std::hash::BuildHasher;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::exemplar::Exemplar;
use super::read::service_of;

/// The series of spans for which there is no room. It exists from the start.
const OVERFLOW: u32 = 0;

/// The number of series that a table has room for at first.
const SERIES_MIN: usize = 64;

/// A span that is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observation {
    /// The place at which its key begins.
    pub(super) at: u32,
    /// Its duration.
    pub(super) nanos: u64,
    /// True if the key has a name that is only tried out.
    pub(super) is_tried: bool,
}

/// One combination of labels.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Series {
    /// The place of its key.
    key_at: u32,
    key_len: u32,
    /// The time of the last span, in seconds of a monotonic clock.
    last_s: u32,
    /// The sum of the durations.
    pub(super) sum_s: f64,
    pub(super) exemplar: Exemplar,
}

/// All series.
#[derive(Clone, Debug)]
pub(super) struct SeriesTable {
    /// The upper bounds of the buckets, in nanoseconds.
    bounds: Box<[u64]>,
    series_max: usize,
    expire_s: u32,
    hasher: RandomState,
    index: HashTable<u32>,
    series: Vec<Series>,
    /// The number of series of each service, by the hash of its name.
    services: HashTable<(u64, u32)>,
    keys: Vec<u8>,
    /// The counts of the buckets of each series; the last bucket has no bound.
    counts: Vec<u64>,
    calls: u64,
    expired: u64,
    /// The hashes of keys with names that are tried out, each with the time of its last span; `None` if none are.
    tried: Option<HashTable<(u64, u32)>>,
}

impl SeriesTable {
    pub(super) fn new(bounds: &[u64], series_max: usize, expire_after: Duration, tries_names: bool) -> Self {
        let expire_s = u32::try_from(expire_after.as_secs()).unwrap_or(u32::MAX);
        let mut table = SeriesTable {
            bounds: bounds.into(),
            series_max,
            expire_s,
            hasher: RandomState::default(),
            index: HashTable::new(),
            series: Vec::new(),
            services: HashTable::new(),
            keys: Vec::new(),
            counts: Vec::new(),
            calls: 0,
            expired: 0,
            tried: tries_names.then(HashTable::new),
        };
        table.push(&[]);
        table
    }

    /// Counts spans whose keys are in `keys`. Each key ends where the next one begins.
    pub(super) fn observe(&mut self, keys: &[u8], observations: &[Observation], now_s: u32) {
        for (i, observation) in observations.iter().enumerate() {
            let end = observations.get(i + 1).map_or(keys.len(), |next| next.at as usize);
            let key = keys.get(observation.at as usize..end).unwrap_or_default();
            let hash = self.hasher.hash_one(key);
            if observation.is_tried {
                self.try_out(hash, now_s);
            } else {
                self.count(hash, key, observation.nanos, now_s);
            }
        }
    }

    #[inline]
    fn count(&mut self, hash: u64, key: &[u8], nanos: u64, now_s: u32) {
        let number = self.find(hash, key).unwrap_or_else(|| self.insert(hash, key)) as usize;
        let bucket = self.bounds.partition_point(|&bound| bound < nanos);
        let at = number * self.width() + bucket;
        if let (Some(series), Some(count)) = (self.series.get_mut(number), self.counts.get_mut(at)) {
            series.last_s = now_s;
            series.sum_s += nanos as f64 / 1e9;
            *count += 1;
            self.calls += 1;
        }
    }

    #[inline]
    fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.index.find(hash, |&number| self.key(number) == key).copied()
    }

    /// Adds a series; returns the one for the overflow if there is no room, or if its service has as many as are free.
    fn insert(&mut self, hash: u64, key: &[u8]) -> u32 {
        let free = self.series_max.saturating_sub(self.series_count());
        let service = self.hasher.hash_one(service_of(key));
        let own = self.services.find(service, |(known, _)| *known == service).map_or(0, |(_, count)| *count as usize);
        if own >= free { OVERFLOW } else { self.add(hash, key, service) }
    }

    /// Adds a series of the service whose name has this hash.
    fn add(&mut self, hash: u64, key: &[u8], service: u64) -> u32 {
        let count = self.services.entry(service, |(known, _)| *known == service, |(known, _)| *known);
        count.or_insert((service, 0)).get_mut().1 += 1;
        let number = self.push(key);
        let SeriesTable { index, series, keys, hasher, .. } = self;
        index.insert_unique(hash, number, |&number| hasher.hash_one(key_of(series, keys, number)));
        number
    }

    /// Appends a series without a place in the index. The memory grows by half, up to what the most series take.
    fn push(&mut self, key: &[u8]) -> u32 {
        let (len, width) = (self.series.len(), self.width());
        if len == self.series.capacity() {
            let more = (len / 2).max(SERIES_MIN).min(self.series_max + 1 - len).max(1);
            self.series.reserve_exact(more);
            self.counts.reserve_exact(more * width);
        }
        if self.keys.len() + key.len() > self.keys.capacity() {
            self.keys.reserve_exact((self.keys.len() / 8).max(key.len()).max(1_024));
        }
        let key_at = self.keys.len() as u32;
        self.keys.extend_from_slice(key);
        self.counts.resize((len + 1) * width, 0);
        self.series.push(Series { key_at, key_len: key.len() as u32, ..Series::default() });
        len as u32
    }

    fn try_out(&mut self, hash: u64, now_s: u32) {
        let (max, Some(tried)) = (self.series_max, &mut self.tried) else { return };
        if let Some((_, last_s)) = tried.find_mut(hash, |(known, _)| *known == hash) {
            *last_s = now_s;
        } else if tried.len() <= max {
            tried.insert_unique(hash, (hash, now_s), |(hash, _)| *hash);
        }
    }

    /// Offers an exemplar for the series with this key, if there is one.
    pub(super) fn set_exemplar(&mut self, key: &[u8], exemplar: Exemplar) {
        let number = self.find(self.hasher.hash_one(key), key);
        if let Some(series) = number.and_then(|number| self.series.get_mut(number as usize)) {
            series.exemplar.replace(exemplar);
        }
    }

    /// Removes the series without a span in the last `expire_after`. Builds the table anew if there are any.
    pub(super) fn expire(&mut self, now_s: u32) {
        let expire_s = self.expire_s;
        if let Some(tried) = &mut self.tried {
            tried.retain(|(_, last_s)| now_s.saturating_sub(*last_s) < expire_s);
        }
        let is_alive = |series: &Series| now_s.saturating_sub(series.last_s) < expire_s;
        let dead = self.series.iter().skip(1).filter(|series| !is_alive(series)).count();
        if dead == 0 {
            return;
        }
        let bounds = std::mem::take(&mut self.bounds);
        let mut next = SeriesTable::new(&bounds, self.series_max, Duration::from_secs(expire_s.into()), false);
        next.hasher = self.hasher.clone();
        next.series.reserve_exact(self.series.len() - dead);
        next.counts.reserve_exact((self.series.len() - dead) * next.width());
        for (number, series) in self.series.iter().enumerate() {
            if number == OVERFLOW as usize || is_alive(series) {
                next.take_over(
                    number == OVERFLOW as usize,
                    *series,
                    self.key(number as u32),
                    self.buckets_of(number, bounds.len() + 1),
                );
            }
        }
        next.calls = self.calls;
        next.expired = self.expired + dead as u64;
        next.tried = self.tried.take();
        *self = next;
    }

    /// Takes a series of an earlier table over.
    fn take_over(&mut self, is_overflow: bool, series: Series, key: &[u8], buckets: &[u64]) {
        let number = match is_overflow {
            true => OVERFLOW,
            false => self.add(self.hasher.hash_one(key), key, self.hasher.hash_one(service_of(key))),
        } as usize;
        let width = self.width();
        if let Some(own) = self.series.get_mut(number) {
            *own = Series { key_at: own.key_at, key_len: own.key_len, ..series };
        }
        if let Some(own) = self.counts.get_mut(number * width..(number + 1) * width) {
            own.copy_from_slice(buckets);
        }
    }

    fn width(&self) -> usize {
        self.bounds.len() + 1
    }

    fn key(&self, number: u32) -> &[u8] {
        key_of(&self.series, &self.keys, number)
    }

    fn buckets_of(&self, number: usize, width: usize) -> &[u64] {
        self.counts.get(number * width..(number + 1) * width).unwrap_or_default()
    }

    /// Returns the upper bounds of the buckets, in nanoseconds.
    pub(super) fn bounds(&self) -> &[u64] {
        &self.bounds
    }

    /// Returns each series with its key, which is empty for the overflow, and the counts of its buckets. The overflow
    /// comes first, if it has any spans.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Series, &[u8], &[u64])> {
        let all = self.series.iter().enumerate();
        let shown = all.filter(|(number, _)| *number != OVERFLOW as usize || self.overflow_calls() > 0);
        shown.map(|(number, series)| (series, self.key(number as u32), self.buckets_of(number, self.width())))
    }

    /// Returns the number of all spans that were counted.
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    /// Returns the number of spans without a series of their own.
    pub(super) fn overflow_calls(&self) -> u64 {
        self.buckets_of(OVERFLOW as usize, self.width()).iter().sum()
    }

    /// Returns the number of series, without that of the overflow.
    pub(super) fn series_count(&self) -> usize {
        self.series.len().saturating_sub(1)
    }

    /// Returns the number of series that were removed.
    pub(super) fn expired_count(&self) -> u64 {
        self.expired
    }

    /// Returns the number of series that the names that are tried out would have; one more than may exist if there would
    /// be more.
    pub(super) fn tried_count(&self) -> usize {
        self.tried.as_ref().map_or(0, HashTable::len)
    }

    /// Returns the bytes of memory that the table takes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.series.capacity() * size_of::<Series>()
            + self.counts.capacity() * size_of::<u64>()
            + self.keys.capacity()
            + self.index.allocation_size()
            + self.services.allocation_size()
            + self.tried.as_ref().map_or(0, HashTable::allocation_size)
    }
}

fn key_of<'a>(series: &[Series], keys: &'a [u8], number: u32) -> &'a [u8] {
    let Some(series) = series.get(number as usize) else { return &[] };
    let (at, len) = (series.key_at as usize, series.key_len as usize);
    keys.get(at..at + len).unwrap_or_default()
}
