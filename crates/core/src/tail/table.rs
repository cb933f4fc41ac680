//! The table of pending traces. It is split by hashed trace id into shards, each behind its own lock.

mod arrivals;
mod fleet;
pub mod handoff;
mod pressure;
mod replace;

use std::sync::Arc;

use bytes::Bytes;
use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use parking_lot::Mutex;

use self::arrivals::{Arrivals, refresh};
pub use self::fleet::AgainCursor;
use super::compression::{Compression, SCRATCH_BYTES_MAX};
use super::decision::DecisionLog;
use super::due::Moment;
use super::fate::{Fate, TraceReport};
use super::fleet::{FleetReports, TableFleet};
use super::held_spans::HeldSpans;
use super::journal_hold::{JOURNAL_HOLD_BYTES, JournalHold};
use super::kept::KeptSpans;
use super::request::{Fragment, HeldScopes, HeldSpan, Request};
use super::rescan::SpanReader;
use super::round::{WorkRound, hash};
use super::services::{ServiceNumber, ServiceTally, Services};
pub use super::shard::HeldCounts;
use super::shard::{Arrival, FLEET_TRACE_BYTES, Released, Shard, StaleTrace, TRACE_BYTES};
use super::shards::Shards;
use super::tally::{Tally, Trigger};
use super::trace_sample::TraceSample;
use super::verdicts::{Columns, VerdictCache};
use crate::budget::{Budget, ENTRY_BYTES, Share};
use crate::otlp::TraceId;
use crate::otlp::scan::{Bits, Scan, Scope, SpanFact};
use crate::replaceable::{Replaceable, Seen};
use crate::sampling::{Keep, Policies, Summary};
use crate::settings::Size;
use crate::tail::settings::TailSampling;

/// Milliseconds of a monotonic clock.
pub type Millis = u64;

/// Milliseconds between two searches for due traces: calls of [`Table::sweep`] for all shards. On an idle machine no decision
/// is late by more than this. Each search wakes the process, and finds little of what it needs in the processor's caches, so
/// fewer searches cost less.
pub const SWEEP_MS: Millis = 50;

/// The number of shards, as a power of 2. There are many, so that the hash table of a shard is small and its growth
/// never stalls requests for long.
pub(super) const SHARDS_LOG2: u32 = 6;
const SHARDS: usize = 1 << SHARDS_LOG2;

/// The most traces that are decided or let go under one lock: a few hundred microseconds of work.
const SLICE_TRACES: usize = 256;

/// Bytes of spans read under one lock after which no further trace is decided. The last trace may exceed it. In the
/// worst case (spans that consist of two-byte fields) this is as much work as [`SLICE_TRACES`] traces.
pub(super) const SLICE_BYTES: u64 = 256 << 10;

/// The settings of a table, from the configuration.
#[derive(Debug)]
pub(super) struct TableLimits {
    pub(super) decision_ms: Millis,
    pub(super) after_root_ms: Option<Millis>,
    pub(super) rescue_window_ms: Option<Millis>,
    /// The most wire bytes that all rescuable traces hold together.
    pub(super) rescue_bytes_max: u64,
    /// Number of spans at which a trace is decided at once.
    pub(super) trace_spans_max: u32,
    /// Wire bytes of spans at which a trace is decided at once.
    pub(super) trace_bytes_max: u64,
    /// True if spans are exported that would be sampled out.
    pub(super) dry_run: bool,
    pub(super) kept_ids_per_shard: usize,
    pub(super) dropped_ids_per_shard: usize,
    /// True if the caches remember facts about each decision beside its verdict.
    pub(super) remembers_facts: bool,
    /// The fleet that the table is a part of.
    pub(super) fleet: Option<Arc<TableFleet>>,
}

