//! Counts of what one configuration keeps, by policy and by service.

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::SideSettings;
use crate::offline::Observer;
use crate::otlp::TraceId;
use crate::otlp::scan::Scan;
use crate::sampling::{ShadowEffect, Verdict};
use crate::tail::kept::KeptSpans;
use crate::tail::table::Millis;
use crate::tail::{Decision, Tally, Trigger};

/// The most services that are counted separately.
const SERVICES_MAX: usize = 1_000;
/// The most services of one trace for each of which the trace counts.
const SERVICES_OF_TRACE_MAX: usize = 64;

/// The counts of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyTotals {
    /// Its name.
    pub name: String,
    /// Traces that it keeps.
    pub kept_traces: u64,
    /// Traces that it drops.
    pub dropped_traces: u64,
    /// Spans that it keeps.
    pub kept_spans: u64,
    /// Their bytes, as they came.
    pub kept_bytes: u64,
    /// The counts of a shadow policy; `None` if the policy decides.
    pub shadow: Option<ShadowTotals>,
    /// The end of the policy (`until`), in seconds since 1970.
    pub until: Option<u64>,
}

/// The changes that a shadow policy would make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShadowTotals {
    /// Traces that it would keep in addition.
    pub more_traces: u64,
    /// Their spans that had come at the decision.
    pub more_spans: u64,
    /// Kept traces that it would drop.
    pub fewer_traces: u64,
    /// Their spans that had come at the decision.
    pub fewer_spans: u64,
}

/// The counts of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceTotals {
    /// Its name, as it was sent; `None` for all services beyond the first thousand.
    pub name: Option<Vec<u8>>,
    /// All spans that came.
    pub spans: u64,
    /// Kept traces in which it has spans.
    pub kept_traces: u64,
    /// Kept spans.
    pub kept_spans: u64,
    /// Their bytes, as they came.
    pub kept_bytes: u64,
}

/// The counts of one configuration.
#[derive(Debug)]
pub struct Totals {
    /// False if another configuration counts what came.
    counts_received: bool,
    spans: u64,
    rejected_spans: u64,
    bytes: u64,
    traces: u64,
    kept_traces: u64,
    kept_spans: u64,
    kept_bytes: u64,
    written_spans: u64,
    written_bytes: u64,
    rescued_traces: u64,
    early_traces: u64,
    policies: Vec<PolicyTotals>,
    services: Services,
    /// Traces that are kept since they were last taken.
    kept: Vec<(TraceId, u16, Millis)>,
    /// The spans of each scope of a request.
    by_scope: Vec<u64>,
}

impl Totals {
    pub(super) fn new(settings: &SideSettings<'_>, counts_received: bool) -> Self {
        let SideSettings { tail_sampling, policies, .. } = settings;
        let written = || tail_sampling.policies.iter().chain(&tail_sampling.shadow.policies);
        let policy = |name: &String| {
            // The parts of a composite policy are `composite/part`, and end with it.
            let is_of =
                |whole: &str| name.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            PolicyTotals {
                name: name.clone(),
                shadow: policies.shadow_labels().any(|shadow| shadow == name).then(ShadowTotals::default),
                until: written().find(|policy| is_of(&policy.name)).and_then(|policy| policy.until),
                ..PolicyTotals::default()
            }
        };
        Totals {
            counts_received,
            spans: 0,
            rejected_spans: 0,
            bytes: 0,
            traces: 0,
            kept_traces: 0,
            kept_spans: 0,
            kept_bytes: 0,
            written_spans: 0,
            written_bytes: 0,
            rescued_traces: 0,
            early_traces: 0,
            policies: policies.names().iter().map(policy).collect(),
            services: Services::default(),
            kept: Vec::new(),
            by_scope: Vec::new(),
        }
    }

    /// Returns the number of spans that came, without the rejected ones.
    #[must_use]
    pub fn spans(&self) -> u64 {
        self.spans
    }

    /// Returns the number of spans that were rejected alone.
    #[must_use]
    pub fn rejected_spans(&self) -> u64 {
        self.rejected_spans
    }

    /// Returns the bytes of the requests.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the number of decided traces.
    #[must_use]
    pub fn traces(&self) -> u64 {
        self.traces
    }

    /// Returns the number of kept traces.
    #[must_use]
    pub fn kept_traces(&self) -> u64 {
        self.kept_traces
    }

    /// Returns the number of kept spans.
    #[must_use]
    pub fn kept_spans(&self) -> u64 {
        self.kept_spans
    }

    /// Returns the bytes of the kept spans, as they came.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    /// Returns the number of spans that are written: the kept ones, and in a dry run all others, too.
    #[must_use]
    pub fn written_spans(&self) -> u64 {
        self.written_spans
    }

    /// Returns the bytes of the written spans, as they came.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Returns the number of kept traces that were dropped first.
    #[must_use]
    pub fn rescued_traces(&self) -> u64 {
        self.rescued_traces
    }

    /// Returns the number of traces that were decided early because memory was short.
    #[must_use]
    pub fn early_traces(&self) -> u64 {
        self.early_traces
    }

