//! Sends the same traces to both programs with the same policies, and compares which traces each program keeps.

mod traces;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use self::traces::Trace;
use crate::Failure;
use crate::fields::hex;
use crate::program::Program;
use crate::recorder::Recorder;

/// Decision wait of both programs in whole seconds. The Collector decides on the next tick after it.
const DECISION_WAIT_SECONDS: u64 = 1;
/// Time without new spans after which no more are expected.
const QUIET: Duration = Duration::from_millis(2500);

/// Policies, with the known differences between the two programs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    name: String,
    /// Lines of the section `tail_sampling`, the same for both programs.
    tail_sampling: String,
    /// Reasons of known differences, by trace name. A final `*` matches any end of a name.
    #[serde(default)]
    differs: BTreeMap<String, String>,
}

/// Compares all blocks and prints a line for each. Returns true if all differences are known.
pub async fn compare(spansieve: &Path, collector: &Path, blocks: &Path, only: &str) -> Result<bool, Failure> {
    let text = std::fs::read_to_string(blocks)?;
    let blocks: Vec<Block> = serde_saphyr::from_str(&text).map_err(|error| Failure::Blocks(error.to_string()))?;
    let traces = traces::all();
    println!("| policies | traces | kept by both | by Spansieve alone | by the Collector alone | why |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut all_listed = true;
    for block in blocks.iter().filter(|block| block.name.contains(only)) {
        let ours = kept("Spansieve", spansieve, &spansieve_configuration(block), &traces).await?;
        let theirs = kept("the Collector", collector, &collector_configuration(block), &traces).await?;
        all_listed &= report(block, &traces, &ours, &theirs);
    }
    Ok(all_listed)
}

/// Returns the names of the traces that the program keeps with these policies.
async fn kept(
    name: &'static str,
    program: &Path,
    configuration: &str,
    traces: &[Trace],
) -> Result<BTreeSet<String>, Failure> {
    let (recorder, address) = Recorder::start().await?;
    let program = Program::start(name, program, &configuration.replace("SINK", &address)).await?;
    let requests: Vec<_> = traces.iter().flat_map(|trace| trace.requests.clone()).collect();
    program.send(&requests).await?;
    tokio::time::sleep(Duration::from_secs(DECISION_WAIT_SECONDS)).await;
    let mut written = usize::MAX;
    while written != recorder.len() {
        written = recorder.len();
        tokio::time::sleep(QUIET).await;
    }
    let spans = recorder.take();
    let is_kept = |trace: &&Trace| spans.keys().any(|id| id.starts_with(&hex(&trace.id)));
    Ok(traces.iter().filter(is_kept).map(|trace| trace.name.clone()).collect())
}

fn report(block: &Block, traces: &[Trace], ours: &BTreeSet<String>, theirs: &BTreeSet<String>) -> bool {
    let differing: Vec<_> = ours.symmetric_difference(theirs).collect();
    let reason = |trace: &str| {
        let means = |pattern: &str| match pattern.strip_suffix('*') {
            Some(start) => trace.starts_with(start),
            None => trace == pattern,
        };
        block.differs.iter().find(|(pattern, _)| means(pattern)).map(|(_, reason)| reason.as_str())
    };
    let reasons: BTreeSet<_> = differing.iter().filter_map(|trace| reason(trace)).collect();
    let reasons = reasons.into_iter().collect::<Vec<_>>().join("; ");
    let (both, only_ours) = (ours.intersection(theirs).count(), ours.difference(theirs).count());
    let only_theirs = theirs.difference(ours).count();
    println!("| {} | {} | {both} | {only_ours} | {only_theirs} | {reasons} |", block.name, traces.len());
    let unlisted: Vec<_> = differing.iter().filter(|trace| reason(trace).is_none()).collect();
    for trace in &unlisted {
        let by = if ours.contains(**trace) { "Spansieve" } else { "the Collector" };
        println!("NOT LISTED: {}: {trace} is kept by {by} alone", block.name);
    }
    unlisted.is_empty()
}

fn indented(block: &Block) -> String {
    block.tail_sampling.lines().map(|line| format!("    {line}\n")).collect()
}

fn spansieve_configuration(block: &Block) -> String {
    format!(
        "otlp: {{listen: [OTLP]}}\n\
         tail_sampling:\n    decision_wait: {DECISION_WAIT_SECONDS}s\n    rescue: {{window: 0s}}\n{}\
         export: {{endpoint: 'http://SINK', project: compare, batch: {{max_delay: 10ms}}}}\n",
        indented(block)
    )
}

fn collector_configuration(block: &Block) -> String {
    let tail_sampling = indented(block).replace("\n    ", "\n        ");
    format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: OTLP}}}}}}}}\n\
         processors:\n    tail_sampling:\n        decision_wait: {DECISION_WAIT_SECONDS}s\n    {tail_sampling}\n\
         exporters:\n  googlecloud:\n    project: compare\n    sending_queue: {{enabled: false}}\n    \
         trace: {{endpoint: SINK, use_insecure: true}}\n\
         service:\n  telemetry: {{metrics: {{level: none}}}}\n  \
         pipelines: {{traces: {{receivers: [otlp], processors: [tail_sampling], exporters: [googlecloud]}}}}\n"
    )
}
