//! Batches that do not fit into memory go to the disk and come back.

use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::export::batch::Form;
use crate::export::spool::{Level, Spool};
use crate::export::testing::span_name;

/// The memory budget. Batches may always take a sixteenth of it, and they are spooled above four fifths.
const LIMIT_BYTES: usize = 1 << 20;
/// The number of spans in a batch, of about 100 B each.
const SPANS: usize = 100;

/// A delivery with a spool.
struct Spooling {
    bench: Bench,
    level: Arc<Level>,
}

impl Spooling {
    fn new(script: Arc<Script>, directory: &Path) -> Self {
        Self::of(script, directory, 1 << 30, Duration::ZERO)
    }

    fn of(script: Arc<Script>, directory: &Path, max_bytes: u64, give_up_after: Duration) -> Self {
        let (metrics, kept, budget) =
            (Arc::new(Metrics::new()), Arc::new(KeptQueue::default()), Budget::new(LIMIT_BYTES));
        let ledger = Arc::new(Ledger::new(Arc::clone(&kept), Arc::clone(&metrics)));
        let spool = settings::SpoolSettings { directory: directory.to_owned(), max_bytes };
        let spool = Spool::open(&spool, Form::CloudTrace, &budget, &metrics).unwrap();
        let level = spool.level();
        let settings = settings::Export { give_up_after, ..settings_of(SPANS) };
        let delivery = Delivery::new(Arc::clone(&script), &settings, ledger, budget.clone(), Some(spool));
        Spooling { bench: Bench { delivery, script, metrics, kept, budget, next_id: 0 }, level }
    }

    /// Pushes full batches of `project`, as many as would come in a second.
    async fn push(&mut self, project: &str, batches: usize) {
        for _ in 0..batches {
            self.bench.push(project, &["a"; SPANS]);
            self.progress(Duration::from_secs(1) / batches as u32).await;
        }
    }

    async fn progress(&mut self, time: Duration) {
        let forever = async {
            loop {
                self.bench.delivery.progress().await;
            }
        };
        tokio::time::timeout(time, forever).await.unwrap_err();
    }

    /// Delivers until nothing is left in memory and on the disk.
    async fn deliver_all(&mut self) {
        while !self.bench.delivery.is_idle() || self.level.spans() > 0 || self.level.bytes() > 0 {
            self.bench.delivery.progress().await;
        }
    }

    /// Checks that received and recovered spans equal the sum of their fates.
    fn assert_conserved(&self) {
        let (exported, dropped) = settled(&self.bench.metrics);
        let corrupt = counter(&self.bench.metrics, "spansieve_dropped_spans_total", "reason=\"corrupt\"");
        let gave_up = counter(&self.bench.metrics, "spansieve_dropped_spans_total", "reason=\"gave_up\"");
        let dropped = dropped.iter().sum::<u64>() + corrupt + gave_up;
        let recovered = counter(&self.bench.metrics, "spansieve_recovered_spans_total", "source=\"spool\"");
        let held = self.bench.kept.unsettled_spans() + self.level.spans();
        assert_eq!(self.bench.next_id + recovered, exported + dropped + held);
    }

    fn assert_all_exported(&self) {
        self.bench.assert_settled(self.bench.next_id, 0);
        let (stored, repeated) = self.bench.script.stored();
        assert_eq!((stored.len() as u64, repeated), (self.bench.next_id, 0));
    }
}

/// Returns a script that is unavailable while the flag is set.
fn absent() -> (Arc<Script>, Arc<AtomicBool>) {
    let away = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&away);
    (Script::with_rule(move |_| flag.load(Ordering::Relaxed).then(|| Status::unavailable("away"))), away)
}

