use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn threads_that_cannot_be_made_are_an_error_and_hang_nothing() {
    for (limit, expected) in [(4, None), (2, Some("2 of 4 threads could be made"))] {
        let left = AtomicUsize::new(limit);
        let threads = Mutex::new(Vec::new());
        let spawn = |work: Box<dyn FnOnce() + Send>| {
            if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                threads.lock().push(std::thread::spawn(work));
            }
        };
        let time_max = if expected.is_some() { Duration::from_millis(50) } else { Duration::from_secs(20) };
        let reserved = reserve(4, time_max, spawn).err().map(|error| error.to_string());
        assert_eq!(reserved.is_some(), expected.is_some());
        assert!(expected.is_none_or(|expected| reserved.is_some_and(|error| error.starts_with(expected))));
        threads.into_inner().into_iter().for_each(|thread| thread.join().unwrap());
    }
}
