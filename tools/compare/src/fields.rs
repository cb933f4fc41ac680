//! Sends generated spans to both programs, and compares the results field by field.

mod cause;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use spansieve::cloud_trace::encode::testing::generate;

use crate::Failure;
use crate::program::Program;
use crate::recorder::Recorder;

pub const PROJECT: &str = "compare-project";
const SPANS_A_REQUEST: usize = 100;
const WAIT_SECONDS: u64 = 30;
/// Maximum differences without a listed cause that are printed.
const SHOWN_MAX: usize = 20;

/// A span with its resource and scope, as it is sent.
pub struct Sent {
    pub resource: Resource,
    pub scope: InstrumentationScope,
    pub span: Span,
}

impl Sent {
    /// Returns true if neither start nor end is set. Spansieve drops such a span, because Cloud Trace refuses the year
    /// 1970.
    fn is_timeless(&self) -> bool {
        self.span.start_time_unix_nano == 0 && self.span.end_time_unix_nano == 0
    }
}

/// Compares all spans, and prints each cause with its number of differences. Returns true if all have a listed cause.
pub async fn compare(spansieve: &Path, collector: &Path, count: usize) -> Result<bool, Failure> {
    let sent = spans(count);
    let requests: Vec<_> = sent.chunks(SPANS_A_REQUEST).map(request).collect();
    let (ours, address) = Recorder::start().await?;
    let spansieve = Program::start("Spansieve", spansieve, &spansieve_configuration(&address)).await?;
    let (theirs, address) = Recorder::start().await?;
    let collector = Program::start("the Collector", collector, &collector_configuration(&address)).await?;
    spansieve.send(&requests).await?;
    collector.send(&requests).await?;
    let timeless = sent.iter().filter(|sent| sent.is_timeless()).count();
    wait("Spansieve", &ours, sent.len() - timeless).await?;
    wait("the Collector", &theirs, sent.len()).await?;

    let (ours, theirs) = (ours.take(), theirs.take());
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    counts.insert("times: a span without any is dropped and counted", timeless);
    let mut unlisted = 0;
    for one in sent.iter().filter(|sent| !sent.is_timeless()) {
        let id = format!("{}/{}", hex(&one.span.trace_id), hex(&one.span.span_id));
        for difference in cause::differences(one, &ours[&id][0], &theirs[&id][0]) {
            match difference.cause {
                Some(cause) => *counts.entry(cause).or_default() += 1,
                None => {
                    unlisted += 1;
                    if unlisted <= SHOWN_MAX {
                        println!(
                            "{id} {}\n  Spansieve: {:.300}\n  Collector: {:.300}",
                            difference.field, difference.ours, difference.theirs
                        );
                    }
                }
            }
        }
    }
    println!("{} spans through both programs. Differences by their listed cause:", sent.len());
    for (cause, count) in &counts {
        println!("{count:8} {cause}");
    }
    println!("{unlisted:8} without a listed cause");
    Ok(unlisted == 0)
}

async fn wait(program: &'static str, recorder: &Recorder, sent: usize) -> Result<(), Failure> {
    for _ in 0..WAIT_SECONDS * 10 {
        if recorder.len() == sent {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(Failure::Missing { program, sent, written: recorder.len(), seconds: WAIT_SECONDS })
}

/// Returns generated spans with unique ids, the same ones in each run.
fn spans(count: usize) -> Vec<Sent> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    let mut runner = TestRunner::deterministic();
    let strategy = (generate::resource(), generate::scope(), generate::span());
    let generated = (0..count).filter_map(|_| strategy.new_tree(&mut runner).ok()).map(|tree| tree.current());
    let sent = generated.enumerate().map(|(i, (mut resource, scope, mut span))| {
        let id = (i as u64 + 1).to_be_bytes().to_vec();
        if span.parent_span_id == span.span_id {
            span.parent_span_id.clone_from(&id);
        }
        span.trace_id = [&[1; 8][..], &id].concat();
        span.span_id = id;
        let times = [&mut span.start_time_unix_nano, &mut span.end_time_unix_nano].into_iter();
        for time in times.chain(span.events.iter_mut().map(|event| &mut event.time_unix_nano)) {
            *time = recent(*time, now);
        }
        // The Collector puts the text of a project attribute into a header. A long text makes it fail the whole
        // request.
        let size = |a: &KeyValue| a.value.as_ref().map_or(0, prost::Message::encoded_len);
        resource.attributes.retain(|a| !a.key.starts_with("gcp.project") || size(a) < 200);
        // The Collector refuses a whole request if an id has another length.
        span.links.retain(|link| matches!((link.trace_id.len(), link.span_id.len()), (0 | 16, 0 | 8)));
        Sent { resource, scope, span }
    });
    sent.collect()
}

/// Moves a time into the last hour, because Cloud Trace refuses times of other years. An unset time stays unset.
fn recent(time: u64, now: u64) -> u64 {
    const HOUR_NANOS: u64 = 3_600_000_000_000;
    if time == 0 { 0 } else { now - HOUR_NANOS + time % HOUR_NANOS }
}

fn request(sent: &[Sent]) -> ExportTraceServiceRequest {
    let one = |sent: &Sent| ResourceSpans {
        resource: Some(sent.resource.clone()),
        scope_spans: vec![ScopeSpans {
            scope: Some(sent.scope.clone()),
            spans: vec![sent.span.clone()],
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: sent.iter().map(one).collect() }
}

fn spansieve_configuration(sink: &str) -> String {
    format!(
        "otlp: {{listen: [OTLP]}}\n\
         tail_sampling: {{decision_wait: 10ms, annotate: false, policies: [{{name: all, type: always_sample}}]}}\n\
         export: {{endpoint: 'http://{sink}', project: {PROJECT}, allowed_projects: ['*'], batch: {{max_delay: 10ms}}}}\n"
    )
}

fn collector_configuration(sink: &str) -> String {
    format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: OTLP, max_recv_msg_size_mib: 64}}}}}}}}\n\
         exporters:\n  googlecloud:\n    project: {PROJECT}\n    sending_queue: {{enabled: false}}\n    \
         trace: {{endpoint: '{sink}', use_insecure: true}}\n\
         service:\n  telemetry: {{metrics: {{level: none}}}}\n  \
         pipelines: {{traces: {{receivers: [otlp], exporters: [googlecloud]}}}}\n"
    )
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
