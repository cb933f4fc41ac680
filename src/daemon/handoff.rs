//! The handoff of undecided traces to another instance, in a stop.
//!
//! Invariants
//! - A trace that is not handed over is still pending afterwards, and is decided as without a handoff.
//! - No instance can hand a trace to itself, and no two can hand it to one another: an instance hands over only after
//!   it has stopped taking requests, so it takes nothing back. Each instance stops once.
//! - Nothing waits longer than the deadline, whatever the other instance does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::fleet::Fleet;
use super::pipeline::Pipeline;
use crate::export::sink::cut;
use crate::fleet::peer::{Peer, PeerError};
use crate::tail::table::RoundOutcome;
use crate::tail::table::handoff::{HandoffCursor, PendingTrace, write_request};

/// The bytes of a call. It is below 4 MiB, which gRPC servers take by default, even if the last trace of a call
/// is the largest that goes.
const CALL_BYTES: u64 = 1 << 20;
/// The bytes of the largest trace that is handed over. A larger one is decided here, because it would have to be split.
const TRACE_BYTES_MAX: u64 = 2 << 20;
/// The calls at the same time. They hide the round trip, and take a few MiB of memory.
const CALLS_MAX: usize = 4;
/// The wait before a call is repeated: after it, the load balancer may have found an instance that does not stop.
const RETRY_WAIT: Duration = Duration::from_millis(100);

/// The traces of one call.
struct Call {
    traces: Vec<PendingTrace>,
    result: Result<(), PeerError>,
}

/// Hands undecided traces over to `peer`, for at most half of the time until `deadline`. `fleet` follows no verdict
/// meanwhile.
pub(super) async fn leave(pipeline: &Pipeline, peer: &Arc<Peer>, fleet: Option<&Fleet>, deadline: Instant) {
    if let Some(fleet) = fleet {
        fleet.pause().await;
    }
    let now = Instant::now();
    let deadline = now + deadline.saturating_duration_since(now) / 2;
    hand_over(pipeline, peer, fleet, deadline).await;
    if let Some(fleet) = fleet {
        fleet.resume().await;
    }
}

/// Hands pending traces over until `deadline`, the oldest of each shard first. Begins no call after the first failure. Once
/// the first traces have been taken, `fleet`, which has been paused, is told: from then on the other instance reports them.
async fn hand_over(pipeline: &Pipeline, peer: &Arc<Peer>, fleet: Option<&Fleet>, deadline: Instant) {
    if pipeline.table.held().pending_spans == 0 {
        return;
    }
    let outcome = timeout_at(deadline, peer.sign_in()).await;
    let (spans, error) = match outcome.unwrap_or_else(|_| Err(PeerError::NoIdToken("no answer in time".to_owned()))) {
        Ok(headers) => send_all(pipeline, peer, fleet, &headers, deadline).await,
        Err(error) => (0, Some(error)),
    };
    let left_spans = pipeline.table.held().pending_spans;
    let is_late = Instant::now() >= deadline;
    match error {
        Some(error) => tracing::warn!(
            spans,
            left_spans,
            endpoint = peer.endpoint(),
            error = cut(&error.to_string()),
            "Undecided traces were not all handed over. The rest is decided here, on the spans that have come."
        ),
        None if left_spans > 0 && is_late => tracing::warn!(
            spans,
            left_spans,
            endpoint = peer.endpoint(),
            "The time for handing over undecided traces has ended. The rest is decided here."
        ),
        None if left_spans > 0 => tracing::warn!(
            spans,
            left_spans,
            endpoint = peer.endpoint(),
            "Undecided traces were handed over, except those of more than 2 MiB. These are decided here."
        ),
        None => tracing::info!(spans, endpoint = peer.endpoint(), "Undecided traces were handed over."),
    }
}

/// Returns the number of spans that were taken, and the error of the first request that was not.
async fn send_all(
    pipeline: &Pipeline,
    peer: &Arc<Peer>,
    mut fleet: Option<&Fleet>,
    headers: &HeaderMap,
    deadline: Instant,
) -> (u64, Option<PeerError>) {
    let (mut cursor, mut calls) = (HandoffCursor::default(), JoinSet::new());
    let (mut spans, mut failed, mut is_read) = (0, None, false);
    // True once a request was not taken. Then no other one is repeated.
    let is_over = Arc::new(AtomicBool::new(false));
    // The first call goes alone: a peer that refuses it is asked once.
    let mut calls_max = 1;
    loop {
        while calls.len() < calls_max && failed.is_none() && !is_read && Instant::now() < deadline {
            match next_call(pipeline, &mut cursor) {
                Some(traces) => {
                    let (peer, headers, is_over) = (Arc::clone(peer), headers.clone(), Arc::clone(&is_over));
                    calls.spawn(send(pipeline, peer, headers, traces, deadline, is_over));
                }
                None => is_read = true,
            }
        }
        match calls.join_next().await {
            Some(Ok(Call { traces, result: Ok(()) })) => {
                calls_max = CALLS_MAX;
                spans += release(pipeline, &traces);
                // The fleet is told once.
                if let Some(fleet) = fleet.take() {
                    fleet.announce().await;
                }
            }
            Some(Ok(Call { result: Err(error), .. })) => {
                is_over.store(true, Ordering::Relaxed);
                failed = failed.or(Some(error));
            }
            // The traces of the call are still pending.
            Some(Err(panic)) => tracing::error!(%panic, "A call that hands traces over has failed; this is a bug."),
            None => return (spans, failed),
        }
    }
}

/// Returns the traces of the next call; `None` if there are no more.
fn next_call(pipeline: &Pipeline, cursor: &mut HandoffCursor) -> Option<Vec<PendingTrace>> {
    let (mut traces, mut bytes) = (Vec::new(), 0);
    while bytes < CALL_BYTES {
        let Some(found) = pipeline.table.pending_traces(cursor, CALL_BYTES - bytes) else { break };
        let found = found.into_iter().filter(|trace| trace.bytes() <= TRACE_BYTES_MAX);
        traces.extend(found.inspect(|trace| bytes += trace.bytes()));
    }
    (!traces.is_empty()).then_some(traces)
}

/// Sends `traces`, again and again while that may help.
fn send(
    pipeline: &Pipeline,
    peer: Arc<Peer>,
    headers: HeaderMap,
    traces: Vec<PendingTrace>,
    deadline: Instant,
    is_over: Arc<AtomicBool>,
) -> impl Future<Output = Call> + Send + 'static {
    let bytes_max = traces.iter().map(PendingTrace::bytes).sum::<u64>() as usize;
    let share = pipeline.table.budget().force(bytes_max);
    let mut request = Vec::with_capacity(bytes_max);
    write_request(&traces, &mut request);
    let request = Bytes::from(request);
    async move {
        let _share = share;
        loop {
            let result = timeout_at(deadline, peer.send(headers.clone(), request.clone())).await;
            let result = result.unwrap_or_else(|_| Err(PeerError::late()));
            match &result {
                Err(error)
                    if error.may_pass()
                        && !is_over.load(Ordering::Relaxed)
                        && Instant::now() + RETRY_WAIT < deadline =>
                {
                    sleep(RETRY_WAIT).await;
                }
                _ => return Call { traces, result },
            }
        }
    }
}

/// Releases traces that were taken. Returns the number of their spans.
fn release(pipeline: &Pipeline, traces: &[PendingTrace]) -> u64 {
    let mut outcome = RoundOutcome::default();
    let spans = pipeline.table.handed_over(traces, pipeline.clock.now_ms(), &mut outcome);
    pipeline.metrics.handed_over(spans);
    pipeline.settle(&mut outcome);
    spans
}
