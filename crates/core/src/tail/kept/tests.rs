use super::*;
use crate::budget::Budget;
use crate::otlp::scan::Scope;
use crate::otlp::{ByteRange, TraceId};
use crate::sampling::{Keep, Threshold};
use crate::tail::request::{HeldSpan, Request};

#[test]
fn a_queue_that_was_long_gives_its_memory_back() {
    let span = HeldSpan::new(ByteRange::default(), 0);
    let share = Budget::new(1 << 20).share();
    let request = Request::new(bytes::Bytes::new(), [span].into(), [Scope::default()].into(), share);
    let kept = KeptSpans::new(Fragment::new(request, 0, 1), TraceId([1; 16]), Keep::new(0, Threshold::ALWAYS));
    let queue = KeptQueue::default();
    queue.push(&mut vec![kept; 100_000]);
    let mut taken = Vec::new();
    while !queue.is_empty() {
        queue.take(64, &mut taken);
        let entries = queue.entries.lock();
        let (len, capacity) = (entries.len(), entries.capacity());
        assert!(capacity <= 4 * len.max(ENTRIES_MIN), "{capacity} for {len}");
    }
    assert_eq!(taken.len(), 100_000);
    assert!(queue.entries.lock().capacity() <= 4 * ENTRIES_MIN);
}
