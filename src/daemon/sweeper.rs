//! The task that decides due traces, and keeps memory below its marks.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::pipeline::Pipeline;
use crate::tail::table::{Millis, RoundOutcome, SWEEP_MS};
use crate::telemetry::Pulse;

/// The interval between searches for due traces.
const SWEEP_INTERVAL: Duration = Duration::from_millis(SWEEP_MS);

/// The longest pause between two rounds while no trace is due. The first request ends the pause.
const IDLE_INTERVAL: Duration = Duration::from_millis(500);

/// The number of rounds without a request, about five seconds, after which the sweeper pauses. By then, what a burst has
/// left in the shards is given back.
const QUIET_ROUNDS: usize = 100;

/// The number of rounds between two flushes of the histograms' buffers: about five seconds.
const UPKEEP_ROUNDS: usize = 100;

/// The most requests that are compressed between two searches for due traces. They take about ten milliseconds, and one
/// core accepts about as many in that time.
const ROUND_COMPRESSIONS_MAX: usize = 160;

/// Sweeps for ever, with a sign of life for each slice of work. It works in turns of a millisecond and yields between
/// them, so that many decisions that are due at the same time do not stall ingest on a runtime with one thread. Shorter
/// turns are not enough: a large request takes a few milliseconds of work. A sweeper that did less in each turn would
/// fall behind, until memory is full.
pub(super) async fn run(pipeline: Arc<Pipeline>, pulse: Pulse) {
    let mut interval = tokio::time::interval(SWEEP_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut outcome = RoundOutcome::default();
    let shards = pipeline.table.shard_count();
    let (mut quiet_rounds, mut compresses) = (0, false);
    let settle = |outcome: &mut RoundOutcome| {
        pulse.beat(Instant::now());
        pipeline.settle(outcome);
    };
    for round in 0.. {
        quiet_rounds = if pipeline.arrivals.take() { 0 } else { quiet_rounds + 1 };
        if quiet_rounds > QUIET_ROUNDS && !compresses {
            pipeline.arrivals.wait(pipeline.pause(IDLE_INTERVAL)).await;
        }
        interval.tick().await;
        let mut turn_ms = pipeline.clock.now_ms();
        pipeline.listen(&mut outcome);
        for shard in 0..shards {
            while pipeline.table.sweep(shard, pipeline.clock.now_ms(), &mut outcome) {
                settle(&mut outcome);
                end_turn(&pipeline, &mut turn_ms).await;
            }
        }
        settle(&mut outcome);
        while pipeline.table.relieve(pipeline.clock.now_ms(), &mut outcome) {
            settle(&mut outcome);
            end_turn(&pipeline, &mut turn_ms).await;
        }
        pipeline.table.relieve_disk(pipeline.clock.now_ms(), &mut outcome);
        settle(&mut outcome);
        for _ in 0..ROUND_COMPRESSIONS_MAX {
            compresses = pipeline.table.compress(pipeline.clock.now_ms());
            if !compresses {
                break;
            }
            end_turn(&pipeline, &mut turn_ms).await;
        }
        pipeline.table.shrink(round % shards);
        pipeline.table.tidy(pipeline.clock.now_ms());
        if let Some(span_metrics) = &pipeline.span_metrics {
            span_metrics.sweep(pipeline.clock.now_ms());
        }
        if round % UPKEEP_ROUNDS == 0 {
            pipeline.metrics.upkeep();
            pipeline.metrics.note_pace(pipeline.clock.now_ms());
        }
    }
}

/// Yields if the turn that began at `turn_ms` has lasted a millisecond, and begins the next turn.
async fn end_turn(pipeline: &Pipeline, turn_ms: &mut Millis) {
    if pipeline.clock.now_ms() > *turn_ms {
        tokio::task::yield_now().await;
        *turn_ms = pipeline.clock.now_ms();
    }
}

/// Decides all pending traces.
pub(super) async fn drain(pipeline: &Pipeline) {
    let mut outcome = RoundOutcome::default();
    pipeline.listen(&mut outcome);
    while pipeline.table.drain(pipeline.clock.now_ms(), &mut outcome) {
        pipeline.settle(&mut outcome);
        tokio::task::yield_now().await;
    }
    pipeline.settle(&mut outcome);
}

#[cfg(test)]
mod tests;