impl TableLimits {
    pub(super) fn new(settings: &TailSampling, limit_bytes: usize) -> Self {
        let millis = |duration: std::time::Duration| duration.as_millis() as Millis;
        let bytes = |size| match size {
            Size::Bytes(bytes) => bytes,
            Size::Percent(percent) => (limit_bytes as f64 * percent / 100.0) as u64,
        };
        let rescue_bytes_max = bytes(settings.rescue.max_bytes);
        let rescue_on = !settings.rescue.window.is_zero() && rescue_bytes_max > 0;
        let after_root = settings.decision_wait_after_root_received;
        TableLimits {
            decision_ms: millis(settings.decision_wait),
            after_root_ms: (!after_root.is_zero()).then(|| millis(after_root)),
            rescue_window_ms: rescue_on.then(|| millis(settings.rescue.window)),
            rescue_bytes_max,
            trace_spans_max: u32::try_from(settings.spans_max).unwrap_or(u32::MAX),
            trace_bytes_max: bytes(settings.bytes_max),
            dry_run: settings.dry_run,
            kept_ids_per_shard: settings.decision_cache.sampled_cache_size.div_ceil(SHARDS),
            dropped_ids_per_shard: settings.decision_cache.non_sampled_cache_size.div_ceil(SHARDS),
            remembers_facts: false,
            fleet: None,
        }
    }

    /// Returns true if a trace has grown so large that it must not wait for more spans.
    pub(super) fn is_full(&self, summary: &Summary) -> bool {
        summary.span_count >= self.trace_spans_max || summary.span_bytes >= self.trace_bytes_max
    }

    /// Returns the columns of a cache of verdicts.
    pub(super) fn columns(&self, values: bool) -> Columns {
        Columns { values, facts: self.remembers_facts }
    }

    /// Returns the most bytes that the verdict caches and the sample of traces take.
    pub(super) fn cache_bytes(&self) -> usize {
        let kept = VerdictCache::bytes_max(self.kept_ids_per_shard, self.columns(true));
        let dropped = VerdictCache::bytes_max(self.dropped_ids_per_shard, self.columns(false));
        SHARDS * (kept + dropped + TraceSample::BYTES_MAX)
    }
}

/// The results of a round of work: kept spans and counts. Reuse it, because its buffers keep their capacity.
#[derive(Debug, Default)]
pub struct RoundOutcome {
    /// Kept spans, for the exporter.
    pub kept: Vec<KeptSpans>,
    /// Counts of the work done.
    pub tally: Tally,
    /// The single decisions; `None` (the default) if only their counts are wanted.
    pub decisions: Option<DecisionLog>,
    /// The reports to the fleet; empty without a fleet.
    pub fleet: FleetReports,
    order: Vec<(u64, u32)>,
    batch: Vec<Arrival>,
    full: Vec<StaleTrace>,
    released: Vec<Released>,
    dropped_by_service: ServiceTally,
}

impl RoundOutcome {
    /// Returns the bytes of memory that the buffers take.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.kept.capacity() * size_of::<KeptSpans>()
            + self.tally.heap_bytes()
            + self.decisions.as_ref().map_or(0, DecisionLog::heap_bytes)
            + self.fleet.heap_bytes()
            + self.order.capacity() * size_of::<(u64, u32)>()
            + self.batch.capacity() * size_of::<Arrival>()
            + self.full.capacity() * size_of::<StaleTrace>()
            + self.released.capacity() * size_of::<Released>()
            + self.dropped_by_service.heap_bytes()
    }
}

/// Returns the bytes that the hold of a request on its copy in the journal takes.
fn hold_bytes(hold: Option<&Arc<JournalHold>>) -> usize {
    hold.map_or(0, |_| JOURNAL_HOLD_BYTES)
}

/// The reason why there is no room for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// There is no room at present. A later attempt can succeed.
    Now,
    /// The request takes more than there would be room for if nothing else were held.
    Ever {
        /// Bytes that the request takes.
        needed_bytes: usize,
        /// Bytes that would be free if nothing else were held.
        free_bytes: usize,
    },
}

/// The policies and the limits by which traces are decided.
#[derive(Debug)]
struct InForce {
    policies: Arc<Policies>,
    limits: TableLimits,
}

