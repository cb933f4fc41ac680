//! An exporter whose sink gives the answers of the scenario: real queue, encoder and batches, without a network.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message;

use super::scenario::Answer;
use crate::budget::Budget;
use crate::cloud_trace::encode::{Encoder, EncoderSettings};
use crate::export::batch::{Batch, Batcher, Form};
use crate::export::settings;
use crate::export::sink::EncodeSpans;
use crate::proto::google::devtools::cloudtrace::v2::attribute_value::Value;
use crate::proto::google::devtools::cloudtrace::v2::{BatchWriteSpansRequest, Span};
use crate::resource::Rewriter;
use crate::resource::settings::AllowedProjects;
use crate::sampling::PolicyNames;
use crate::sampling::annotation::{ADJUSTED_COUNT, POLICY, TRIGGER};
use crate::tail::kept::{KeptQueue, KeptSpans};

/// The time of day in all simulations, nanoseconds since 1970.
const NOW_UNIX_NANO: u64 = 1_700_000_100_000_000_000;

/// The annotation of a span at the sink: the policy that kept it, the adjusted count of its trace, and true if the
/// trace was rescued.
pub(super) type Stored = (String, f64, bool);

pub(super) struct Exporter {
    pub(super) queue: Arc<KeptQueue>,
    encoder: Encoder,
    batcher: Batcher,
    calls: VecDeque<Batch>,
    start: Instant,
    /// The spans that the sink took, by name.
    pub(super) stored: HashMap<String, Vec<Stored>>,
    /// Spans that the sink refused finally. `unencodable_spans` counts those that could not be encoded.
    pub(super) lost_spans: u64,
    pub(super) unencodable_spans: u64,
}

impl Exporter {
    pub(super) fn new(policy_names: PolicyNames, budget: &Budget) -> Self {
        let settings = EncoderSettings {
            default_project: "p".into(),
            allowed_projects: AllowedProjects::Any,
            annotate: true,
            policy_names,
            ..EncoderSettings::default()
        };
        let mut encoder = Encoder::new(settings, Rewriter::default());
        encoder.set_now(NOW_UNIX_NANO);
        let limits = settings::BatchSettings { max_spans: 8, max_bytes: 4_096, max_delay: Duration::from_millis(100) };
        Exporter {
            queue: Arc::default(),
            encoder,
            batcher: Batcher::new(Form::CloudTrace, limits, budget.clone()),
            calls: VecDeque::new(),
            start: Instant::now(),
            stored: HashMap::new(),
            lost_spans: 0,
            unencodable_spans: 0,
        }
    }

    /// Encodes up to `fragments` waiting fragments, and closes the batches that are due.
    pub(super) fn encode(&mut self, fragments: usize, now_ms: u64) {
        let now = self.start + Duration::from_millis(now_ms);
        let mut slice = VecDeque::new();
        self.queue.take(fragments, &mut slice);
        for KeptSpans { fragment, keep, .. } in slice {
            for span in fragment.open().spans() {
                let origin = EncodeSpans::origin(&mut self.encoder, span);
                let place = <Encoder as EncodeSpans>::place(&origin);
                let encoder = &mut self.encoder;
                if self.batcher.push(place, now, |out| EncodeSpans::span(encoder, &origin, span, keep, out)).is_err() {
                    self.unencodable_spans += 1;
                    self.queue.settle(1);
                }
            }
        }
        self.batcher.close_due(now);
        self.calls.extend(self.batcher.take_closed());
    }

    /// Lets the sink answer the oldest call.
    pub(super) fn answer(&mut self, answer: Answer) {
        let Some(batch) = self.calls.pop_front() else { return };
        match answer {
            Answer::Stored => self.store(&batch),
            Answer::Failed => self.calls.push_back(batch),
            Answer::Refused => match batch.halves() {
                Some((left, right)) => self.calls.extend([left, right]),
                None => {
                    self.lost_spans += 1;
                    self.queue.settle(1);
                }
            },
        }
    }

    fn store(&mut self, batch: &Batch) {
        let request = BatchWriteSpansRequest::decode(batch.message().clone()).expect("a valid call");
        assert_eq!(request.spans.len(), batch.span_count() as usize);
        for span in request.spans {
            let (name, stored) = stored(&span);
            self.stored.entry(name).or_default().push(stored);
        }
        self.queue.settle(batch.span_count().into());
    }

    /// Exports everything that is left, with a sink that stores every call.
    pub(super) fn finish(&mut self, now_ms: u64) {
        while !self.queue.is_empty() {
            self.encode(16, now_ms);
        }
        self.batcher.flush();
        self.calls.extend(self.batcher.take_closed());
        while !self.calls.is_empty() {
            self.answer(Answer::Stored);
        }
    }

    /// Returns the number of spans that the sink stored.
    pub(super) fn stored_spans(&self) -> u64 {
        self.stored.values().map(|stored| stored.len() as u64).sum()
    }
}

fn stored(span: &Span) -> (String, Stored) {
    let attributes = &span.attributes.as_ref().expect("annotations").attribute_map;
    let text = |key| match attributes[key].value.clone().expect("a value") {
        Value::StringValue(text) => text.value,
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(_) => panic!("the value is a bool"),
    };
    let name = span.display_name.as_ref().expect("a name").value.clone();
    (name, (text(POLICY), text(ADJUSTED_COUNT).parse().expect("a number"), attributes.contains_key(TRIGGER)))
}
