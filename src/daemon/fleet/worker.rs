//! The task of a member.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::batches::{OpenBatches, Written};
use super::roster::Roster;
use super::{Command, FleetParts, FleetPort, REPORTS_MAX};
use crate::budget::Share;
use crate::clock;
use crate::daemon::pipeline::Pipeline;
use crate::export::sink::cut;
use crate::fleet::link::{self, Link, News};
use crate::tail::fleet::{Followed, TableFleet};
use crate::tail::table::{AgainCursor, RoundOutcome};
use crate::telemetry::Health;
use crate::telemetry::metrics::{Direction, FleetLoss, FleetMessage};
use spansieve_core::fleet::message::{HEADER_BYTES, Header, Malformed, Message};
use spansieve_core::fleet::{MEMBERS_MAX, Member, MemberFacts, MemberId};

/// The interval at which the reports of the table are taken.
const TURN: Duration = Duration::from_millis(50);
/// The turns between two updates of the accounts.
const ACCOUNT_TURNS: u64 = 20;
/// The traces that are decided, and the verdicts that are followed, before other tasks have a turn.
const SLICE_TRACES: usize = 64;
/// The messages that are read before other tasks have a turn.
const SLICE_MESSAGES: usize = 256;
/// The most reasons that are logged while the engine cannot be reached.
const DOWN_REASONS_MAX: usize = 8;
/// The time in which the last batches must find room on their way to the engine.
const LAST_BATCHES_TIME: Duration = Duration::from_millis(150);

/// The task of a member.
pub(super) struct Worker {
    port: Arc<FleetPort>,
    table: Arc<TableFleet>,
    member: Member,
    share: Share,
    link: Link,
    pipeline: Arc<Pipeline>,
    health: Arc<Health>,
    batches: OpenBatches,
    outcome: RoundOutcome,
    /// Verdicts on traces that are being handed over; `None` while verdicts are followed at once.
    withheld: Option<Vec<Followed>>,
    /// The bytes of the largest buffers since the last account.
    buffer_bytes: usize,
    /// Messages that were written since they were counted, by kind.
    written: [u64; FleetMessage::ALL.len()],
    /// True if the engine can be reached; `None` before the first answer.
    is_up: Option<bool>,
    /// The members as they were logged last.
    logged: Roster,
    /// The reasons that were logged since it could be reached.
    down_reasons: Vec<String>,
    turns: u64,
}

impl Worker {
    pub(super) fn new(
        parts: FleetParts,
        port: Arc<FleetPort>,
        link: Link,
        pipeline: Arc<Pipeline>,
        health: Arc<Health>,
    ) -> Self {
        let FleetParts { table, member, share } = parts;
        let logged = Roster::of(member.own(), member.view(), member.others());
        Worker {
            port,
            table,
            member,
            share,
            link,
            pipeline,
            health,
            batches: OpenBatches::new(),
            outcome: RoundOutcome::default(),
            withheld: None,
            buffer_bytes: 0,
            written: [0; FleetMessage::ALL.len()],
            is_up: None,
            logged,
            down_reasons: Vec::new(),
            turns: 0,
        }
    }

