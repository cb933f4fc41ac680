//! The pure core with a model beside it. After each step, the model checks that the table may do what it did.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::account::{Account, Act, Changes, Event, Phase, follows};
use super::exporter::Exporter;
use super::reference::{Facts, Law};
use super::scenario::{Kind, Rule, SWEEP_CLASSES, Scenario, SpanSpec, Step};
use crate::budget::Budget;
use crate::otlp::TraceId;
use crate::otlp::reference::Span;
use crate::otlp::scan::{Scan, scan};
use crate::sampling::{Keep, Policies, PolicyNames, Threshold, Verdict};
use crate::settings::Size;
use crate::tail::kept::KeptSpans;
use crate::tail::settings::{DecisionCache, TailSampling};
use crate::tail::table::{HeldCounts, RoundOutcome};
use crate::tail::{Table, Trigger};

/// The most bytes of a span by which the budget can exceed its limit: in the index of a request that was admitted by
/// the size of its body, and as an encoded kept span.
const INDEX_SPAN_BYTES_MAX: usize = 512;
const ENCODED_SPAN_BYTES_MAX: usize = 4_096;

/// A planted fault, to test that the checks find it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Broken {
    /// A kept fragment never gets to the exporter but is settled.
    Loss,
    /// A kept fragment gets to the exporter twice.
    Repetition,
    /// A share of the budget is not given back.
    Memory,
    /// A trace is kept with a verdict that no policy gives, and with one span less.
    Verdict,
}

/// A planted fault of a reload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum BrokenReload {
    /// The rules in force stay in force.
    Ignored,
    /// Held spans are not evaluated for the new rules.
    Stale,
}

pub(super) struct World<'s> {
    scenario: &'s Scenario,
    table: Table,
    budget: Budget,
    /// Bytes in use before the first request.
    idle_bytes: usize,
    names: PolicyNames,
    /// The rules in force.
    rules: &'s [Rule],
    /// The policies before the last reload. Some requests were scanned for them when it came.
    previous: Arc<Policies>,
    /// True if held spans may not have been evaluated for the rules in force.
    is_stale: bool,
    /// A fault that every reload has.
    pub(super) broken_reload: Option<BrokenReload>,
    now_ms: u64,
    out: RoundOutcome,
    exporter: Exporter,
    accounts: Vec<Account>,
    places: HashMap<TraceId, usize>,
    /// Bodies that were sent, with the spans of each.
    sent: Vec<(Bytes, Vec<SpanSpec>)>,
    /// The verdicts that each span left for the exporter with, by the span's name: one for each time that it left.
    left: HashMap<String, Vec<Keep>>,
    accepted_spans: u64,
    /// Sampled-out spans by the model's count. `sampled_out_spans` is the table's own count.
    released_spans: u64,
    sampled_out_spans: u64,
}

impl<'s> World<'s> {
    pub(super) fn new(scenario: &'s Scenario) -> Self {
        let settings = read(scenario, &scenario.rules);
        let policies = Arc::new(Policies::compile_set(settings.policy_set(), None).expect("policies that fit"));
        let names = PolicyNames::new(policies.names());
        let table = |budget: &Budget| Table::seeded(&settings, Arc::clone(&policies), budget.clone(), scenario.seed);
        let idle = Budget::new(0);
        let _probe = table(&idle);
        let budget = Budget::new(idle.used_bytes() + scenario.room_bytes);
        let places = scenario.traces.iter().enumerate().map(|(at, (id, _))| (TraceId(*id), at)).collect();
        World {
            scenario,
            table: table(&budget),
            idle_bytes: idle.used_bytes(),
            exporter: Exporter::new(names.clone(), &budget),
            budget,
            names,
            rules: &scenario.rules,
            previous: policies,
            is_stale: false,
            broken_reload: None,
            now_ms: 0,
            out: RoundOutcome::default(),
            accounts: vec![Account::default(); scenario.traces.len()],
            places,
            sent: Vec::new(),
            left: HashMap::new(),
            accepted_spans: 0,
            released_spans: 0,
            sampled_out_spans: 0,
        }
    }

