use super::*;

fn shared() -> Shared {
    Shared {
        own: MemberId(1),
        config: AtomicU64::new(1),
        read: Mutex::default(),
        unread: Mutex::default(),
        refused: AtomicU64::new(0),
        broken: AtomicU64::new(0),
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_cannot_read_for_long_hides() {
    let (shared, since) = (shared(), Instant::now());
    let advance = |seconds| tokio::time::advance(Duration::from_secs(seconds));
    let failed = || EngineError::Version("0".to_owned());
    advance(100).await;
    assert_eq!(shared.why_unread(since), None);
    assert!(shared.cannot_read(&failed()), "the first error is logged");
    advance(2).await;
    assert!(!shared.cannot_read(&failed()));
    assert_eq!(shared.why_unread(since), None, "a short failure is no reason");
    advance(1).await;
    let reason = shared.why_unread(since).unwrap();
    assert!(reason.starts_with("the stream of this member cannot be read: the server is version 0"), "{reason}");
    assert_eq!(shared.why_unread(Instant::now()), None, "a new connection has its time");
    *shared.unread.lock() = None;
    assert_eq!(shared.why_unread(since), None);
}