/// All pending traces.
#[derive(Debug)]
pub struct Table {
    shards: Shards,
    /// Looked at while a shard is locked, so that work on a shard never goes back to earlier policies.
    in_force: Replaceable<InForce>,
    budget: Budget,
    hasher: SeedableRandomState,
    compression: Option<Arc<Compression>>,
    /// The share of the verdict caches and of all other memory of fixed size.
    caches: Share,
    /// The share of the states of policies.
    states: Mutex<Share>,
    /// The spans by service.
    services: Services,
}

impl Table {
    /// Creates an empty table. Ids are hashed with a random seed, so that a sender cannot tell in which shard and
    /// bucket an id falls.
    #[must_use]
    pub fn new(settings: &TailSampling, policies: Arc<Policies>, budget: Budget) -> Self {
        Self::with_hasher(settings, policies, budget, SeedableRandomState::random())
    }

    /// Creates an empty table with a fixed `seed` of the hash, for simulations that can be replayed.
    #[must_use]
    pub fn seeded(settings: &TailSampling, policies: Arc<Policies>, budget: Budget, seed: u64) -> Self {
        let hasher = SeedableRandomState::with_seed(seed, SharedSeed::global_fixed());
        Self::with_hasher(settings, policies, budget, hasher)
    }

    fn with_hasher(
        settings: &TailSampling,
        policies: Arc<Policies>,
        budget: Budget,
        hasher: SeedableRandomState,
    ) -> Self {
        let limits = TableLimits::new(settings, budget.limit_bytes());
        let shards = Shards::new((0..SHARDS).map(|_| Shard::new(&limits)));
        let caches = budget.force(limits.cache_bytes());
        let states = Mutex::new(budget.force(policies.state_bytes_max()));
        let in_force = Replaceable::new(InForce { policies, limits });
        Table { shards, in_force, budget, hasher, compression: None, caches, states, services: Services::default() }
    }

