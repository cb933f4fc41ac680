//! The world of a simulation: nodes, the network between them, and time.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;

use super::scenario::{Event, Kind, RATIO, Scenario, SimSpan};
use crate::budget::Budget;
use crate::fleet::message::{FleetVerdict, Header, Message};
use crate::fleet::{Member, MemberFacts, MemberId, MemberSettings, MemberWaits};
use crate::otlp::scan::{self, Scan};
use crate::sampling::{ConfigMark, Policies};
use crate::tail::Table;
use crate::tail::fleet::{FleetTimes, TableFleet};
use crate::tail::table::handoff::{HandoffCursor, write_request};
use crate::tail::table::{AgainCursor, Millis, RoundOutcome};

const MS: u64 = 1_000_000;
const EPOCH: u64 = 1_700_000_000_000 * MS;
/// The time between two turns of all nodes.
const TURN_MS: Millis = 100;
const LIST_MS: Millis = 1_000;
/// The time at which each simulation ends: the rescue windows of the first traces are nearly over.
const END_MS: Millis = 32_000;

/// A fault in the code that the simulation must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plant {
    LosesSummaries,
    TurnsVerdicts,
    LosesProofs,
    KeepsOwners,
    LeavesInSilence,
}

/// The fate of a span.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fate {
    /// True if the node that has, or had, the span is there at the end.
    pub(super) is_there: bool,
    /// True if the node has left, and has told the others what it kept on evidence.
    pub(super) has_left: bool,
    /// The policy that kept it, and the adjusted count.
    pub(super) kept: Option<(String, f64)>,
    /// The node that has it.
    node: usize,
}

struct Node {
    table: Table,
    fleet: Arc<TableFleet>,
    policies: Arc<Policies>,
    member: Member,
    out: RoundOutcome,
    accepted: u64,
    handed_over: u64,
    kept_spans: u64,
    cut_off_until_ms: Millis,
    list_lag_ms: Millis,
    next_list_ms: Millis,
    is_there: bool,
    has_crashed: bool,
}

struct Batch {
    at_ms: Millis,
    to: MemberId,
    bytes: Vec<u8>,
}

pub(super) struct World<'s> {
    scenario: &'s Scenario,
    plant: Option<Plant>,
    rng: Rng,
    now_ms: Millis,
    nodes: Vec<Node>,
    wire: Vec<Batch>,
    engine_down_until_ms: Millis,
    /// The lists of members, each from its time on.
    lists: Vec<(Millis, Vec<MemberFacts>)>,
    fates: BTreeMap<usize, Fate>,
}

impl<'s> World<'s> {
    pub(super) fn new(scenario: &'s Scenario, plant: Option<Plant>) -> Self {
        let rng = Rng::with_seed(scenario.seed ^ 0x0f1e);
        let mut world = World {
            scenario,
            plant,
            rng,
            now_ms: 0,
            nodes: Vec::new(),
            wire: Vec::new(),
            engine_down_until_ms: 0,
            lists: Vec::new(),
            fates: BTreeMap::new(),
        };
        (0..scenario.nodes).for_each(|_| world.join());
        world
    }

    fn join(&mut self) {
        let is_other = self.scenario.mixed && self.nodes.is_empty();
        let yaml = self.scenario.yaml(if is_other { RATIO - 0.001 } else { RATIO });
        let settings = crate::testing::load(&yaml).unwrap().tail_sampling;
        let config = ConfigMark::of(&settings.policy_set());
        let policies = Arc::new(Policies::compile_set(settings.policy_set(), None).unwrap());
        let times = FleetTimes { quiet_ms: 250, repeat_ms: 1_000, verdict_wait_ms: 3_000 };
        let fleet = Arc::new(TableFleet::new(times));
        let seed = self.rng.u64(..);
        let table = Table::seeded(&settings, Arc::clone(&policies), Budget::new(64 << 20), seed);
        let table = table.with_fleet(Arc::clone(&fleet));
        let own = MemberId(self.rng.u64(..));
        let rescue_ms = Some(1_000 * self.scenario.rescue_s).filter(|&rescue_ms| rescue_ms > 0);
        let settings = MemberSettings {
            grace_ms: 500,
            repeat_ms: 1_000,
            report_ms: 1_000,
            waits: MemberWaits { rescue_ms, retain_ms: 40_000, trace_wait_ms_max: 8_000 },
            traces_max: self.scenario.traces_max,
            trace_bytes_max: 6_400_000,
            proofs_max: 10_000,
            kept_ids: 10_000,
            dropped_ids: 10_000,
        };
        let member = Member::new(own, config, Arc::clone(&policies), settings, seed);
        let list_lag_ms =
            if self.scenario.network.list_lag_ms == 0 { 0 } else { self.rng.u64(..self.scenario.network.list_lag_ms) };
        self.nodes.push(Node {
            table,
            fleet,
            policies,
            member,
            out: RoundOutcome::default(),
            accepted: 0,
            handed_over: 0,
            kept_spans: 0,
            cut_off_until_ms: 0,
            list_lag_ms,
            next_list_ms: 0,
            is_there: true,
            has_crashed: false,
        });
        self.list();
    }