    /// Runs until the member leaves. A panic ends the process, like one in other work on the table.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let pipeline = Arc::clone(&self.pipeline);
        let _guard = pipeline.breaks_on_panic();
        let mut turns = interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.show();
        loop {
            tokio::select! {
                _ = turns.tick() => self.turn().await,
                Some(news) = self.link.news.recv() => self.hear(news).await,
                command = commands.recv() => match command {
                    Some(Command::Replace(mark, policies)) => {
                        // Their heads have the mark of the policies so far.
                        self.close_all();
                        self.link.set_config(mark);
                        self.member.replace(mark, policies, self.pipeline.clock.now_ms());
                        self.pass_on().await;
                    }
                    Some(Command::SetWaits(waits)) => self.member.set_waits(waits),
                    Some(Command::Pause(done)) => {
                        self.pause().await;
                        let _ = done.send(());
                    }
                    Some(Command::Announce(done)) => {
                        self.say_goodbye(true).await;
                        let _ = done.send(());
                    }
                    Some(Command::Resume(done)) => {
                        self.resume().await;
                        let _ = done.send(());
                    }
                    Some(Command::Leave(done)) => {
                        self.leave().await;
                        // An error means that the caller does not wait any more.
                        let _ = done.send(());
                        return;
                    }
                    None => return,
                },
            }
        }
    }

    /// Takes the reports of the table, and does what is due.
    async fn turn(&mut self) {
        self.take_reports().await;
        loop {
            let more = self.member.tick(SLICE_TRACES, self.pipeline.clock.now_ms());
            self.pass_on().await;
            if !more {
                break;
            }
            yield_now().await;
        }
        self.close_due();
        self.turns += 1;
        if self.turns.is_multiple_of(ACCOUNT_TURNS) {
            self.account();
        }
    }

    async fn take_reports(&mut self) {
        let now_ms = self.pipeline.clock.now_ms();
        let said = self.port.take();
        self.buffer_bytes = self.buffer_bytes.max(said.heap_bytes());
        // The verdicts on evidence first: the reports of others are answered with them.
        for (at, proof) in said.proofs.into_iter().enumerate() {
            self.member.proof(proof, now_ms);
            self.end_slice(at).await;
        }
        for (at, report) in said.reports.into_iter().enumerate() {
            self.member.report(report, now_ms);
            self.end_slice(at).await;
        }
    }

    /// Lets other tasks have a turn after some messages. `at` is the number of the last one.
    async fn end_slice(&mut self, at: usize) {
        if at % SLICE_MESSAGES == SLICE_MESSAGES - 1 {
            self.pass_on().await;
            yield_now().await;
        }
    }

    async fn hear(&mut self, news: News) {
        let now_ms = self.pipeline.clock.now_ms();
        match news {
            News::Members(listed) => self.hear_members(listed),
            News::Down(reason) => {
                self.note_down(reason);
                self.is_up = Some(false);
                self.member.set_up(false, now_ms);
                self.table.set_alone(true);
                self.show();
            }
            News::Batch(batch) => self.read(&batch).await,
        }
        self.pass_on().await;
        yield_now().await;
    }

    /// Logs why the engine cannot be reached: each reason once, because the first one is often only that a connection broke.
    fn note_down(&mut self, reason: String) {
        if self.down_reasons.len() < DOWN_REASONS_MAX && !self.down_reasons.contains(&reason) {
            tracing::warn!(
                error = cut(&reason),
                "The engine of the fleet cannot be reached. This instance decides alone."
            );
            self.down_reasons.push(reason);
        }
    }

    fn hear_members(&mut self, listed: Vec<MemberFacts>) {
        let now_ms = self.pipeline.clock.now_ms();
        let listed_len = listed.len();
        self.member.set_members(listed, now_ms);
        self.member.set_up(true, now_ms);
        self.table.set_alone(false);
        // A member that leaves in order says so before it is off the list, so its number is compared with what was logged.
        let after = self.roster();
        let before = &self.logged;
        if self.is_up != Some(true) || *before != after {
            let (members, other_policies) = after.counts();
            let (joined, left) = (after.beyond(before), before.beyond(&after));
            tracing::info!(members, other_policies, joined, left, "The fleet has changed.");
            if listed_len > MEMBERS_MAX {
                tracing::warn!(
                    listed = listed_len,
                    members_max = MEMBERS_MAX,
                    "The fleet has more members than it may have. Those with the smallest numbers count."
                );
            }
        }
        self.logged = after;
        self.is_up = Some(true);
        self.down_reasons.clear();
        self.show();
    }

    fn roster(&self) -> Roster {
        Roster::of(self.member.own(), self.member.view(), self.member.others())
    }

    /// Reads a batch of another member.
    async fn read(&mut self, batch: &Bytes) {
        let metrics = Arc::clone(&self.pipeline.metrics);
        metrics.fleet_bytes(Direction::Received, batch.len());
        let Ok((header, messages)) = Header::read(batch, self.member.generation()) else {
            return metrics.fleet_lost(FleetLoss::Malformed, 1);
        };
        let lag = clock::since_1970().saturating_sub(Duration::from_millis(header.sent_unix_ms));
        metrics.fleet_lag(lag.min(Duration::from_secs(3_600)));
        let now_ms = self.pipeline.clock.now_ms();
        let mut read = [0; FleetMessage::ALL.len()];
        for (at, message) in messages.enumerate() {
            match message {
                Ok(message) => {
                    read[kind(&message) as usize] += 1;
                    self.member.receive(header.sender, header.config, message, now_ms);
                }
                Err(Malformed) => metrics.fleet_lost(FleetLoss::Malformed, 1),
            }
            self.end_slice(at).await;
        }
        self.count(Direction::Received, read);
    }

    /// Passes the outputs of the member on.
    async fn pass_on(&mut self) {
        let now_ms = self.pipeline.clock.now_ms();
        self.buffer_bytes = self.buffer_bytes.max(self.member.out_bytes());
        let out = self.member.out();
        let (verdicts, messages) = (std::mem::take(&mut out.verdicts), std::mem::take(&mut out.messages));
        let (shadowed, moved) = (std::mem::take(&mut out.shadowed), out.moved.take());
        let counts = std::mem::take(&mut out.counts);
        self.follow(verdicts).await;
        if let Some(moved) = moved {
            let mut cursor = AgainCursor::default();
            while self.pipeline.table.report_again(&mut cursor, |id| moved.concerns(id), now_ms) {
                yield_now().await;
            }
            // The reports may be due at once.
            self.pipeline.arrivals.note();
        }
        messages.into_iter().for_each(|(to, message)| self.write(to, &message));
        let Pipeline { policy_names, metrics, .. } = &*self.pipeline;
        for (policy, effect, spans) in shadowed {
            policy_names.with(policy, |name| metrics.shadowed(name, effect, 1, spans.into()));
        }
        if counts != Default::default() {
            metrics.fleet_decided(counts.decided_traces, counts.early_traces);
            metrics.fleet_lost(FleetLoss::Foreign, counts.foreign_messages);
            metrics.fleet_lost(FleetLoss::GivenUp, counts.given_up_proofs);
        }
    }

    /// Follows verdicts, unless they are withheld.
    async fn follow(&mut self, verdicts: Vec<Followed>) {
        if let Some(withheld) = &mut self.withheld {
            let room = REPORTS_MAX.saturating_sub(withheld.len());
            let lost = verdicts.len().saturating_sub(room) as u64;
            withheld.extend(verdicts.into_iter().take(room));
            // The traces stay undecided, and are decided on the spans that are here.
            return self.pipeline.metrics.fleet_lost(FleetLoss::Full, lost);
        }
        for verdicts in verdicts.chunks(SLICE_TRACES) {
            self.pipeline.follow(verdicts, &mut self.outcome);
            yield_now().await;
        }
    }

    /// Adds a message to the batch for a member.
    fn write(&mut self, to: MemberId, message: &Message) {
        self.written[kind(message) as usize] += 1;
        match self.batches.write(to, self.member.is_live(to), message, Instant::now()) {
            Written::Open => {}
            Written::Full(messages) => self.send(to, &messages),
            Written::NoRoom => self.pipeline.metrics.fleet_lost(FleetLoss::Full, 1),
        }
    }

    /// Sends the batches that are old enough, as far as there is room for them. The others stay open.
    fn close_due(&mut self) {
        self.count_written();
        let now = Instant::now();
        while self.link.has_room()
            && let Some((to, messages)) = self.batches.take_due(now)
        {
            self.send(to, &messages);
        }
    }

    /// Sends all batches. Those for which there is no room are lost.
    fn close_all(&mut self) {
        self.count_written();
        for (to, messages) in self.batches.take_all() {
            self.send(to, &messages);
        }
    }

    /// Sends all batches. Waits for a short while for room for them.
    async fn close_last(&mut self) {
        self.count_written();
        let deadline = Instant::now() + LAST_BATCHES_TIME;
        for (to, messages) in self.batches.take_all() {
            let batch = self.batch(&messages);
            let len = batch.len();
            let is_sent = timeout_at(deadline, self.link.send_later(to, batch)).await == Ok(true);
            self.note_sent(is_sent, len);
        }
    }

    fn count_written(&mut self) {
        let written = std::mem::take(&mut self.written);
        self.count(Direction::Sent, written);
    }

    fn count(&self, direction: Direction, counts: [u64; FleetMessage::ALL.len()]) {
        for (kind, messages) in FleetMessage::ALL.into_iter().zip(counts).filter(|(_, messages)| *messages > 0) {
            self.pipeline.metrics.fleet_messages(direction, kind, messages);
        }
    }

    fn send(&self, to: MemberId, messages: &[u8]) {
        let batch = self.batch(messages);
        let len = batch.len();
        self.note_sent(self.link.send(to, batch), len);
    }

    /// Returns a batch with its head.
    fn batch(&self, messages: &[u8]) -> Bytes {
        let sent_unix_ms = clock::since_1970().as_millis() as u64;
        let header = Header { sender: self.member.own(), config: self.member.config(), sent_unix_ms };
        let mut batch = Vec::with_capacity(HEADER_BYTES + messages.len());
        header.put(&mut batch);
        batch.extend_from_slice(messages);
        batch.into()
    }

    fn note_sent(&self, is_sent: bool, len: usize) {
        if is_sent {
            self.pipeline.metrics.fleet_bytes(Direction::Sent, len);
        } else {
            self.pipeline.metrics.fleet_lost(FleetLoss::Full, 1);
        }
    }

    /// Tells the others all that is known, and withholds verdicts from now on, because traces are handed over. The member
    /// still decides the traces of others.
    async fn pause(&mut self) {
        self.take_reports().await;
        self.pass_on().await;
        self.withheld.get_or_insert_default();
    }

    /// Follows the verdicts that were withheld, and those that come from now on.
    async fn resume(&mut self) {
        let withheld = self.withheld.take().unwrap_or_default();
        self.follow(withheld).await;
    }

    /// Tells the others what was decided last, and that this member goes.
    async fn leave(&mut self) {
        // Nothing more is heard. Otherwise the link might wait for room for news.
        self.link.news.close();
        self.port.close();
        self.resume().await;
        self.take_reports().await;
        self.say_goodbye(false).await;
        self.link.leave().await;
        self.table.set_alone(true);
        // What was lost in the last moments is counted, too.
        self.account();
    }

    /// Tells the others that this member goes, and what they must know for that. If it hands its undecided traces over, it
    /// still decides those of others.
    async fn say_goodbye(&mut self, hands_over: bool) {
        self.member.leave(hands_over, self.pipeline.clock.now_ms());
        self.pass_on().await;
        // All that is made for it at once is charged while it is sent.
        self.account();
        self.close_last().await;
    }

    /// Brings the account of the memory and the gauges up to date.
    fn account(&mut self) {
        let withheld_bytes = self.withheld.as_ref().map_or(0, |withheld| withheld.capacity() * size_of::<Followed>());
        let buffer_bytes = std::mem::take(&mut self.buffer_bytes) + withheld_bytes + self.batches.heap_bytes();
        self.share.resize(self.member.heap_bytes() + link::BYTES_MAX + self.port.heap_bytes() + buffer_bytes);
        let metrics = &self.pipeline.metrics;
        metrics.fleet_remembered(self.member.owned_traces(), self.member.unconfirmed_proofs());
        metrics.fleet_lost(FleetLoss::Full, self.port.take_lost());
        metrics.fleet_lost(FleetLoss::Refused, self.link.take_refused());
        metrics.fleet_lost(FleetLoss::Broken, self.link.take_broken());
    }

    /// Shows the state of the fleet in metrics and health.
    fn show(&self) {
        let is_up = self.is_up == Some(true);
        let (members, others) = (self.member.view().ids().len(), self.member.others().ids().len());
        self.pipeline.metrics.fleet_up(is_up);
        self.pipeline.metrics.fleet_members(members, others);
        let text = if is_up {
            format!("fleet: member {} of {members}: {}", self.member.own(), self.roster())
        } else {
            "fleet: the engine cannot be reached; this instance decides alone".to_owned()
        };
        self.health.set_fleet(text);
    }
}

fn kind(message: &Message) -> FleetMessage {
    match message {
        Message::Summary { .. } => FleetMessage::Summary,
        Message::Verdict { .. } => FleetMessage::Verdict,
        Message::Proof { .. } => FleetMessage::Proof,
        Message::Ack { .. } => FleetMessage::Ack,
        Message::Leaving { .. } => FleetMessage::Leaving,
    }
}

#[cfg(test)]
mod tests;
