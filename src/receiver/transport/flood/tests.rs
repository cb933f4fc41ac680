use std::time::Duration;

use super::*;

/// Sends `rounds` of frames, one each `pause`. Returns the number of rounds that are admitted.
async fn admitted(rounds: usize, pause: Duration, each: FrameCounts) -> usize {
    let (mut limit, mut sent) = (FloodLimit::new(), FrameCounts::default());
    for round in 0..rounds {
        sent.heads += each.heads;
        sent.settings += each.settings;
        sent.chores += each.chores;
        if !limit.admits(sent) {
            return round;
        }
        tokio::time::sleep(pause).await;
    }
    rounds
}

#[tokio::test(start_paused = true)]
async fn peers_may_send_what_requests_need_and_no_floods() {
    let frames = |heads, settings, chores| FrameCounts { heads, settings, chores };
    let (at_once, second) = (Duration::ZERO, Duration::from_secs(1));
    let cases = [
        ("SETTINGS at once", frames(0, 1, 0), at_once, 100),
        ("SETTINGS with each request", frames(1, 1, 0), at_once, 100),
        ("a few SETTINGS a second", frames(0, 10, 0), second, 10_000),
        ("other frames at once", frames(0, 0, 1), at_once, 5_000),
        ("other frames, 200 a second", frames(0, 0, 200), second, 10_000),
        ("other frames, 300 a second", frames(0, 0, 300), second, 48),
        ("what a request needs", frames(1, 0, 16), at_once, 10_000),
        ("a thousand requests in a turn", frames(1_000, 0, 16_000), at_once, 10_000),
        ("more than requests need", frames(1, 0, 116), at_once, 50),
    ];
    for (name, each, pause, expected) in cases {
        assert_eq!(admitted(10_000, pause, each).await, expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn neither_requests_nor_time_save_for_a_flood() {
    let mut limit = FloodLimit::new();
    assert!(limit.admits(FrameCounts { heads: 1_000_000, settings: 0, chores: 1 }));
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert!(!limit.admits(FrameCounts { heads: 1_000_000, settings: 0, chores: 5_002 }));
}
