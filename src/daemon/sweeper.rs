//! The task that decides due traces and keeps memory under its marks.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::pipeline::Pipeline;
use crate::tail::table::Outcome;
use crate::telemetry::Pulse;

/// How often due traces are looked for: the most that a decision is late on an idle machine.
const SWEEP_INTERVAL: Duration = Duration::from_millis(20);

/// Rounds between two times that the histograms' buffers are emptied: some five seconds.
const UPKEEP_ROUNDS: usize = 250;

/// Sweeps for ever, with a sign of life for each slice of work. Works in slices and yields between them, so that decisions that fall due together do not stall
/// ingest on a runtime of one thread.
pub(super) async fn run(pipeline: Arc<Pipeline>, pulse: Pulse) {
    let mut interval = tokio::time::interval(SWEEP_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut outcome = Outcome::default();
    let shards = pipeline.table.shard_count();
    let settle = |outcome: &mut Outcome| {
        pulse.beat(Instant::now());
        pipeline.settle(outcome);
    };
    for round in 0.. {
        interval.tick().await;
        for shard in 0..shards {
            while pipeline.table.sweep(shard, pipeline.clock.now_ms(), &mut outcome) {
                settle(&mut outcome);
                tokio::task::yield_now().await;
            }
        }
        settle(&mut outcome);
        while pipeline.table.relieve(pipeline.clock.now_ms(), &mut outcome) {
            settle(&mut outcome);
            tokio::task::yield_now().await;
        }
        pipeline.table.relieve_disk(pipeline.clock.now_ms(), &mut outcome);
        settle(&mut outcome);
        pipeline.table.shrink(round % shards);
        if round % UPKEEP_ROUNDS == 0 {
            pipeline.metrics.upkeep();
        }
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

#[cfg(test)]
mod tests;