    fn list(&mut self) {
        let there = self.nodes.iter().filter(|node| node.is_there);
        let facts = there.map(|node| MemberFacts { id: node.member.own(), config: node.member.config() }).collect();
        self.lists.push((self.now_ms, facts));
    }

    pub(super) fn run(&mut self) {
        let mut spans: Vec<usize> = (0..self.scenario.spans.len()).collect();
        spans.sort_by_key(|&span| self.scenario.spans[span].at_ms);
        let (mut spans, mut events) = (spans.into_iter().peekable(), self.scenario.events.iter().peekable());
        while self.now_ms < END_MS {
            self.now_ms += TURN_MS;
            while let Some((_, event)) = events.next_if(|(at_ms, _)| *at_ms <= self.now_ms) {
                self.event(*event);
            }
            while let Some(span) = spans.next_if(|&span| self.scenario.spans[span].at_ms <= self.now_ms) {
                self.arrive(span);
            }
            self.deliver();
            for node in 0..self.nodes.len() {
                if self.nodes[node].is_there {
                    self.turn(node);
                }
            }
        }
    }

    fn there(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].is_there).collect()
    }

    fn event(&mut self, event: Event) {
        let there = self.there();
        match event {
            Event::Join => self.join(),
            Event::EngineDown(until_ms) => self.engine_down_until_ms = self.engine_down_until_ms.max(until_ms),
            Event::CutOff(node, until_ms) => self.nodes[there[node % there.len()]].cut_off_until_ms = until_ms,
            // The last one stays.
            Event::Leave(_) | Event::Crash(_) if there.len() < 2 => {}
            Event::Leave(node) => self.leave(there[node % there.len()], there[(node + 1) % there.len()]),
            Event::Crash(node) => {
                let node = &mut self.nodes[there[node % there.len()]];
                (node.is_there, node.has_crashed) = (false, true);
                self.list();
            }
        }
    }

    /// Lets `node` leave. It hands most of its undecided traces to `heir`, and decides the others.
    fn leave(&mut self, node: usize, heir: usize) {
        self.nodes[node].member.leave(true, self.now_ms);
        self.flush(node);
        let mut cursor = HandoffCursor::default();
        let mut moved = Vec::new();
        let from = &mut self.nodes[node];
        while let Some(mut traces) = from.table.pending_traces(&mut cursor, 1 << 20) {
            traces.retain(|_| self.rng.u8(..4) > 0);
            let mut request = Vec::new();
            write_request(&traces, &mut request);
            from.handed_over += from.table.handed_over(&traces, self.now_ms, &mut from.out);
            moved.push(request);
        }
        while from.table.drain(self.now_ms, &mut from.out) {}
        if self.plant != Some(Plant::LeavesInSilence) {
            self.flush_last(node);
        }
        self.nodes[node].is_there = false;
        self.collect(node);
        self.list();
        for request in moved {
            for span in numbers(&request) {
                self.fates.get_mut(&span).unwrap().node = heir;
            }
            self.insert(heir, request.into());
        }
    }

    /// Tells the others what a node that leaves has decided last.
    fn flush_last(&mut self, node: usize) {
        self.tell_member(node);
        self.nodes[node].member.leave(false, self.now_ms);
        self.flush(node);
    }

    fn arrive(&mut self, span: usize) {
        let there = self.there();
        let of = &self.scenario.spans[span];
        let node = there[of.node % there.len()];
        self.fates.insert(span, Fate { is_there: true, has_left: false, kept: None, node });
        let spans = vec![proto(self.scenario, span, of)];
        let scopes = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let group = ResourceSpans { scope_spans: scopes, ..ResourceSpans::default() };
        self.insert(node, ExportTraceServiceRequest { resource_spans: vec![group] }.encode_to_vec().into());
    }

    fn insert(&mut self, at: usize, body: Bytes) {
        let node = &mut self.nodes[at];
        let mut scan = Scan::default();
        let body = scan::scan(body, node.policies.probe(), &mut scan).unwrap();
        let share = node.table.budget().force(body.len());
        node.accepted += scan.facts.len() as u64;
        node.table.insert(body, &scan, share, self.now_ms, &mut node.out);
        self.collect(at);
    }

    fn is_up(&self, node: usize) -> bool {
        self.now_ms >= self.engine_down_until_ms && self.now_ms >= self.nodes[node].cut_off_until_ms
    }

    fn turn(&mut self, at: usize) {
        let is_up = self.is_up(at);
        self.read_list(at, is_up);
        let node = &mut self.nodes[at];
        node.member.set_up(is_up, self.now_ms);
        node.fleet.set_alone(!is_up);
        for shard in 0..node.table.shard_count() {
            while node.table.sweep(shard, self.now_ms, &mut node.out) {}
        }
        self.tell_member(at);
        let node = &mut self.nodes[at];
        while node.member.tick(64, self.now_ms) {}
        self.flush(at);
    }

    fn read_list(&mut self, at: usize, is_up: bool) {
        let node = &mut self.nodes[at];
        if !is_up || self.now_ms < node.next_list_ms {
            return;
        }
        node.next_list_ms = self.now_ms + LIST_MS;
        let is_calm = self.now_ms >= self.scenario.network.calm_ms;
        let seen_ms = self.now_ms.saturating_sub(if is_calm { 0 } else { node.list_lag_ms });
        let seen = self.lists.iter().rev().find(|(at_ms, _)| *at_ms <= seen_ms).unwrap_or(&self.lists[0]);
        node.member.set_members(seen.1.clone(), self.now_ms);
    }

    /// Passes what the table said to the member.
    fn tell_member(&mut self, at: usize) {
        self.collect(at);
        let node = &mut self.nodes[at];
        for report in node.out.fleet.reports.drain(..) {
            node.member.report(report, self.now_ms);
        }
        for proof in node.out.fleet.proofs.drain(..) {
            node.member.proof(proof, self.now_ms);
        }
    }

    /// Passes the outputs of a member on, until there are none.
    fn flush(&mut self, at: usize) {
        let now_ms = self.now_ms;
        loop {
            let node = &mut self.nodes[at];
            let verdicts = std::mem::take(&mut node.member.out().verdicts);
            verdicts.iter().for_each(|followed| node.table.follow(followed, now_ms, &mut node.out));
            if let Some(moved) = node.member.out().moved.take()
                && self.plant != Some(Plant::KeepsOwners)
            {
                let mut cursor = AgainCursor::default();
                while node.table.report_again(&mut cursor, |id| moved.concerns(id), now_ms) {}
            }
            self.tell_member(at);
            let messages = std::mem::take(&mut self.nodes[at].member.out().messages);
            if messages.is_empty() && verdicts.is_empty() {
                return;
            }
            self.post(at, messages);
        }
    }

    /// Sends messages, one batch for each receiver.
    fn post(&mut self, from: usize, messages: Vec<(MemberId, Message)>) {
        let node = &self.nodes[from];
        let header = Header { sender: node.member.own(), config: node.member.config(), sent_unix_ms: self.now_ms };
        let mut batches: BTreeMap<MemberId, Vec<u8>> = BTreeMap::new();
        for (to, message) in messages {
            let Some(message) = self.planted(message) else { continue };
            let batch = batches.entry(to).or_insert_with(|| {
                let mut batch = Vec::new();
                header.put(&mut batch);
                batch
            });
            message.put(batch);
        }
        for (to, bytes) in batches {
            let network = self.scenario.network;
            let is_calm = self.now_ms >= network.calm_ms;
            if !is_calm && self.rng.f64() < network.loss {
                continue;
            }
            let copies = if !is_calm && self.rng.f64() < network.repetition { 2 } else { 1 };
            for _ in 0..copies {
                let at_ms = self.now_ms + self.rng.u64(network.delay_ms.0..network.delay_ms.1);
                self.wire.push(Batch { at_ms, to, bytes: bytes.clone() });
            }
        }
    }

    fn planted(&self, message: Message) -> Option<Message> {
        match (self.plant, message) {
            (Some(Plant::LosesSummaries), Message::Summary { .. }) => None,
            (Some(Plant::LosesProofs), Message::Proof { .. }) => None,
            (Some(Plant::TurnsVerdicts), Message::Verdict { id, verdict: FleetVerdict::Kept(_), trigger, .. }) => {
                Some(Message::Verdict { id, verdict: FleetVerdict::Dropped, trigger, spans: u32::MAX })
            }
            (_, message) => Some(message),
        }
    }

    fn deliver(&mut self) {
        let (due, rest) = std::mem::take(&mut self.wire).into_iter().partition(|batch| batch.at_ms <= self.now_ms);
        self.wire = rest;
        let due: Vec<Batch> = due;
        for batch in due {
            let Some(at) = self.nodes.iter().position(|node| node.member.own() == batch.to) else { continue };
            if !self.nodes[at].is_there {
                continue;
            }
            if !self.is_up(at) {
                // The engine keeps it.
                self.wire.push(Batch { at_ms: self.now_ms + TURN_MS, ..batch });
                continue;
            }
            let node = &mut self.nodes[at];
            let (header, messages) = Header::read(&batch.bytes, node.policies.generation()).unwrap();
            for message in messages {
                node.member.receive(header.sender, header.config, message.unwrap(), self.now_ms);
            }
            self.flush(at);
        }
    }

    /// Takes the kept spans of a node.
    fn collect(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        for kept in node.out.kept.drain(..) {
            node.kept_spans += u64::from(kept.fragment.span_count());
            for bytes in kept.fragment.open().spans() {
                let span = number(&Span::decode(bytes.span).unwrap());
                let fate = self.fates.get_mut(&span).expect("the span came");
                assert_eq!(fate.node, at, "a span is at one node");
                assert_eq!(fate.kept, None, "a span is kept once");
                let policy = node.policies.names()[usize::from(kept.keep.policy)].clone();
                fate.kept = Some((policy, kept.keep.threshold.adjusted_count()));
            }
        }
    }

    /// Checks that each node has lost no span, and that nothing waits for ever.
    pub(super) fn check_books(&self) {
        for node in self.nodes.iter().filter(|node| !node.has_crashed) {
            let held = node.table.held();
            let sampled_out = node.out.tally.sampled_out_spans;
            let accounted = node.kept_spans + node.handed_over + sampled_out + held.rescuable_spans;
            assert_eq!(node.accepted, accounted, "conservation");
            assert_eq!(held.pending_spans, 0, "nothing waits for ever");
            if node.is_there {
                assert_eq!(node.member.unconfirmed_proofs(), 0, "all proofs are confirmed");
            }
        }
    }

    /// Returns the fates of all spans.
    pub(super) fn fates(&self) -> BTreeMap<usize, Fate> {
        let of = |fate: &Fate| {
            let Node { is_there, has_crashed, .. } = self.nodes[fate.node];
            Fate { is_there, has_left: !is_there && !has_crashed, ..fate.clone() }
        };
        self.fates.iter().map(|(span, fate)| (*span, of(fate))).collect()
    }
}