    /// Returns the counts by policy, in the order of the configuration.
    #[must_use]
    pub fn policies(&self) -> &[PolicyTotals] {
        &self.policies
    }

    /// Returns the counts by service, the one with the most kept spans first.
    #[must_use]
    pub fn services(&self) -> Vec<&ServiceTotals> {
        let mut services: Vec<_> = self.services.rows.iter().collect();
        services.sort_by(|a, b| (b.kept_spans, b.spans, &a.name).cmp(&(a.kept_spans, a.spans, &b.name)));
        services
    }

    /// Takes the traces that are kept since the last call, each with its policy and the time.
    pub(super) fn drain_kept(&mut self) -> impl Iterator<Item = (TraceId, u16, Millis)> {
        self.kept.drain(..)
    }

    fn policy(&mut self, policy: u16) -> Option<&mut PolicyTotals> {
        self.policies.get_mut(usize::from(policy))
    }
}

impl Observer for Totals {
    fn accepted(&mut self, body: &Bytes, scan: &Scan, _: Millis) {
        if !self.counts_received {
            return;
        }
        self.spans += scan.facts.len() as u64;
        self.rejected_spans += scan.rejected_count() as u64;
        self.bytes += body.len() as u64;
        self.by_scope.clear();
        self.by_scope.resize(scan.scopes.len(), 0);
        for fact in &scan.facts {
            if let Some(spans) = self.by_scope.get_mut(fact.scope as usize) {
                *spans += 1;
            }
        }
        for (scope, spans) in scan.scopes.iter().zip(&self.by_scope) {
            self.services.row(scope.service.of(body)).spans += spans;
        }
    }

    fn decided(&mut self, decision: Decision) {
        self.traces += u64::from(decision.trigger != Trigger::Rescue);
        self.early_traces += u64::from(decision.trigger == Trigger::Pressure);
        match decision.verdict {
            Verdict::Dropped => {}
            Verdict::DroppedByPolicy(policy) => self.policy(policy).into_iter().for_each(|row| row.dropped_traces += 1),
            Verdict::Kept(keep) => {
                self.kept_traces += 1;
                self.rescued_traces += u64::from(decision.trigger == Trigger::Rescue);
                self.policy(keep.policy).into_iter().for_each(|row| row.kept_traces += 1);
                for service in decision.services(SERVICES_OF_TRACE_MAX) {
                    self.services.row(&service).kept_traces += 1;
                }
                self.kept.push((decision.trace, keep.policy, decision.at_ms));
            }
        }
    }

    fn kept(&mut self, kept: KeptSpans, _: Millis) {
        let open = kept.fragment.open();
        let spans = u64::from(kept.fragment.span_count());
        self.written_spans += spans;
        // In a dry run, spans of dropped traces leave, too.
        if kept.keep.is_dropped() {
            self.written_bytes += open.spans().map(|span| span.span.len() as u64).sum::<u64>();
            return;
        }
        let mut bytes = 0;
        for (span, service) in open.spans_with_service() {
            let row = self.services.row(service);
            row.kept_spans += 1;
            row.kept_bytes += span.len() as u64;
            bytes += span.len() as u64;
        }
        self.kept_spans += spans;
        self.kept_bytes += bytes;
        self.written_bytes += bytes;
        if let Some(row) = self.policy(kept.keep.policy) {
            row.kept_spans += spans;
            row.kept_bytes += bytes;
        }
    }

    fn counted(&mut self, tally: &Tally, _: Millis) {
        for shadowed in &tally.shadowed {
            let Some(shadow) = self.policy(shadowed.policy).and_then(|row| row.shadow.as_mut()) else { continue };
            let (traces, spans) = match shadowed.effect {
                ShadowEffect::Keep => (&mut shadow.more_traces, &mut shadow.more_spans),
                ShadowEffect::Drop => (&mut shadow.fewer_traces, &mut shadow.fewer_spans),
            };
            *traces += shadowed.traces;
            *spans += shadowed.spans;
        }
    }
}

/// The counts by service.
#[derive(Debug, Default)]
struct Services {
    numbers: HashMap<Vec<u8>, usize, RandomState>,
    rows: Vec<ServiceTotals>,
}

impl Services {
    fn row(&mut self, name: &[u8]) -> &mut ServiceTotals {
        let number = match self.numbers.get(name) {
            Some(&number) => number,
            None => self.add(name),
        };
        &mut self.rows[number]
    }

    /// Adds a service. Returns the number of its row, or that of the row of all others.
    fn add(&mut self, name: &[u8]) -> usize {
        let has_others = self.rows.last().is_some_and(|last| last.name.is_none());
        if has_others {
            return self.rows.len() - 1;
        }
        let is_named = self.rows.len() < SERVICES_MAX;
        if is_named {
            self.numbers.insert(name.to_vec(), self.rows.len());
        }
        self.rows.push(ServiceTotals { name: is_named.then(|| name.to_vec()), ..ServiceTotals::default() });
        self.rows.len() - 1
    }
}
