use super::*;
use crate::otlp::TraceId;

const MESSAGE: Message = Message::Ack { id: TraceId([1; 16]) };

#[test]
fn the_receivers_take_turns() {
    let (mut batches, start) = (OpenBatches::new(), Instant::now());
    let due = start + BATCH_AGE_MAX;
    let write = |batches: &mut OpenBatches| {
        for to in 0..100 {
            assert_eq!(batches.write(MemberId(to), true, &MESSAGE, start), Written::Open);
        }
    };
    write(&mut batches);
    assert_eq!(batches.take_due(due - Duration::from_millis(1)), None);
    let mut sent = [0; 100];
    // There is room for 33 in each turn, and more comes for all.
    for _ in 0..100 {
        for _ in 0..33 {
            let (to, _) = batches.take_due(due).unwrap();
            sent[to.0 as usize] += 1;
        }
        write(&mut batches);
    }
    assert!(sent.iter().all(|&count| count == 33), "{sent:?}");
}

#[test]
fn a_batch_that_waits_grows_up_to_its_limit() {
    let (mut batches, now) = (OpenBatches::new(), Instant::now());
    let mut written = 0;
    let full = loop {
        written += 1;
        match batches.write(MemberId(1), true, &MESSAGE, now) {
            Written::Open => assert!(batches.heap_bytes() <= 2 * BATCH_BYTES_MAX),
            Written::Full(messages) => break messages,
            Written::NoRoom => unreachable!("there is one batch"),
        }
    };
    assert_eq!(full.len(), written * 18);
    assert!((FULL_BYTES..BATCH_BYTES_MAX).contains(&full.len()));
    assert_eq!((batches.heap_bytes(), batches.take_all().count()), (0, 0));
}

#[test]
fn senders_without_number_take_no_batch_of_a_member() {
    let (mut batches, now) = (OpenBatches::new(), Instant::now());
    let mut opened = |is_listed, numbers: std::ops::Range<u64>| {
        numbers.filter(|&to| batches.write(MemberId(to), is_listed, &MESSAGE, now) == Written::Open).count()
    };
    assert_eq!(opened(false, 0..10_000), OPEN_UNLISTED_MAX);
    assert_eq!(opened(true, 10_000..20_000), MEMBERS_MAX);
    assert_eq!((opened(false, 0..1), opened(true, 0..1)), (1, 1), "the others go on");
    assert_eq!(batches.take_all().count(), OPEN_MAX);
}