    /// Returns the policies in force.
    #[must_use]
    pub fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.in_force.see().policies)
    }

    /// Returns the bytes that are charged as long as the table exists: the caches, and the states of policies.
    #[must_use]
    pub fn fixed_bytes(&self) -> usize {
        self.caches.bytes() + self.states.lock().bytes()
    }

    /// Returns the table, which must be empty, with facts beside each verdict ([`TraceReport::decision`]): 8 bytes for
    /// each id, and a third more for the slack of the buckets.
    #[must_use]
    pub fn with_facts(mut self) -> Self {
        // Nothing else refers to what is in force before the table is used.
        let Some(InForce { limits, .. }) = self.in_force.get_mut() else { return self };
        let bytes = limits.cache_bytes();
        limits.remembers_facts = true;
        self.caches.absorb(self.budget.force(limits.cache_bytes() - bytes));
        self.shards = Shards::new((0..SHARDS).map(|_| Shard::new(limits)));
        self
    }

    /// Returns the table with compression of request bodies enabled; see [`Table::compress`].
    #[must_use]
    pub fn with_compression(mut self) -> Self {
        self.caches.absorb(self.budget.force(SCRATCH_BYTES_MAX));
        Table { compression: Some(Arc::default()), ..self }
    }

    /// Returns the table, which must be empty, with spans counted in `services`.
    #[must_use]
    pub fn with_services(self, services: Services) -> Self {
        Table { services, ..self }
    }

    /// Returns the memory budget that the table is charged to.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Returns the number of traces and spans held at this moment.
    #[must_use]
    pub fn held(&self) -> HeldCounts {
        self.shards.iter().fold(HeldCounts::default(), |held, shard| held + shard.held())
    }

    /// Returns the number of entries, live and stale, in the queues of all shards.
    #[cfg(test)]
    fn queued(&self) -> usize {
        self.shards.iter().map(|shard| shard.queued()).sum()
    }

    /// Returns every held trace with its shard, the number of its spans, and true if it is undecided.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn held_traces(&self) -> Vec<(usize, TraceId, u64, bool)> {
        let shards = self.shards.iter().enumerate();
        shards
            .flat_map(|(at, shard)| shard.held_traces().map(|(id, n, p)| (at, id, n, p)).collect::<Vec<_>>())
            .collect()
    }

    /// Takes in a scanned request, beyond the memory limit if need be. `share` becomes the request's share and is
    /// resized to body and index.
    pub fn insert(&self, body: Bytes, scan: &Scan, share: Share, now_ms: Millis, out: &mut RoundOutcome) {
        self.insert_held(body, scan, share, None, now_ms, out);
    }

    /// Does the same as [`Table::insert`] for a request of the journal. The journal keeps the request until `hold` is
    /// dropped.
    pub fn insert_held(
        &self,
        body: Bytes,
        scan: &Scan,
        share: Share,
        hold: Option<Arc<JournalHold>>,
        now_ms: Millis,
        out: &mut RoundOutcome,
    ) {
        self.sort(scan, out);
        self.insert_sorted(body, scan, share, hold, now_ms, out, self.in_force.see());
    }

    /// Does the same as [`Table::insert_held`] if there is room for the index of the request in addition to its body.
    /// Makes room as [`Table::admit_beside`] does. The index of a request of small spans can be several times as large
    /// as its body.
    ///
    /// # Errors
    /// There is no room. Nothing of the request was taken.
    pub fn insert_within(
        &self,
        body: Bytes,
        scan: &Scan,
        mut share: Share,
        hold: Option<Arc<JournalHold>>,
        now_ms: Millis,
        out: &mut RoundOutcome,
    ) -> Result<(), NoRoom> {
        let held_bytes = share.bytes() + scan.heap_bytes();
        let order_bytes = scan.facts.len() * size_of::<(u64, u32)>();
        let order = self.admit_beside(&share, order_bytes, now_ms, out);
        let order = order.ok_or_else(|| self.no_room(held_bytes + order_bytes))?;
        self.sort(scan, out);
        let in_force = self.in_force.see();
        let index_bytes = index_bytes(scan, out, &in_force) + hold_bytes(hold.as_ref());
        let index = self.admit_beside(&share, index_bytes, now_ms, out);
        share.absorb(index.ok_or_else(|| self.no_room(held_bytes + order_bytes + index_bytes))?);
        self.insert_sorted(body, scan, share, hold, now_ms, out, in_force);
        drop(order);
        Ok(())
    }

    /// Sorts the spans of a request by the hashes of their traces.
    fn sort(&self, scan: &Scan, out: &mut RoundOutcome) {
        let order = &mut out.order;
        order.clear();
        order.reserve_exact(scan.facts.len());
        order.extend(scan.facts.iter().enumerate().map(|(i, fact)| (hash(&self.hasher, fact.trace_id), i as u32)));
        order.sort_unstable();
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a request, and the surroundings of the work")]
    fn insert_sorted(
        &self,
        body: Bytes,
        scan: &Scan,
        mut share: Share,
        hold: Option<Arc<JournalHold>>,
        now_ms: Millis,
        out: &mut RoundOutcome,
        mut in_force: Seen<InForce>,
    ) {
        if scan.facts.is_empty() {
            return;
        }
        share.resize(body.len() + hold_bytes(hold.as_ref()) + index_bytes(scan, out, &in_force));
        let (order, mut batch) = (std::mem::take(&mut out.order), std::mem::take(&mut out.batch));
        let spans = held_spans(&order, &scan.facts, in_force.policies.counted());
        let services = scan.scopes.iter().map(|scope| self.services.number(scope.service.of(&body))).collect();
        let scopes = HeldScopes { scopes: scan.scopes.clone().into(), services };
        let bytes = body.clone();
        let request = Request::held(body, spans, scopes, share, hold, self.compression.clone());
        let policies = Arc::clone(&in_force.policies);
        // One reader for the whole request: its traces share resources.
        let mut reader = None;
        let again = |fragment: &Fragment| {
            let new = || SpanReader::new(&policies, policies.probe(), self.budget.share());
            let reader = reader.get_or_insert_with(new);
            reader.summary(std::iter::once(fragment))
        };
        let (policies, body, request) = (&*policies, &bytes[..], &request);
        let arrivals = Arrivals { policies, order: &order, scan, body, request, again, next: 0 };
        let mut arrivals = arrivals.peekable();
        while let Some(first) = arrivals.next() {
            let shard = shard_of(first.hash);
            batch.push(first);
            while let Some(arrival) = arrivals.next_if(|next| shard_of(next.hash) == shard) {
                batch.push(arrival);
            }
            self.arrive(shard, &mut batch, &mut in_force, now_ms, out);
        }
        (out.order, out.batch) = (order, batch);
    }

    /// Takes the spans of `batch` into `shard`. If other policies are in force by then, evaluates the spans again.
    fn arrive(
        &self,
        shard: usize,
        batch: &mut Vec<Arrival>,
        in_force: &mut Seen<InForce>,
        now_ms: Millis,
        out: &mut RoundOutcome,
    ) {
        loop {
            refresh(batch, &in_force.policies);
            let mut guard = self.shards.lock(shard);
            if self.in_force.is_present(in_force) {
                guard.arrive(batch, &mut self.round(in_force, now_ms, out));
                drop(guard);
                return self.read_full(shard, in_force, now_ms, out);
            }
            drop(guard);
            self.in_force.refresh(in_force);
        }
    }

    /// Restores a verdict of an earlier process. Spans of the trace `id` that still come follow it.
    pub fn restore_kept(&self, id: TraceId, keep: Keep) {
        let hash = hash(&self.hasher, id);
        self.shards.lock(shard_of(hash)).restore_kept(hash, keep);
    }

    /// Returns the fate of the trace `id`. This changes nothing.
    #[must_use]
    pub fn fate(&self, id: TraceId) -> Fate {
        self.report(id, 0).fate
    }

    /// Returns all that the table knows of the trace `id` at `now_ms`. This changes nothing.
    #[must_use]
    pub fn report(&self, id: TraceId, now_ms: Millis) -> TraceReport {
        let hash = hash(&self.hasher, id);
        let in_force = self.in_force.see();
        self.shards.lock(shard_of(hash)).report(id, hash, now_ms, &in_force.limits)
    }

    /// Returns true if spans are exported whatever the verdicts are.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.in_force.see().limits.dry_run
    }

    /// Returns the spans of the trace `id` if they are in the table: it is pending or rescuable. This changes nothing.
    #[must_use]
    pub fn held_spans(&self, id: TraceId) -> Option<HeldSpans> {
        let hash = hash(&self.hasher, id);
        self.shards.lock(shard_of(hash)).fragments(id, hash).map(HeldSpans::new)
    }

    /// Decides a slice of the traces that are due in shard `shard` (less than [`Table::shard_count`]), and lets go of a
    /// slice of the rescuable ones whose window is over. With a fleet, also reports a slice of the traces with new spans.
    /// Returns true if more are waiting.
    pub fn sweep(&self, shard: usize, now_ms: Millis, out: &mut RoundOutcome) -> bool {
        if !self.shards.is_due(shard, now_ms) {
            return false;
        }
        let mut guard = self.shards.lock(shard);
        let in_force = self.in_force.see();
        let mut round = self.round(&in_force, now_ms, out);
        let now = Moment::new(now_ms);
        guard.release_rescuable(Some(now), SLICE_TRACES, &mut round);
        let expired = guard.first_rescuable().is_some_and(|end| !now.is_before(end));
        let decided = guard.decide_due(SLICE_TRACES, &mut round);
        let reported = guard.report_due(SLICE_TRACES, &mut round);
        expired || decided || reported
    }

    /// Returns the next time, not before `now_ms`, at which [`Table::sweep`] may have something to do; `None` if no trace
    /// is held.
    #[must_use]
    pub fn next_due(&self, now_ms: Millis) -> Option<Millis> {
        self.shards.next_due(now_ms)
    }

    /// Compresses the body of one request that has not been read for a second, if compression is enabled. Returns true
    /// if there may be more.
    pub fn compress(&self, now_ms: Millis) -> bool {
        self.compression.as_ref().is_some_and(|compression| compression.compress_one(now_ms))
    }

    /// Does a little upkeep of the memory blocks that bodies share. Returns true if it moved bodies.
    pub fn tidy(&self, now_ms: Millis) -> bool {
        self.budget.tidy(now_ms)
    }

    /// Returns the number of shards.
    #[must_use]
    pub fn shard_count(&self) -> usize {
        self.shards.count()
    }

    /// Gives back the memory that a burst has left in one shard.
    pub fn shrink(&self, shard: usize) {
        self.shards.lock(shard).shrink();
    }

    /// Decides a slice of all pending traces and lets go of rescuable ones, because the process is shutting down.
    /// Returns true if there is more to do.
    pub fn drain(&self, now_ms: Millis, out: &mut RoundOutcome) -> bool {
        let shed = self.each_shard(now_ms, out, |shard, round| {
            shard.release_rescuable(None, SLICE_TRACES, round);
            shard.first_rescuable().is_some()
        });
        let decided =
            self.each_shard(now_ms, out, |shard, round| shard.decide_oldest(SLICE_TRACES, Trigger::Shutdown, round));
        shed || decided
    }

    /// Does `work` on each shard. Returns true if any shard has more to do.
    fn each_shard(
        &self,
        now_ms: Millis,
        out: &mut RoundOutcome,
        work: impl Fn(&mut Shard, &mut WorkRound<'_>) -> bool,
    ) -> bool {
        let mut in_force = self.in_force.see();
        self.shards.iter().fold(false, |more, mut shard| {
            self.in_force.refresh(&mut in_force);
            work(&mut shard, &mut self.round(&in_force, now_ms, out)) || more
        })
    }

    fn round<'a>(&'a self, in_force: &'a InForce, now_ms: Millis, out: &'a mut RoundOutcome) -> WorkRound<'a> {
        WorkRound {
            policies: &in_force.policies,
            limits: &in_force.limits,
            hasher: &self.hasher,
            services: &self.services,
            now_ms,
            kept: &mut out.kept,
            tally: &mut out.tally,
            decisions: out.decisions.as_mut(),
            full: &mut out.full,
            released: &mut out.released,
            dropped_by_service: &mut out.dropped_by_service,
            fleet: &mut out.fleet,
            follows: false,
            read_bytes: 0,
        }
    }
}

#[inline]
fn shard_of(hash: u64) -> usize {
    (hash >> (u64::BITS - SHARDS_LOG2)) as usize
}

/// Returns the bytes of the index of a sorted request, with the entries of the table that its traces may take.
fn index_bytes(scan: &Scan, out: &RoundOutcome, in_force: &InForce) -> usize {
    let fragments = out.order.chunk_by(|a, b| a.0 == b.0).count();
    let fleet_bytes = if in_force.limits.fleet.is_some() { FLEET_TRACE_BYTES } else { 0 };
    size_of::<Request>()
        + ENTRY_BYTES
        + out.order.len() * size_of::<HeldSpan>()
        + scan.scopes.len() * (size_of::<Scope>() + size_of::<ServiceNumber>())
        + fragments * (TRACE_BYTES + fleet_bytes + in_force.policies.summary_heap_bytes())
}

fn held_spans(order: &[(u64, u32)], facts: &[SpanFact], counted: Bits) -> Box<[HeldSpan]> {
    let facts = order.iter().map(|&(_, i)| &facts[i as usize]);
    facts.map(|fact| HeldSpan::new(fact.span, fact.scope).counted(fact.bits & counted != 0)).collect()
}

#[cfg(test)]
mod tests;
