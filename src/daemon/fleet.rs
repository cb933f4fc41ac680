//! The daemon as a member of a fleet: what the trace table says goes to the member and from there to others, and the verdicts
//! that come back are followed.
//!
//! Invariants
//! - No request waits for the fleet: the table's reports go to a bounded buffer, and all else happens in one task.
//! - What the fleet remembers is charged to the memory budget, and has bounds.

mod batches;
mod footprint;
mod roster;
mod worker;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use self::footprint::MemberFootprint;
use self::footprint::{TRACE_BYTES, traces_max};
use self::worker::Worker;
use super::StartError;
use super::pipeline::Pipeline;
use crate::budget::{Budget, Share};
use crate::config::Settings;
use crate::fleet::engine::Engine;
use crate::fleet::link::{self, Link};
use crate::google::credentials::Credentials;
use crate::sampling::{ConfigMark, Policies, PolicySet};
use crate::tail::fleet::{FleetReports, FleetTimes, TableFleet};
use crate::tail::settings::TailSampling;
use crate::telemetry::Health;
use spansieve_core::fleet::{Member, MemberId, MemberSettings, MemberWaits};

/// The times of the trace table; docs/fleet.md.
const TIMES: FleetTimes = FleetTimes { quiet_ms: 250, repeat_ms: 1_000, verdict_wait_ms: 3_000 };
/// The time that a verdict may take beyond the grace, and beyond the time for which its owner puts it off.
const VERDICT_WAY_MS: u64 = 1_500;
/// The time after which an unconfirmed proof is sent again.
const REPEAT_MS: u64 = 1_000;
/// The time that messages may take, as a part of the time for which a proof can help.
const MESSAGES_MS: u64 = 7_000;
/// The most reports that wait for the task: a second of a very busy table. They take some 15 MB.
const REPORTS_MAX: usize = 100_000;
/// Commands are few, and each is awaited.
const COMMANDS_MAX: usize = 4;
/// The longest wait for the end of the membership, and for each step before it.
const LEAVE_TIME: Duration = Duration::from_secs(1);

/// Returns the mark of the policies in force.
pub(super) fn mark(settings: &Settings, tail_sampling: &TailSampling) -> ConfigMark {
    let counted = settings.counted();
    ConfigMark::of(&PolicySet { counted: counted.as_ref(), ..tail_sampling.policy_set() })
}

/// Returns the waits of a member with these settings. A part of a trace may be held for its wait, while its owner is asked, and
/// for the rescue window.
pub(super) fn waits(tail_sampling: &TailSampling, grace: Duration) -> MemberWaits {
    let millis = |duration: Duration| duration.as_millis() as u64;
    let (wait_ms, window_ms) = (millis(tail_sampling.decision_wait), millis(tail_sampling.rescue.window));
    MemberWaits {
        rescue_ms: (window_ms > 0).then_some(window_ms),
        retain_ms: wait_ms + times(grace).verdict_wait_ms + window_ms + MESSAGES_MS,
        trace_wait_ms_max: wait_ms + TIMES.verdict_wait_ms,
    }
}

/// Returns the times of the trace table. Nothing is decided alone before its owner could decide it.
fn times(grace: Duration) -> FleetTimes {
    let verdict_wait_ms = grace.as_millis() as u64 + TIMES.repeat_ms + VERDICT_WAY_MS;
    FleetTimes { verdict_wait_ms: verdict_wait_ms.max(TIMES.verdict_wait_ms), ..TIMES }
}

/// Returns a random number that differs between processes that were started from one image at one moment.
fn random_number() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The parts of a fleet that exist before its task runs.
pub(super) struct FleetParts {
    pub(super) table: Arc<TableFleet>,
    member: Member,
    share: Share,
}

impl FleetParts {
    /// Creates the member. Charges its memory to `budget`.
    pub(super) fn new(
        settings: &Settings,
        tail_sampling: &TailSampling,
        policies: Arc<Policies>,
        budget: &Budget,
    ) -> Option<Self> {
        if !settings.fleet.has_engine() {
            return None;
        }
        let traces_max = traces_max(budget.limit_bytes());
        let member = MemberSettings {
            grace_ms: settings.fleet.grace.as_millis() as u64,
            repeat_ms: REPEAT_MS,
            report_ms: TIMES.repeat_ms,
            waits: waits(tail_sampling, settings.fleet.grace),
            traces_max,
            trace_bytes_max: traces_max * TRACE_BYTES,
            proofs_max: traces_max / 4,
            kept_ids: tail_sampling.decision_cache.sampled_cache_size / 2,
            dropped_ids: tail_sampling.decision_cache.non_sampled_cache_size / 4,
        };
        let mark = mark(settings, tail_sampling);
        let member = Member::new(MemberId(random_number()), mark, policies, member, random_number());
        let share = budget.force(member.heap_bytes() + link::BYTES_MAX);
        Some(FleetParts { table: Arc::new(TableFleet::new(times(settings.fleet.grace))), member, share })
    }