    /// Does one step and checks all promises.
    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Send(spans) => {
                self.sent.push((self.scenario.body(self.sent.len(), spans), spans.clone()));
                self.send(self.sent.len() - 1);
            }
            Step::Again(at) if !self.sent.is_empty() => self.send(at % self.sent.len()),
            Step::Again(_) => {}
            Step::Wait(millis) => self.now_ms += millis,
            Step::Sweep(class) => {
                for shard in (*class..self.table.shard_count()).step_by(SWEEP_CLASSES) {
                    while self.table.sweep(shard, self.now_ms, &mut self.out) {}
                }
                self.check(Act::Sweep(*class));
            }
            Step::Relieve => {
                self.table.relieve(self.now_ms, &mut self.out);
                self.check(Act::Relief);
            }
            Step::Shrink(shard) => self.table.shrink(*shard),
            Step::Encode(fragments) => self.exporter.encode(*fragments, self.now_ms),
            Step::Answer(answer) => self.exporter.answer(*answer),
            Step::Reload(number) => self.reload(*number),
            Step::Rescan => self.rescan(),
        }
        self.check_books();
    }

    /// Puts other rules in force. Pending traces are then decided by them.
    fn reload(&mut self, number: usize) {
        self.rescan();
        let rules = &self.scenario.other_rules[number % self.scenario.other_rules.len()];
        let settings = read(self.scenario, rules);
        let present = self.table.policies();
        let policies = Policies::compile_set(settings.policy_set(), Some(&present)).expect("policies that fit");
        let policies = match self.broken_reload {
            // Policies with the number of their predecessor seem to be the same, so nothing is evaluated again.
            Some(BrokenReload::Stale) => policies.renumbered(present.generation()),
            _ => policies,
        };
        self.names.extend_to(policies.names());
        if self.broken_reload != Some(BrokenReload::Ignored) {
            self.table.replace(&settings, Arc::new(policies));
        }
        (self.rules, self.previous, self.is_stale) = (rules, present, true);
        self.check(Act::Reload);
    }

    /// Evaluates the held spans for the rules in force.
    fn rescan(&mut self) {
        let (mut kept, mut tally) = (Vec::new(), crate::tail::Tally::default());
        self.table.rescan(
            &mut RoundOutcome::default(),
            || self.now_ms,
            |out| {
                kept.append(&mut out.kept);
                tally.add(&out.tally);
                out.tally.clear();
            },
        );
        assert_eq!(self.table.stale_traces(), 0);
        self.out.kept.append(&mut kept);
        self.out.tally.add(&tally);
        self.is_stale = false;
        self.check(Act::Rescan);
    }

    fn law(&self) -> Law<'_> {
        Law { scenario: self.scenario, rules: self.rules, names: &self.names }
    }

    /// Shuts down: decides and writes everything, and checks that nothing is left. Returns, for each trace, the verdict
    /// that its spans were kept with and the number of kept spans.
    pub(super) fn finish(mut self) -> Vec<(Option<Keep>, u64)> {
        loop {
            let more = self.table.drain(self.now_ms, &mut self.out);
            self.check(Act::Drain);
            self.exporter.encode(3, self.now_ms);
            self.check_books();
            if !more {
                break;
            }
        }
        assert_eq!(self.table.held(), HeldCounts::default());
        self.exporter.finish(self.now_ms);
        self.check_books();
        self.check_sink();
        assert_eq!(self.exporter.queue.unsettled_spans(), 0);
        assert_eq!(self.budget.used_bytes(), self.idle_bytes, "all memory is given back");
        let keep = |account: &Account| account.keep.map(|keep| Keep::new(keep.policy, keep.threshold));
        self.accounts.iter().map(|account| (keep(account), account.left)).collect()
    }

    /// Plants a fault. Returns false if the present state offers no place for it.
    pub(super) fn break_promise(&mut self, how: Broken) -> bool {
        let mut waiting = VecDeque::new();
        let queue = &self.exporter.queue;
        match how {
            Broken::Memory => std::mem::forget(self.budget.force(1)),
            Broken::Loss => {
                queue.take(1, &mut waiting);
                queue.settle(waiting.iter().map(|kept| u64::from(kept.fragment.span_count())).sum());
                return !waiting.is_empty();
            }
            Broken::Repetition => {
                queue.take(1, &mut waiting);
                let again = waiting.clone();
                queue.push(&mut again.into_iter().chain(waiting.drain(..)).collect());
                return !queue.is_empty();
            }
            Broken::Verdict => {
                let flipped = |account: &Account| account.phase == Phase::Kept;
                let Some(account) = self.accounts.iter_mut().find(|account| flipped(account)) else { return false };
                account.keep = Some(Keep::new(u16::MAX, Threshold::NEVER));
                account.left -= 1;
            }
        }
        true
    }

    fn send(&mut self, at: usize) {
        let (body, spans) = self.sent[at].clone();
        let before = self.budget.used_bytes();
        let share = self.table.admit(body.len(), self.now_ms, &mut self.out);
        self.check(Act::Relief);
        let Some(share) = share else {
            assert_eq!(self.table.held(), HeldCounts::default(), "refused while something could be decided or let go");
            return;
        };
        let mut found = Scan::default();
        // Every third request was scanned before the last reload.
        let policies = if at.is_multiple_of(3) { Arc::clone(&self.previous) } else { self.table.policies() };
        let body = scan(body, policies.probe(), &mut found).expect("a valid body");
        let mut arrived: HashMap<usize, Facts> = HashMap::new();
        let accepted = spans.iter().filter(|span| span.kind != Kind::Bad);
        accepted.for_each(|span| arrived.entry(span.trace).or_default().add(span.kind));
        self.accepted_spans += found.facts.len() as u64;
        self.table.insert(body, &found, share, self.now_ms, &mut self.out);
        let slack = INDEX_SPAN_BYTES_MAX * (1 + spans.len());
        assert!(self.budget.used_bytes() <= before.max(self.budget.limit_bytes()) + slack);
        self.check(Act::Insert(&arrived));
    }

    /// Compares the result of `act` with the model, then passes the kept spans on as the daemon does.
    fn check(&mut self, act: Act<'_>) {
        let left = self.take_left();
        let held_traces = self
            .table
            .held_traces()
            .into_iter()
            .map(|(shard, id, spans, pending)| (self.places[&id], (shard, spans, pending)));
        let held_traces: HashMap<usize, (usize, u64, bool)> = held_traces.collect();
        let mut expected = Changes::default();
        for at in 0..self.accounts.len() {
            let arrived = if let Act::Insert(arrived) = act { arrived.get(&at).cloned() } else { None };
            let event = Event {
                at,
                arrived: arrived.unwrap_or_default(),
                left: left.get(&at).map_or(&[][..], Vec::as_slice),
                held: held_traces.get(&at).copied(),
                act,
            };
            self.follow(&event, &mut expected);
        }
        self.check_tally(act, &expected);
        let spans: u64 = left.values().flatten().map(|(_, spans)| spans).sum();
        self.table.policies().kept(spans as u32, self.now_ms);
    }

    /// Returns the spans that leave for the exporter by trace, one entry for each fragment, and puts them into the
    /// exporter's queue.
    fn take_left(&mut self) -> HashMap<usize, Vec<(Keep, u64)>> {
        let mut left: HashMap<usize, Vec<(Keep, u64)>> = HashMap::new();
        for KeptSpans { fragment, keep, .. } in &self.out.kept {
            let mut owner = None;
            for bytes in fragment.open().spans() {
                let span = Span::decode(bytes.span).expect("a span");
                let id = TraceId(span.trace_id[..].try_into().expect("16 bytes"));
                assert_eq!(*owner.get_or_insert(id), id, "all spans of a fragment are of one trace");
                let name = String::from_utf8(span.name).expect("a name");
                self.left.entry(name).or_default().push(*keep);
            }
            let at = self.places[&owner.expect("a fragment has spans")];
            left.entry(at).or_default().push((*keep, fragment.span_count().into()));
        }
        self.exporter.queue.push(&mut self.out.kept);
        left
    }

    /// Checks the effect of an act on one trace, and adds it to `changes`.
    fn follow(&mut self, event: &Event<'_>, changes: &mut Changes) {
        let account = &self.accounts[event.at];
        let (phase, whole) = (account.phase, account.held.and(&event.arrived));
        let left: u64 = event.left.iter().map(|(_, spans)| spans).sum();
        let held = event.held.map_or(0, |(_, spans, _)| spans);
        let released = whole.spans.checked_sub(left + held).expect("the table returns no more spans than came");
        let keep = event.left.first().map(|(keep, _)| *keep);
        assert!(event.left.iter().all(|(other, _)| Some(*other) == keep), "{event:?}: one verdict");
        if released > 0 && held > 0 {
            return self.follow_rejected(event, released, changes);
        }
        assert!([left, held, released].iter().filter(|&&spans| spans > 0).count() <= 1, "{event:?}: torn apart");
        let next = if whole.spans == 0 {
            phase
        } else if let Some(keep) = keep {
            self.check_kept(event, &whole, keep);
            Phase::Kept
        } else if let Some((_, _, pending)) = event.held {
            self.check_stays(event, &whole, pending)
        } else {
            self.check_released(event, &whole)
        };
        changes.add(phase, next, event);
        let account = &mut self.accounts[event.at];
        account.accepted += event.arrived.spans;
        account.left += left;
        account.released += released;
        account.held = if next.is_held() { whole } else { Facts::default() };
        account.keep = keep.or(account.keep);
        account.phase = next;
        self.released_spans += released;
        assert_eq!(account.accepted, account.left + account.released + account.held.spans);
    }

    /// Checks a full, rescuable trace that takes no more spans unless they rescue it.
    fn follow_rejected(&mut self, event: &Event<'_>, released: u64, changes: &mut Changes) {
        let law = Law { scenario: self.scenario, rules: self.rules, names: &self.names };
        let account = &mut self.accounts[event.at];
        assert!(matches!(account.phase, Phase::Rescuable { .. }) && account.held.is_full(self.scenario), "{event:?}");
        assert_eq!(released, event.arrived.spans, "{event:?}: torn apart");
        let verdict = law.verdict(event.at, &account.held.and(&event.arrived));
        assert!(!matches!(verdict, Verdict::Kept(_)), "{event:?}: not rescued");
        changes.add(account.phase, account.phase, event);
        account.accepted += released;
        account.released += released;
        self.released_spans += released;
    }

    /// Checks a whole trace, or late spans of one, that leave for the exporter.
    fn check_kept(&self, event: &Event<'_>, whole: &Facts, keep: Keep) {
        let (account, at) = (&self.accounts[event.at], event.at);
        let follows = account.keep.is_some_and(|first| follows(self.law().amended(first, &event.arrived), keep));
        let plain = Keep::new(keep.policy, keep.threshold);
        let verdict = self.law().admits(at, whole, plain);
        let forgot = !self.scenario.remembers();
        let right = match account.phase {
            Phase::Kept => follows || forgot && (verdict || self.law().proof(whole) == Some(keep)),
            Phase::Gone => self.law().proof(whole) == Some(keep) || forgot && verdict,
            Phase::Vetoed => forgot && (verdict || self.law().proof(whole) == Some(keep)),
            Phase::New | Phase::Pending { .. } | Phase::Rescuable { .. } => verdict,
        };
        assert!(right, "{event:?}: {keep:?} for {whole:?} in {account:?}");
        match account.phase {
            Phase::Rescuable { .. } => assert!(keep.rescued, "{event:?}: rescued, but does not say so"),
            Phase::New | Phase::Pending { .. } => assert!(!keep.rescued, "{event:?}: says rescued"),
            Phase::Gone | Phase::Vetoed | Phase::Kept => {}
        }
        let has_waited = matches!((event.act, account.phase), (Act::Sweep(_), Phase::Pending { .. }));
        assert!(has_waited || keep.missing_parent.is_none() || account.phase == Phase::Kept, "{event:?}: {keep:?}");
        let proven = whole.is_full(self.scenario) || self.law().proof(whole).is_some();
        assert!(event.act != Act::Rescan || proven, "{event:?}: decided before its time");
        self.check_early(event);
    }

    /// Checks a trace that is held, or begins to be. Returns its next phase.
    fn check_stays(&self, event: &Event<'_>, whole: &Facts, pending: bool) -> Phase {
        let account = &self.accounts[event.at];
        let verdict = self.law().verdict(event.at, whole);
        let swept =
            matches!((event.act, event.held), (Act::Sweep(class), Some((shard, ..))) if shard % SWEEP_CLASSES == class);
        assert_ne!(event.act, Act::Drain, "{event:?}: held though the process stops");
        match (account.phase, pending) {
            (Phase::Rescuable { expiry_ms }, false) => {
                let proven = event.arrived.spans > 0 && matches!(verdict, Verdict::Kept(_));
                assert!(!proven, "{event:?}: not rescued, {whole:?}");
                assert!(!swept || expiry_ms > self.now_ms, "{event:?}: rescuable for ever");
                account.phase
            }
            (phase, true) => {
                let begun = match phase {
                    Phase::Pending { due_ms } => due_ms,
                    Phase::New => self.now_ms + self.scenario.wait_ms,
                    _ if !self.scenario.remembers() => self.now_ms + self.scenario.wait_ms,
                    _ => panic!("{event:?}: decided twice"),
                };
                let rooted = self.now_ms + self.scenario.root_wait_ms;
                let forward = event.arrived.root && self.scenario.root_wait_ms > 0;
                let due_ms = if forward { begun.min(rooted) } else { begun };
                assert!(!swept || due_ms > self.now_ms, "{event:?}: overdue");
                let may_wait = self.is_stale || !whole.is_full(self.scenario);
                assert!(may_wait, "{event:?}: waits for more than it may hold");
                Phase::Pending { due_ms }
            }
            (phase, false) => {
                let decided = matches!(phase, Phase::Pending { .. }) || whole.is_full(self.scenario);
                assert!(decided, "{event:?}: rescuable without a decision");
                assert!(matches!(phase, Phase::New | Phase::Pending { .. }) || !self.scenario.remembers(), "{event:?}");
                assert_eq!(verdict, Verdict::Dropped, "{event:?}: {whole:?}");
                assert!(self.scenario.rescue_window_ms > 0, "{event:?}: rescuable though that is off");
                self.check_early(event);
                Phase::Rescuable { expiry_ms: self.now_ms + self.scenario.rescue_window_ms }
            }
        }
    }

    /// Checks a trace, or late spans of one, that are sampled out. Returns the next phase of the trace.
    fn check_released(&self, event: &Event<'_>, whole: &Facts) -> Phase {
        let account = &self.accounts[event.at];
        let verdict = self.law().verdict(event.at, whole);
        let forgot = !self.scenario.remembers() && whole.is_full(self.scenario);
        match account.phase {
            phase if matches!(phase, Phase::Pending { .. }) || phase == Phase::New && whole.is_full(self.scenario) => {
                self.check_early(event);
                match verdict {
                    Verdict::Kept(_) => panic!("{event:?}: {whole:?} was to be kept"),
                    Verdict::Dropped => Phase::Gone,
                    Verdict::DroppedByPolicy(_) => Phase::Vetoed,
                }
            }
            Phase::Rescuable { expiry_ms } => {
                assert_eq!(event.arrived.spans, 0, "{event:?}: late spans let go of a trace");
                assert!(
                    matches!(event.act, Act::Relief | Act::Drain) || expiry_ms <= self.now_ms,
                    "{event:?}: let go too early"
                );
                Phase::Gone
            }
            // The cache has forgotten the trace, so it begins again, and is decided at once.
            Phase::Gone | Phase::Kept if forgot && matches!(verdict, Verdict::DroppedByPolicy(_)) => Phase::Vetoed,
            Phase::Gone => {
                assert_eq!(self.law().proof(whole), None, "{event:?}: {whole:?}");
                Phase::Gone
            }
            // If a trace was kept after it had been dropped, the cache may forget the keep and still know the drop.
            Phase::Kept if account.released > 0 && !self.scenario.remembers() => {
                assert_eq!(self.law().proof(whole), None, "{event:?}: {whole:?}");
                Phase::Gone
            }
            Phase::Vetoed => Phase::Vetoed,
            Phase::Kept if forgot && !matches!(verdict, Verdict::Kept(_)) => Phase::Gone,
            Phase::New | Phase::Pending { .. } | Phase::Kept => panic!("{event:?}: let go without a decision"),
        }
    }

    /// Checks that a decision before the due time has a reason.
    fn check_early(&self, event: &Event<'_>) {
        match (event.act, self.accounts[event.at].phase) {
            (Act::Sweep(_), Phase::Pending { due_ms }) => assert!(due_ms <= self.now_ms, "{event:?}: too early"),
            (Act::Reload, _) => panic!("{event:?}: decided by a reload"),
            (Act::Insert(_), _) => assert!(event.arrived.spans > 0, "{event:?}: decided by the spans of others"),
            _ => {}
        }
    }

    /// Checks the counts of the table.
    fn check_tally(&mut self, act: Act<'_>, expected: &Changes) {
        let tally = &self.out.tally;
        let traces = |by_policy: &[(u16, Trigger, u64)]| by_policy.iter().map(|(.., traces)| traces).sum::<u64>();
        if self.scenario.remembers() {
            let dropped = traces(&tally.dropped_by_policy) + tally.dropped.iter().sum::<u64>();
            assert_eq!(dropped, expected.dropped_traces, "{act:?}: dropped traces");
            assert_eq!(traces(&tally.kept), expected.kept_traces, "{act:?}: kept traces");
            let late = [tally.late_kept_spans, tally.late_dropped_spans, tally.late_rescued_spans];
            assert_eq!(late, expected.late_spans, "{act:?}: late spans");
        }
        let triggers: &[Trigger] = match act {
            Act::Insert(_) => &[Trigger::Evidence, Trigger::TraceSize, Trigger::Rescue],
            Act::Relief => &[Trigger::Pressure],
            Act::Sweep(_) => &[Trigger::DecisionWait, Trigger::RootReceived],
            Act::Reload => &[],
            Act::Rescan => &[Trigger::Evidence, Trigger::TraceSize],
            Act::Drain => &[Trigger::Shutdown],
        };
        let said = tally.kept.iter().chain(&tally.dropped_by_policy).map(|(_, trigger, _)| *trigger);
        let dropped = Trigger::ALL.into_iter().filter(|trigger| tally.dropped[*trigger as usize] > 0);
        said.chain(dropped).for_each(|trigger| assert!(triggers.contains(&trigger), "{act:?}: {trigger:?}"));
        self.sampled_out_spans += tally.sampled_out_spans;
        assert_eq!(self.sampled_out_spans, self.released_spans, "{act:?}: sampled out");
        self.out.tally.clear();
    }

    /// Checks the conservation law. It must hold at every moment.
    fn check_books(&self) {
        let held = self.table.held();
        let at_exporter = self.exporter.queue.unsettled_spans();
        let Exporter { lost_spans, unencodable_spans, .. } = self.exporter;
        let settled = self.exporter.stored_spans() + lost_spans + unencodable_spans;
        let accounted = self.released_spans + held.pending_spans + held.rescuable_spans + at_exporter + settled;
        assert_eq!(self.accepted_spans, accounted, "conservation");
        let pending = self.accounts.iter().filter(|account| matches!(account.phase, Phase::Pending { .. }));
        assert_eq!(pending.map(|account| account.held.spans).sum::<u64>(), held.pending_spans);
        let forced = ENCODED_SPAN_BYTES_MAX * at_exporter as usize;
        let index = INDEX_SPAN_BYTES_MAX * 101;
        assert!(self.budget.used_bytes() <= self.budget.limit_bytes() + index + forced, "over the budget");
    }

    /// Checks that each kept span is at the sink, with the verdict that it was kept with and as often as it was sent,
    /// unless it is counted as lost; and that no other span is there.
    fn check_sink(&mut self) {
        for (name, stored) in &self.exporter.stored {
            let left = self.left.get_mut(name).expect("every span at the sink was kept");
            for (policy, adjusted_count, rescued) in stored {
                let is_it = |keep: &Keep| {
                    let error = adjusted_count / keep.threshold.adjusted_count() - 1.0;
                    let named = self.names.get(keep.policy).expect("a policy");
                    (&named, keep.rescued) == (policy, *rescued) && error.abs() < 1e-9
                };
                let same = left.iter().position(is_it).unwrap_or_else(|| panic!("{name}: {stored:?}, not {left:?}"));
                left.swap_remove(same);
            }
        }
        // Cloud Trace does not accept a span without times, nor one from decades ago.
        let is_unencodable = |name: &str| name.starts_with("Ancient") || name.starts_with("Timeless");
        let lost = |unencodable| {
            let names = self.left.iter().filter(move |(name, _)| is_unencodable(name) == unencodable);
            names.map(|(_, left)| left.len() as u64).sum::<u64>()
        };
        assert_eq!(lost(true), self.exporter.unencodable_spans);
        assert_eq!(lost(false), self.exporter.lost_spans);
    }
}

/// Returns the settings of a scenario with these rules.
fn read(scenario: &Scenario, rules: &[Rule]) -> TailSampling {
    let loaded = crate::config::load(&scenario.yaml(rules), &|_| None).unwrap_or_else(|error| panic!("{error}"));
    let (sampled_cache_size, non_sampled_cache_size) = (scenario.cache_ids, scenario.cache_ids);
    TailSampling {
        decision_cache: DecisionCache { sampled_cache_size, non_sampled_cache_size },
        // The model counts only the spans of a trace, not its bytes.
        bytes_max: Size::Bytes(u64::MAX),
        ..loaded.settings.tail_sampling
    }
}
