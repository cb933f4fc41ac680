//! Traces that only one of two configurations keeps, as both see them.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Configured, SimulateArgs};
use crate::cli::explain::report as complain;
use crate::cli::progress::Progress;
use crate::cli::requests;
use crate::offline::input::STDIN;
use crate::offline::inspect::{InspectedTrace, Inspector};
use crate::offline::render::TraceView;
use crate::offline::simulate::{Difference, Side};
use crate::offline::sink_spans::SinkEncoder;
use crate::offline::{Replay, ReplaySettings};
use crate::otlp::TraceId;
use crate::sampling::{Policies, PolicyParts};
use crate::tail::settings::TailSampling;
use crate::tail::table::SWEEP_MS;
use crate::terminal::Paint;

/// The memory that the spans of the examples may take.
const HELD_BYTES_MAX: usize = 64 << 20;

/// A trace that only one configuration keeps.
pub(super) struct Example {
    pub(super) kept_by: Side,
    /// The trace as the configuration sees it that keeps it.
    pub(super) text: String,
    /// The verdict of the other configuration, in one line.
    pub(super) other: String,
    /// The answers of the first and of the second configuration.
    pub(super) json: [Value; 2],
}

/// Returns the examples of a difference. Plays the recording a second time, because nothing was kept of its spans.
pub(super) fn of(args: &SimulateArgs, configured: &[Configured], difference: &Difference) -> Vec<Example> {
    let wanted: Vec<(Side, TraceId)> = Side::ALL
        .into_iter()
        .flat_map(|side| difference.examples(side).iter().map(move |trace| (side, *trace)))
        .collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    if !args.recordings.iter().all(|path| can_be_read_again(path)) {
        let help = "write what comes through the pipe to a file";
        complain("warning", "no examples are shown: a recording cannot be read twice", Some(help));
        return Vec::new();
    }
    let ids: HashSet<TraceId> = wanted.iter().map(|(_, trace)| *trace).collect();
    let (progress, mut seen) = (Progress::begin(), Vec::new());
    for one in configured {
        match look(args, one, &ids, difference.examples_ms(), &progress) {
            Some(side) => seen.push(side),
            None => return Vec::new(),
        }
    }
    progress.clear();
    let [first, second] = &seen[..] else { return Vec::new() };
    wanted.into_iter().filter_map(|(side, trace)| example(side, trace, [first, second])).collect()
}

/// A pipe cannot be read again.
fn can_be_read_again(path: &Path) -> bool {
    path != Path::new(STDIN) && std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() || metadata.is_dir())
}

/// The examples as one configuration sees them.
struct SeenSide<'a> {
    tail_sampling: &'a TailSampling,
    policies: Arc<Policies>,
    parts: PolicyParts,
    traces: Vec<InspectedTrace>,
}

/// Plays the recording to one configuration, up to the time at which all examples are settled.
fn look<'a>(
    args: &SimulateArgs,
    one: &'a Configured,
    ids: &HashSet<TraceId>,
    until_ms: u64,
    progress: &Progress,
) -> Option<SeenSide<'a>> {
    let tail_sampling = &one.settings.tail_sampling;
    // `validate::load` has compiled the same policies.
    let policies = Arc::new(Policies::compile_set(tail_sampling.policy_set(), None).ok()?);
    let parts = PolicyParts::compile(tail_sampling.policy_set(), &policies).ok()?;
    let mut inspector =
        Inspector::new(&policies, &parts, SinkEncoder::new(&one.settings, &policies), HELD_BYTES_MAX).of(ids.clone());
    let settings = ReplaySettings { limit_bytes: one.limit_bytes, sweep_ms: SWEEP_MS, seed: 0, with_answers: true };
    let mut replay = Replay::new(tail_sampling, Arc::clone(&policies), settings);
    let mut requests = requests::open(&args.recordings)?;
    let mut count = 0;
    while let Some(request) = requests.next() {
        // What cannot be read or taken in was reported the first time.
        let Ok(request) = request else { continue };
        let _ = replay.take(request, &mut inspector);
        count += 1;
        progress.show(|| requests.progress("looking for examples", count));
        if replay.now_ms() > until_ms {
            break;
        }
    }
    if replay.now_ms() <= until_ms {
        replay.finish(&mut inspector);
    }
    let (traces, _) = inspector.into_traces();
    Some(SeenSide { tail_sampling, policies, parts, traces })
}

fn example(kept_by: Side, trace: TraceId, seen: [&SeenSide<'_>; 2]) -> Option<Example> {
    let paint = Paint::stdout();
    let view = |side: &SeenSide<'_>| -> Option<(String, String, Value)> {
        let found = side.traces.iter().find(|found| found.id == trace)?;
        let view = TraceView { tail_sampling: side.tail_sampling, policies: &side.policies, parts: &side.parts, paint };
        Some((view.text(found), view.head(found), view.json(found)))
    };
    let [first, second] = [view(seen[0])?, view(seen[1])?];
    let json = [first.2, second.2];
    let (text, other) = match kept_by {
        Side::First => (first.0, second.1),
        Side::Second => (second.0, first.1),
    };
    Some(Example { kept_by, text, other, json })
}

impl Example {
    /// Returns the example as JSON.
    pub(super) fn json(&self) -> Value {
        let [first, second] = &self.json;
        let kept_by = match self.kept_by {
            Side::First => "first",
            Side::Second => "second",
        };
        json!({"kept_by": kept_by, "first": first, "second": second})
    }
}