#[tokio::test(start_paused = true)]
async fn an_absence_longer_than_memory_lasts_loses_nothing_and_stays_within_memory() {
    let directory = TempDir::new().unwrap();
    let (script, away) = absent();
    let mut spooling = Spooling::new(script, directory.path());
    let mut used_max = 0;
    for _ in 0..60 {
        spooling.push("p", 10).await;
        spooling.assert_conserved();
        used_max = used_max.max(spooling.bench.budget.used_bytes());
    }
    assert!(used_max < LIMIT_BYTES * 9 / 10, "{used_max}");
    assert!(spooling.level.bytes() > 4 * LIMIT_BYTES as u64, "{}", spooling.level.bytes());
    assert!(spooling.level.spans() > 0);
    away.store(false, Ordering::Relaxed);
    spooling.deliver_all().await;
    spooling.assert_all_exported();
    assert_eq!(spooling.level.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn spooled_batches_come_back_in_order() {
    let directory = TempDir::new().unwrap();
    let (script, away) = absent();
    let mut spooling = Spooling::new(script, directory.path());
    for _ in 0..30 {
        spooling.push("p", 10).await;
    }
    let spooled = spooling.level.spans() as usize / SPANS;
    let segment = std::fs::read(directory.path().join("spool-00000000000000000001.segment")).unwrap();
    away.store(false, Ordering::Relaxed);
    let tried = spooling.bench.script.calls().len();
    spooling.deliver_all().await;
    let calls = spooling.bench.script.calls().split_off(tried);
    // The batches in memory go first. The last calls have the spooled ones.
    let names = calls.iter().map(|call| call.request.spans[0].name.as_str()).collect::<Vec<_>>();
    let mut rest = &segment[..];
    for name in &names[names.len() - spooled..] {
        let at = rest.windows(name.len()).position(|bytes| bytes == name.as_bytes());
        rest = &rest[at.unwrap_or_else(|| panic!("{name} is not behind the one before it"))..];
    }
    assert!(spooled > 10 && names.len() > spooled);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_spooled_while_the_sink_keeps_up_however_full_the_memory_is() {
    let directory = TempDir::new().unwrap();
    let mut spooling = Spooling::new(Script::with_latency(|_| Duration::from_millis(100)), directory.path());
    let _pending = spooling.bench.budget.force(LIMIT_BYTES * 95 / 100);
    for _ in 0..20 {
        spooling.push("p", 10).await;
        assert_eq!(spooling.level.bytes(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn spooled_batches_are_delivered_though_the_memory_is_full_of_others() {
    let directory = TempDir::new().unwrap();
    let (script, away) = absent();
    let mut spooling = Spooling::new(script, directory.path());
    for _ in 0..30 {
        spooling.push("p", 10).await;
    }
    assert!(spooling.level.spans() > 0);
    let pending = spooling.bench.budget.force(2 * LIMIT_BYTES);
    away.store(false, Ordering::Relaxed);
    spooling.deliver_all().await;
    drop(pending);
    spooling.assert_all_exported();
}

#[tokio::test(start_paused = true)]
async fn a_project_that_is_denied_does_not_hold_up_what_is_spooled_of_others() {
    let directory = TempDir::new().unwrap();
    let stage = Arc::new(AtomicBool::new(false));
    let fine_is_back = Arc::clone(&stage);
    let script = Script::with_rule(move |request| match request.name.as_str() {
        "projects/denied" => Some(Status::permission_denied("no role")),
        _ => (!fine_is_back.load(Ordering::Relaxed)).then(|| Status::unavailable("away")),
    });
    let mut spooling = Spooling::new(script, directory.path());
    for _ in 0..20 {
        spooling.push("denied", 10).await;
        spooling.push("fine", 10).await;
    }
    stage.store(true, Ordering::Relaxed);
    spooling.progress(Duration::from_secs(120)).await;
    let (stored, repeated) = spooling.bench.script.stored();
    assert_eq!((stored.len(), repeated), (20 * 10 * SPANS, 0));
    assert!(spooling.level.spans() > 0, "those of the denied one");
    spooling.assert_conserved();
}

#[tokio::test(start_paused = true)]
async fn a_bad_span_of_the_spool_is_dropped_alone() {
    let directory = TempDir::new().unwrap();
    let (script, away) = absent();
    let mut spooling = Spooling::new(script, directory.path());
    spooling.bench.push("p", &["a", "a", BAD, "a"]);
    for _ in 0..30 {
        spooling.push("p", 10).await;
    }
    away.store(false, Ordering::Relaxed);
    spooling.deliver_all().await;
    spooling.bench.assert_settled(spooling.bench.next_id - 1, 1);
    assert_eq!(spooling.bench.script.stored().1, 0);
}

#[tokio::test(start_paused = true)]
async fn spooled_spans_grow_old_like_others() {
    let directory = TempDir::new().unwrap();
    let (script, _away) = absent();
    let mut spooling = Spooling::of(script, directory.path(), 1 << 30, Duration::from_secs(3600));
    for _ in 0..30 {
        spooling.push("p", 10).await;
    }
    assert!(spooling.level.spans() > 0);
    spooling.progress(Duration::from_secs(2 * 3600)).await;
    let gave_up = counter(&spooling.bench.metrics, "spansieve_dropped_spans_total", "reason=\"gave_up\"");
    assert!(gave_up > 0);
    spooling.assert_conserved();
}

#[tokio::test(start_paused = true)]
async fn a_spool_that_is_full_leaves_the_rest_in_memory() {
    let directory = TempDir::new().unwrap();
    let (script, away) = absent();
    let mut spooling = Spooling::of(script, directory.path(), 256 << 10, Duration::ZERO);
    for _ in 0..30 {
        spooling.push("p", 10).await;
        spooling.assert_conserved();
    }
    assert!(spooling.level.bytes() <= 256 << 10);
    assert!(spooling.bench.budget.used_bytes() > LIMIT_BYTES, "so that ingest is refused");
    away.store(false, Ordering::Relaxed);
    spooling.deliver_all().await;
    spooling.assert_all_exported();
}

#[tokio::test(start_paused = true)]
async fn files_that_were_deleted_are_counted_and_the_others_delivered() {
    for at_the_stop in [false, true] {
        let directory = TempDir::new().unwrap();
        let (script, away) = absent();
        let mut spooling = Spooling::new(script, directory.path());
        for _ in 0..30 {
            spooling.push("p", 10).await;
        }
        assert!(spooling.level.spans() > 0);
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|it| it == "segment") {
                std::fs::remove_file(path).unwrap();
            }
        }
        let (kept, metrics) = (Arc::clone(&spooling.bench.kept), Arc::clone(&spooling.bench.metrics));
        let corrupt = || counter(&metrics, "spansieve_dropped_spans_total", "reason=\"corrupt\"");
        if at_the_stop {
            let (spans, level) = (spooling.bench.next_id, Arc::clone(&spooling.level));
            spooling.bench.delivery.put_away().await;
            assert!(corrupt() > 0);
            assert_eq!(spans, corrupt() + kept.unsettled_spans() + level.spans());
        } else {
            away.store(false, Ordering::Relaxed);
            spooling.deliver_all().await;
            assert!(corrupt() > 0);
            spooling.assert_conserved();
            spooling.push("p", 1).await;
            spooling.deliver_all().await;
            spooling.assert_conserved();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn unsettled_spans_at_the_end_are_there_for_the_next_process() {
    let directory = TempDir::new().unwrap();
    let names = |ids: std::ops::Range<u64>| ids.map(|id| span_name("p", id)).collect::<Vec<_>>();
    // Some calls hang, some batches wait, and some are spooled, of which a few were read again.
    let script = Script::new(vec![Reply::Hang; 4]);
    let mut first = Spooling::new(Arc::clone(&script), directory.path());
    for _ in 0..20 {
        first.push("p", 10).await;
    }
    let (spans, level, kept) = (first.bench.next_id, Arc::clone(&first.level), Arc::clone(&first.bench.kept));
    assert!(level.spans() > 0 && kept.unsettled_spans() > 0);
    first.bench.delivery.stop();
    first.bench.delivery.put_away().await;
    assert_eq!((kept.unsettled_spans(), level.spans()), (0, spans));

    let script = Script::new([]);
    let mut second = Spooling::new(script, directory.path());
    assert_eq!(
        (second.level.spans(), counter(&second.bench.metrics, "spansieve_recovered_spans_total", "source=\"spool\"")),
        (spans, spans)
    );
    second.deliver_all().await;
    let mut expected = names(0..spans);
    expected.sort();
    assert_eq!(second.bench.script.stored(), (expected, 0));
    second.assert_conserved();
    second.bench.delivery.put_away().await;
}

#[tokio::test(start_paused = true)]
async fn settled_spans_are_not_delivered_again() {
    let directory = TempDir::new().unwrap();
    let (script, away) = absent();
    let mut first = Spooling::new(script, directory.path());
    for _ in 0..30 {
        first.push("p", 10).await;
    }
    away.store(false, Ordering::Relaxed);
    let half = first.level.spans() / 2;
    while first.level.spans() > half {
        first.bench.delivery.progress().await;
    }
    let (spans, stored) = (first.bench.next_id, first.bench.script.stored().0);
    assert!((stored.len() as u64) < spans);
    first.bench.delivery.put_away().await;

    let mut second = Spooling::new(Script::new([]), directory.path());
    second.deliver_all().await;
    let (again, repeated) = second.bench.script.stored();
    assert_eq!(repeated, 0);
    let twice = again.iter().filter(|name| stored.contains(name)).count();
    // Answers that came while the calls were aborted.
    assert!(twice <= CALLS_MAX * SPANS, "{twice}");
    assert_eq!(stored.len() + again.len() - twice, spans as usize);
    second.bench.delivery.put_away().await;
}
