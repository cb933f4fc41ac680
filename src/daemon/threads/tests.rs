use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn threads_that_cannot_be_made_are_an_error_and_hang_nothing() {
    for limit in [4, 2] {
        let left = AtomicUsize::new(limit);
        let threads = Mutex::new(Vec::new());
        let reserved = reserve(4, |work| {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .map_err(|_| io::Error::from_raw_os_error(libc::EAGAIN))?;
            threads.lock().push(std::thread::spawn(work));
            Ok(())
        });
        assert_eq!(reserved.is_ok(), limit == 4);
        assert!(reserved.err().is_none_or(|error| error.to_string().contains("of 4 threads can be made")));
        threads.into_inner().into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn the_runtime_makes_no_thread_after_the_start() {
    let runtime = runtime().unwrap();
    let count = BLOCKING_THREADS + std::thread::available_parallelism().unwrap().get();
    // More work than threads, all of it at once: what finds none waits.
    let work: Vec<_> = (0..2 * count).map(|_| runtime.spawn_blocking(|| std::thread::current().id())).collect();
    let ids: std::collections::HashSet<_> = work.into_iter().map(|work| runtime.block_on(work).unwrap()).collect();
    assert!(ids.len() <= count);
    // All threads are there: no more than these can be busy at a time.
    reserve(count, |work| {
        drop(runtime.spawn_blocking(work));
        Ok(())
    })
    .unwrap();
}