    /// Starts the task of the member.
    ///
    /// # Errors
    /// See [`StartError`].
    pub(super) fn start(
        self,
        settings: &Settings,
        port: Arc<FleetPort>,
        commands: mpsc::Receiver<Command>,
        pipeline: Arc<Pipeline>,
        health: Arc<Health>,
    ) -> Result<Fleet, StartError> {
        let credentials = settings.fleet.iam.then(Credentials::application_default).transpose()?;
        let engine = Engine::new(&settings.fleet, credentials)?;
        tracing::info!(
            member = %self.member.own(),
            engine = engine.address(),
            name = settings.fleet.name,
            "This instance is a member of a fleet."
        );
        let link = Link::start(engine, self.member.own(), self.member.config());
        let worker = Worker::new(self, Arc::clone(&port), link, pipeline, health);
        Ok(Fleet { port, worker: tokio::spawn(worker.run(commands)) })
    }
}

/// A command to the task of the member.
#[derive(Debug)]
pub(super) enum Command {
    /// Other policies are in force.
    Replace(ConfigMark, Arc<Policies>),
    /// Other waits are in force.
    SetWaits(MemberWaits),
    /// Traces are handed over from now on, and no verdict is to be followed until [`Command::Resume`].
    Pause(oneshot::Sender<()>),
    /// Another instance has taken undecided traces, and reports them.
    Announce(oneshot::Sender<()>),
    /// The traces that were not handed over are decided here. Verdicts are to be followed again.
    Resume(oneshot::Sender<()>),
    /// The process stops.
    Leave(oneshot::Sender<()>),
}

/// The way from the trace table to the task of the member.
#[derive(Debug)]
pub(super) struct FleetPort {
    reports: Mutex<FleetReports>,
    /// Reports for which there was no room.
    lost: AtomicU64,
    is_closed: AtomicBool,
    commands: mpsc::Sender<Command>,
}

impl FleetPort {
    pub(super) fn new() -> (Arc<Self>, mpsc::Receiver<Command>) {
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let (reports, lost, is_closed) = (Mutex::default(), AtomicU64::new(0), AtomicBool::new(false));
        (Arc::new(FleetPort { reports, lost, is_closed, commands }), received)
    }

    /// Takes what a round of work on the table says. Leaves it empty.
    pub(super) fn tell(&self, said: &mut FleetReports) {
        if said.is_empty() {
            return;
        }
        let mut reports = self.reports.lock();
        let is_open = !self.is_closed.load(Ordering::Relaxed);
        let room = |len: usize| if is_open { REPORTS_MAX.saturating_sub(len) } else { 0 };
        let (room_reports, room_proofs) = (room(reports.reports.len()), room(reports.proofs.len()));
        let lost = said.reports.len().saturating_sub(room_reports) + said.proofs.len().saturating_sub(room_proofs);
        reports.reports.extend(said.reports.drain(..).take(room_reports));
        reports.proofs.extend(said.proofs.drain(..).take(room_proofs));
        drop(reports);
        if is_open && lost > 0 {
            self.lost.fetch_add(lost as u64, Ordering::Relaxed);
        }
    }

    fn take(&self) -> FleetReports {
        std::mem::take(&mut self.reports.lock())
    }

    fn heap_bytes(&self) -> usize {
        self.reports.lock().heap_bytes()
    }

    fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    /// Tells the member that other policies are in force.
    pub(super) async fn replace(&self, mark: ConfigMark, policies: Arc<Policies>) {
        // An error means that the member has left.
        let _ = self.commands.send(Command::Replace(mark, policies)).await;
    }

    /// Tells the member that other waits are in force.
    pub(super) async fn set_waits(&self, waits: MemberWaits) {
        // An error means that the member has left.
        let _ = self.commands.send(Command::SetWaits(waits)).await;
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }
}

/// The membership of a running daemon.
#[derive(Debug)]
pub(super) struct Fleet {
    port: Arc<FleetPort>,
    worker: JoinHandle<()>,
}

impl Fleet {
    /// Tells the others what is known. Verdicts have no effect from now on, until [`Fleet::resume`]: a trace that is handed
    /// over is decided where it goes.
    pub(super) async fn pause(&self) {
        self.command(Command::Pause).await;
    }

    /// Tells the others that another instance takes undecided traces of this one, and reports them.
    pub(super) async fn announce(&self) {
        self.command(Command::Announce).await;
    }

    /// Follows verdicts again, because no more traces are handed over.
    pub(super) async fn resume(&self) {
        self.command(Command::Resume).await;
    }

    /// Tells the others what was decided last, and leaves the fleet.
    pub(super) async fn leave(&self) {
        self.command(Command::Leave).await;
        self.worker.abort();
    }

    async fn command(&self, command: impl FnOnce(oneshot::Sender<()>) -> Command) {
        let (done, is_done) = oneshot::channel();
        let obeyed = async {
            if self.port.commands.send(command(done)).await.is_ok() {
                let _ = is_done.await;
            }
        };
        let _ = timeout(LEAVE_TIME, obeyed).await;
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

#[cfg(test)]
mod tests;
