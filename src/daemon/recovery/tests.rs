use super::*;

#[tokio::test]
async fn a_stop_does_not_wait_for_a_disk_that_hangs() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings::JournalSettings { directory: directory.path().to_owned(), max_bytes: 64 << 20 };
    let (budget, metrics, health) = (Budget::new(1 << 30), Arc::new(Metrics::new()), Arc::new(Health::default()));
    let (_journal, writer, _) = Journal::open(&settings, PolicyNames::default(), &budget, &metrics, &health).unwrap();
    let recovery = Some(tokio::spawn(std::future::pending()));
    let stop = Arc::new(AtomicBool::new(false));
    let mut running = Running { writer, stop: Stop(Arc::clone(&stop)), recovery };
    running.stop_recovery(Instant::now()).await;
    assert!(stop.load(Ordering::Acquire) && running.recovery.is_none());
}
