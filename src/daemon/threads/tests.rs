use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn too_few_threads_are_an_error_and_do_not_hang() {
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
        assert!(reserved.err().is_none_or(|error| error.to_string().contains("of 4 threads can be created")));
        threads.into_inner().into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn the_runtime_creates_all_threads_at_the_start() {
    let runtime = runtime().unwrap();
    let count = BLOCKING_THREADS + std::thread::available_parallelism().unwrap().get();
    // There is more work than threads, and all of it is submitted at the same time: work without a free thread waits.
    let work: Vec<_> = (0..2 * count).map(|_| runtime.spawn_blocking(|| std::thread::current().id())).collect();
    let ids: std::collections::HashSet<_> = work.into_iter().map(|work| runtime.block_on(work).unwrap()).collect();
    assert!(ids.len() <= count);
    // All threads exist: no more than `count` tasks can run at the same time.
    reserve(count, |work| {
        drop(runtime.spawn_blocking(work));
        Ok(())
    })
    .unwrap();
}