fn proto(scenario: &Scenario, number: usize, of: &SimSpan) -> Span {
    let (start, end) = match of.kind {
        Kind::Slow => (0, 1_500),
        Kind::Last => (1_200, 1_210),
        _ => (0, 10),
    };
    let value = Some(AnyValue { value: Some(Value::StringValue(format!("{:?}", of.kind))) });
    Span {
        trace_id: scenario.ids[of.trace].0.to_vec(),
        span_id: (number as u64 + 1).to_be_bytes().to_vec(),
        name: number.to_string(),
        start_time_unix_nano: EPOCH + start * MS,
        end_time_unix_nano: EPOCH + end * MS,
        attributes: vec![KeyValue { key: "k".into(), value, ..KeyValue::default() }],
        status: (of.kind == Kind::Error).then(|| Status { code: 2, ..Status::default() }),
        ..Span::default()
    }
}

fn number(span: &Span) -> usize {
    span.name.parse().expect("a number")
}

/// Returns the numbers of the spans of a request.
fn numbers(request: &[u8]) -> Vec<usize> {
    let request = ExportTraceServiceRequest::decode(request).unwrap();
    let scopes = request.resource_spans.iter().flat_map(|group| &group.scope_spans);
    scopes.flat_map(|scope| &scope.spans).map(number).collect()
}
