use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::*;
use crate::budget::Budget;
use crate::daemon::parts::Core;
use crate::fleet::engine::Engine;
use crate::otlp::TraceId;
use crate::sampling::Summary;
use crate::tail::Trigger;
use crate::tail::fleet::{FleetReports, Report};
use spansieve_core::fleet::MemberWaits;

/// Returns the report of an undecided trace with one span, which is due in an hour.
fn report(worker: &Worker, trace: u128) -> Report {
    let mut summary = Summary::default();
    (summary.generation, summary.span_count) = (worker.member.generation(), 1);
    let id = TraceId(trace.to_be_bytes());
    Report { id, summary, due_in_ms: 3_600_000, trigger: Trigger::DecisionWait, waits: true }
}

/// The worker of a member whose engine cannot be reached, with the receiver of its commands.
fn worker() -> (Worker, mpsc::Receiver<Command>) {
    let text = "fleet: {url: 'redis://127.0.0.1:1'}\nmemory: {limit: 256MiB}";
    let settings = crate::config::load(text, &|_| None).unwrap().settings;
    let core = Core::new(&settings).unwrap();
    let (port, commands) = FleetPort::new();
    let pipeline = Pipeline::new(core.table, core.policy_names, Arc::default(), None, core.metrics, None);
    let pipeline = Arc::new(pipeline.with_fleet(Some(Arc::clone(&port))));
    let parts = core.fleet.unwrap();
    let engine = Engine::new(&settings.fleet, None).unwrap();
    let link = Link::start(engine, parts.member.own(), parts.member.config());
    (Worker::new(parts, port, link, pipeline, Arc::default()), commands)
}

/// Returns the value of a series.
fn metric(pipeline: &Pipeline, series: &str) -> u64 {
    let text = pipeline.metrics.render(Default::default());
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

/// Returns a member of the same policies.
fn other(worker: &Worker) -> MemberFacts {
    MemberFacts { id: MemberId(worker.member.own().0 ^ 1), config: worker.member.config() }
}

#[tokio::test]
async fn what_is_lost_while_a_member_leaves_is_counted() {
    let (mut worker, _commands) = worker();
    worker.port.lost.fetch_add(3, Ordering::Relaxed);
    worker.leave().await;
    assert_eq!(metric(&worker.pipeline, "spansieve_fleet_lost_messages_total{reason=\"full\"}"), 3);
}

#[tokio::test]
async fn the_messages_of_a_member_that_leaves_are_charged_while_they_are_sent() {
    let (mut worker, _commands) = worker();
    let (to, pipeline) = (other(&worker).id, Arc::clone(&worker.pipeline));
    // The engine takes nothing, so that the last batch waits for room.
    while worker.link.send(to, Bytes::from_static(b"a batch")) {
        tokio::task::yield_now().await;
    }
    worker.account();
    let used_bytes = |budget: &Budget| budget.used_bytes();
    let before_bytes = used_bytes(pipeline.table.budget());
    for id in 0..2_000_u128 {
        worker.write(to, &Message::Ack { id: TraceId(id.to_be_bytes()) });
    }
    let open_bytes = worker.batches.heap_bytes();
    assert!(open_bytes > 30_000, "{open_bytes}");
    let during_bytes = tokio::select! {
        biased;
        () = worker.leave() => panic!("the last batch has not waited"),
        () = sleep(LAST_BATCHES_TIME / 2) => used_bytes(pipeline.table.budget()),
    };
    assert!(during_bytes >= before_bytes + open_bytes, "{during_bytes}, {before_bytes} before");
}

/// More traces than it may remember are decided before their time.
#[tokio::test]
async fn what_a_member_remembers_of_many_traces_is_charged_and_has_a_bound() {
    let (mut worker, _commands) = worker();
    let pipeline = Arc::clone(&worker.pipeline);
    let budget = pipeline.table.budget();
    worker.account();
    let (empty_bytes, traces_bytes_max) = (budget.used_bytes(), budget.limit_bytes() / 16);
    let many = 2 * (traces_bytes_max / 640) as u128;
    let mut peak_bytes = 0;
    for first in (0..many).step_by(1_000) {
        let reports = (first..first + 1_000).map(|trace| report(&worker, trace + 1)).collect();
        worker.port.tell(&mut FleetReports { reports, proofs: Vec::new() });
        worker.turn().await;
        worker.account();
        peak_bytes = peak_bytes.max(budget.used_bytes() - empty_bytes);
        let remembered_bytes = worker.member.heap_bytes();
        assert!(worker.share.bytes() >= remembered_bytes, "{remembered_bytes} are not charged");
    }
    let traces = worker.member.owned_traces();
    assert!(traces > 10_000 && metric(&pipeline, "spansieve_fleet_early_decisions_total") > 0, "{traces}");
    // A hash table doubles before it is full, and the reports of a turn and their verdicts are charged for a while.
    let bound_bytes = 2 * traces_bytes_max;
    assert!((traces * 100..bound_bytes).contains(&peak_bytes), "{peak_bytes} of {bound_bytes} for {traces}");
}

#[tokio::test]
async fn a_change_of_the_members_ends_the_pause_of_the_sweeper() {
    let (mut worker, _commands) = worker();
    let own = MemberFacts { id: worker.member.own(), config: worker.member.config() };
    worker.hear(News::Members(vec![own])).await;
    let _ = worker.pipeline.arrivals.take();
    worker.hear(News::Members(vec![own])).await;
    assert!(!worker.pipeline.arrivals.take(), "nothing has changed");
    worker.hear(News::Members(vec![own, other(&worker)])).await;
    assert!(worker.pipeline.arrivals.take(), "traces may be reported to their new owner at once");
}

/// With the waits of the configuration, the trace would be decided after ten seconds.
#[tokio::test]
async fn a_member_obeys_the_waits_that_it_is_told() {
    let (worker, commands) = worker();
    let (port, pipeline) = (Arc::clone(&worker.port), Arc::clone(&worker.pipeline));
    let report = report(&worker, 1);
    let task = tokio::spawn(worker.run(commands));
    port.set_waits(MemberWaits { rescue_ms: None, retain_ms: 1, trace_wait_ms_max: 1 }).await;
    // Once this is answered, the waits are in force.
    let (done, is_done) = oneshot::channel();
    port.commands.send(Command::Resume(done)).await.unwrap();
    is_done.await.unwrap();
    port.tell(&mut FleetReports { reports: vec![report], proofs: Vec::new() });
    let decided = async {
        while metric(&pipeline, "spansieve_fleet_owned_decisions_total") == 0 {
            sleep(TURN).await;
        }
    };
    timeout(Duration::from_secs(5), decided).await.expect("it is decided");
    task.abort();
}
