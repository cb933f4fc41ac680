//! The task that decides due traces and keeps memory under its marks.

use std::sync::Arc;
use std::time::Duration;

use super::pipeline::Pipeline;
use crate::tail::table::Outcome;

/// How often due traces are looked for: the most that a decision is late on an idle machine.
const SWEEP_INTERVAL: Duration = Duration::from_millis(20);

/// Requests that are compressed between two looks for due traces, which must not wait for more: some milliseconds of
/// work, and as many as a core takes in.
const ROUND_COMPRESSIONS_MAX: usize = 64;

/// Sweeps for ever. Works in slices and yields between them, so that decisions that fall due together do not stall
/// ingest on a runtime of one thread.
pub(super) async fn run(pipeline: Arc<Pipeline>) {
    let mut interval = tokio::time::interval(SWEEP_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut outcome = Outcome::default();
    let shards = pipeline.table.shard_count();
    for round in 0.. {
        interval.tick().await;
        for shard in 0..shards {
            while pipeline.table.sweep(shard, pipeline.clock.now_ms(), &mut outcome) {
                pipeline.settle(&mut outcome);
                tokio::task::yield_now().await;
            }
        }
        pipeline.settle(&mut outcome);
        while pipeline.table.relieve(pipeline.clock.now_ms(), &mut outcome) {
            pipeline.settle(&mut outcome);
            tokio::task::yield_now().await;
        }
        pipeline.table.relieve_disk(pipeline.clock.now_ms(), &mut outcome);
        pipeline.settle(&mut outcome);
        for _ in 0..ROUND_COMPRESSIONS_MAX {
            if !pipeline.table.compress(pipeline.clock.now_ms()) {
                break;
            }
            tokio::task::yield_now().await;
        }
        pipeline.table.shrink(round % shards);
    }
}

/// Decides everything that is pending.
pub(super) async fn drain(pipeline: &Pipeline) {
    let mut outcome = Outcome::default();
    while pipeline.table.drain(pipeline.clock.now_ms(), &mut outcome) {
        pipeline.settle(&mut outcome);
        tokio::task::yield_now().await;
    }
    pipeline.settle(&mut outcome);
}
