use std::pin::{Pin, pin};
use std::task::{Context, Waker};

use tokio::time::advance;

use super::*;

const MS: Duration = Duration::from_millis(1);

/// True if a request is served: of a connection that was served at the beginning of the turn, and of one that was not.
type Served = (bool, bool);

/// Returns which requests are served at the end of turns that take `turns_ms`.
async fn ends_of(turns_ms: &[u32]) -> Vec<Served> {
    let lag = Lag::new();
    let mut probe = pin!(async {
        loop {
            lag.probe().await.notified().await;
        }
    });
    let mut poll = || assert!(probe.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    poll();
    let mut ends = Vec::new();
    for &ms in turns_ms {
        let served = AtomicU64::new(u64::MAX);
        assert!(lag.serves(&served), "the beginning of a turn is for serving");
        advance(MS * ms).await;
        ends.push((lag.serves(&served), lag.serves(&AtomicU64::new(u64::MAX))));
        poll();
    }
    ends
}

#[tokio::test(start_paused = true)]
async fn only_turns_that_stay_long_are_cut_short() {
    const ALL: Served = (true, true);
    const NEW: Served = (false, true);
    const NONE: Served = (false, false);
    let cases: [(&[u32], &[Served]); 6] = [
        (&[20; 20], &[ALL; 20]),
        // A burst, or one very large request.
        (&[90, 1], &[ALL, ALL]),
        (&[30; 6], &[ALL, ALL, ALL, ALL, NEW, NEW]),
        // Such a long turn is not a burst.
        (&[150, 201], &[NEW, NONE]),
        (&[60, 60, 31, 10, 31], &[ALL, ALL, NEW, ALL, ALL]),
        // Half of the last turn is for serving.
        (&[300, 150, 76, 38, 39], &[NONE, ALL, NEW, ALL, NEW]),
    ];
    for (turns, expected) in cases {
        assert_eq!(ends_of(turns).await, expected, "{turns:?}");
    }
}

/// Returns true if `probe` is in a pause after it has been polled.
fn is_paused(lag: &Lag, probe: Pin<&mut impl Future>) -> bool {
    assert!(probe.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    lag.turn_start_us.load(Relaxed) & PAUSES != 0
}

#[tokio::test(start_paused = true)]
async fn the_first_request_after_the_shortest_pause_starts_the_probe() {
    let lag = Lag::new();
    let serves = || lag.serves(&AtomicU64::new(u64::MAX));
    let mut probe = pin!(async {
        loop {
            lag.probe().await.notified().await;
        }
    });
    assert!(!is_paused(&lag, probe.as_mut()), "the first turn begins");
    assert!(is_paused(&lag, probe.as_mut()), "and ends");
    for _ in 0..3 {
        assert!(serves(), "no turn is measured in a pause");
        assert!(is_paused(&lag, probe.as_mut()), "the pause has just begun");
        advance(Duration::from_secs(3600)).await;
        assert!(is_paused(&lag, probe.as_mut()), "no request has come");
        assert!(serves() && serves());
        assert!(!is_paused(&lag, probe.as_mut()), "a request has come");
        assert!(is_paused(&lag, probe.as_mut()), "the turn was short");
    }
}

#[tokio::test]
async fn a_pause_ends_with_the_measurement() {
    let lag = Lag::new();
    let pause = lag.probe().await;
    drop(lag);
    pause.notified().await;
}

#[tokio::test]
async fn a_turn_ends_after_all_tasks_that_were_ready_before() {
    let order = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let tasks = ["one", "turn", "two"].map(|name| {
        let order = std::sync::Arc::clone(&order);
        tokio::spawn(async move {
            if name == "turn" {
                turn().await;
            }
            order.lock().push(name);
        })
    });
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock(), ["one", "two", "turn"]);
}
