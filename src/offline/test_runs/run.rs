//! Runs a test: its traces through a replay, and the result compared with what is expected.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::encode::{START_UNIX_NANO, requests, trace_id};

use crate::config::Settings;
use crate::offline::inspect::{InspectedTrace, Inspector, trace_of};
use crate::offline::sink_spans::{SinkEncoder, SinkSpan};
use crate::offline::{Observer, Replay, ReplaySettings, TextValue, TimedRequest};
use crate::otlp::TraceId;
use crate::policy_tests::settings::{Expectations, ExpectedVerdict, PolicyTest, WrittenSpan};
use crate::sampling::{CompileError, Keep, Policies, PolicyParts, Verdict};
use crate::settings::Size;
use crate::tail::kept::KeptSpans;
use crate::tail::settings::TailSampling;
use crate::tail::table::Millis;
use crate::tail::{Decision, Trigger};

/// The memory of the container in tests, which percentages refer to: that of the smallest usual container. It is fixed,
/// so that tests give the same result on every machine.
const CONTAINER_BYTES: f64 = 512.0 * 1024.0 * 1024.0;

/// The memory budget of a test. A test is about policies, so memory is never short.
const LIMIT_BYTES: usize = 1 << 40;

/// The most bytes of memory for showing the traces of a failed test.
const INSPECTED_BYTES_MAX: usize = 64 << 20;

/// The most kept spans whose written form is compared.
const WRITTEN_SPANS_MAX: usize = 1_000_000;

/// Reads the requests of a file that a test names.
pub type ReadTraces<'a> = &'a dyn Fn(&Path) -> Result<Vec<TimedRequest>, String>;

/// A configuration whose policies are tested.
#[derive(Debug)]
pub struct Runner<'s> {
    settings: &'s Settings,
    /// `tail_sampling` with percentages of memory as bytes.
    tail_sampling: TailSampling,
    names: Vec<String>,
    parts: PolicyParts,
}

/// The result of a test.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TestResult {
    /// The expectations that do not hold, in words. Empty if the test has passed.
    pub failures: Vec<String>,
    /// The number of traces.
    pub traces: u64,
}

impl<'s> Runner<'s> {
    /// Makes a runner of tests for the policies of `settings`.
    ///
    /// # Errors
    /// The policies cannot be compiled.
    pub fn new(settings: &'s Settings) -> Result<Self, CompileError> {
        let mut tail_sampling = settings.tail_sampling.clone();
        let bytes = |size, of: f64| match size {
            Size::Bytes(bytes) => bytes as f64,
            Size::Percent(percent) => of * percent / 100.0,
        };
        let limit_bytes = bytes(settings.memory.limit, CONTAINER_BYTES);
        for size in [&mut tail_sampling.bytes_max, &mut tail_sampling.rescue.max_bytes] {
            *size = Size::Bytes(bytes(*size, limit_bytes) as u64);
        }
        let names = compile(&tail_sampling)?.names().to_vec();
        let parts = PolicyParts::compile(&tail_sampling.policies)?;
        Ok(Runner { settings, tail_sampling, names, parts })
    }

    /// Returns the names of the policies.
    #[must_use]
    pub fn policy_names(&self) -> &[String] {
        &self.names
    }

    /// Returns the names of the policies at the top level.
    #[must_use]
    pub fn top_names(&self) -> &[String] {
        self.names.get(..self.tail_sampling.policies.len()).unwrap_or(&self.names)
    }

    /// Returns the parts of the policies.
    #[must_use]
    pub fn parts(&self) -> &PolicyParts {
        &self.parts
    }

    /// Runs a test.
    #[must_use]
    pub fn run(&self, test: &PolicyTest, read: ReadTraces<'_>) -> TestResult {
        let expect = &test.keys.expect;
        let mut seen = SeenTraces { encoder: self.encoder(expect), ..SeenTraces::default() };
        let mut failures = match self.play(test, read, &mut seen, false) {
            Ok(refusals) => refusals,
            Err(error) => return TestResult { failures: vec![error], traces: 0 },
        };
        failures.extend(Comparison { expect, seen: &seen, names: &self.names }.failures());
        TestResult { failures, traces: seen.traces.len() as u64 }
    }

    /// Runs a test again, and returns its traces with all that can be known of them.
    #[must_use]
    pub fn inspect(&self, test: &PolicyTest, read: ReadTraces<'_>) -> Vec<InspectedTrace> {
        let Ok(policies) = compile(&self.tail_sampling) else { return Vec::new() };
        let encoder = SinkEncoder::new(self.settings, &policies);
        let mut inspector = Inspector::new(&self.parts, encoder, INSPECTED_BYTES_MAX);
        inspector.start_at(START_UNIX_NANO);
        // A file that cannot be read has no traces to show.
        let _ = self.play(test, read, &mut inspector, true);
        inspector.into_traces().0
    }

    /// Returns freshly compiled policies, which remember nothing.
    ///
    /// # Errors
    /// The policies cannot be compiled. This does not happen, because [`Runner::new`] has compiled them.
    pub fn policies(&self) -> Result<Policies, CompileError> {
        compile(&self.tail_sampling)
    }

    /// Returns the encoder for a test that says how spans are written.
    fn encoder(&self, expect: &Expectations) -> Option<SinkEncoder> {
        let is_needed = !(expect.attributes.is_empty()
            && expect.resource.is_empty()
            && expect.absent.is_empty()
            && expect.written.is_empty());
        let policies = if is_needed { self.policies().ok() } else { None };
        policies.map(|policies| SinkEncoder::new(self.settings, &policies))
    }

    /// Plays the traces of a test. Returns the reasons why requests were refused.
    fn play(
        &self,
        test: &PolicyTest,
        read: ReadTraces<'_>,
        observer: &mut impl Observer,
        with_answers: bool,
    ) -> Result<Vec<String>, String> {
        let policies = self.policies().map_err(|error| error.to_string())?;
        let settings = ReplaySettings { limit_bytes: LIMIT_BYTES, sweep_ms: 0, seed: 0, with_answers };
        let replay = Replay::new(&self.tail_sampling, Arc::new(policies), settings);
        let mut refusals = Vec::new();
        let refused = |_, refusal: crate::offline::Refusal| refusals.push(format!("a request is refused: {refusal}"));
        match &test.keys.file {
            Some(file) => replay.run(read(file)?.into_iter(), observer, refused),
            None => replay.run(written(test).into_iter(), observer, refused),
        }
        Ok(refusals)
    }
}

fn compile(tail_sampling: &TailSampling) -> Result<Policies, CompileError> {
    Policies::compile(&tail_sampling.policies, tail_sampling.sample_on_first_match)
}

/// Returns the requests of a test whose trace is written in it, in the order of their arrival.
fn written(test: &PolicyTest) -> Vec<TimedRequest> {
    let keys = &test.keys;
    let Some(trace) = &keys.trace else { return Vec::new() };
    let mut all = Vec::new();
    for number in 0..keys.repeat {
        let id = keys.trace_id.map_or_else(|| trace_id(&keys.name, keys.seed, number), |id| TraceId(id.0));
        let offset = u64::try_from(keys.every.as_nanos()).unwrap_or(u64::MAX).saturating_mul(number);
        all.extend(requests(trace, &keys.resource, id, START_UNIX_NANO.saturating_add(offset)));
    }
    all.sort_by_key(|request| request.unix_nano);
    all
}

/// The state of a trace in a test.
#[derive(Clone, Debug, PartialEq)]
struct SeenTrace {
    verdict: Verdict,
    trigger: Trigger,
    kept_spans: u64,
}

/// An observer that remembers the state of each trace.
#[derive(Debug, Default)]
struct SeenTraces {
    traces: Vec<SeenTrace>,
    places: HashMap<TraceId, usize>,
    /// The encoder, if the test says how spans are written.
    encoder: Option<SinkEncoder>,
    written: Vec<Result<SinkSpan, String>>,
}

impl Observer for SeenTraces {
    fn decided(&mut self, decision: Decision) {
        let Decision { trace, verdict, trigger, .. } = decision;
        match self.places.get(&trace).and_then(|index| self.traces.get_mut(*index)) {
            Some(seen) => (seen.verdict, seen.trigger) = (verdict, trigger),
            None => {
                self.places.insert(trace, self.traces.len());
                self.traces.push(SeenTrace { verdict, trigger, kept_spans: 0 });
            }
        }
    }

    fn kept(&mut self, spans: KeptSpans, now_ms: Millis) {
        let seen = trace_of(&spans).and_then(|id| self.places.get(&id)).and_then(|index| self.traces.get_mut(*index));
        if let Some(seen) = seen {
            seen.kept_spans += u64::from(spans.fragment.span_count());
        }
        if let Some(encoder) = self.encoder.as_mut().filter(|_| self.written.len() < WRITTEN_SPANS_MAX) {
            self.written.extend(encoder.written(&spans, START_UNIX_NANO + now_ms * 1_000_000));
        }
    }
}

/// The expectations of a test, and the traces that were seen.
struct Comparison<'a> {
    expect: &'a Expectations,
    seen: &'a SeenTraces,
    names: &'a [String],
}

impl Comparison<'_> {
    fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        if self.seen.traces.is_empty() {
            return vec!["no span is accepted: trace ids or span ids are not valid".to_owned()];
        }
        failures.extend(self.verdict());
        failures.extend(self.policy());
        failures.extend(self.trigger());
        failures.extend(self.spans());
        failures.extend(self.kept());
        failures.extend(self.adjusted_count());
        failures.extend(self.sink());
        failures
    }

    /// Returns the failure of the traces for which `found` is not `expected`, both as they are shown.
    fn each(&self, key: &str, expected: &str, found: impl Fn(&SeenTrace) -> String) -> Option<String> {
        // If a test says how many traces are kept, its other expectations are about the kept traces.
        let only_kept = self.expect.kept.is_some();
        let traces = self.seen.traces.iter().filter(|seen| !only_kept || keep(seen).is_some());
        let wrong: Vec<String> = traces.map(found).filter(|found| found != expected).collect();
        let first = wrong.first()?;
        let of = if self.seen.traces.len() > 1 {
            format!(" for {} of {} traces", wrong.len(), self.seen.traces.len())
        } else {
            String::new()
        };
        Some(format!("{key}: expected {expected}, found {first}{of}"))
    }

    fn verdict(&self) -> Option<String> {
        let expected = self.expect.verdict?;
        let word = |kept| if kept { "kept" } else { "dropped" }.to_owned();
        self.each("verdict", &word(expected == ExpectedVerdict::Kept), |seen| word(keep(seen).is_some()))
    }

    fn policy(&self) -> Option<String> {
        let expected = self.expect.policy.as_ref()?;
        let name = |policy: u16| self.names.get(usize::from(policy)).cloned().unwrap_or_default();
        self.each("policy", &expected.name, |seen| match seen.verdict {
            Verdict::Kept(keep) => name(keep.policy),
            Verdict::DroppedByPolicy(policy) => name(policy),
            Verdict::Dropped => "none: no policy keeps the trace".to_owned(),
        })
    }

    fn trigger(&self) -> Option<String> {
        let expected = self.expect.trigger?;
        self.each("trigger", expected.as_str(), |seen| seen.trigger.as_str().to_owned())
    }

    fn spans(&self) -> Option<String> {
        let expected = self.expect.spans?;
        self.each("spans", &expected.to_string(), |seen| seen.kept_spans.to_string())
    }

    fn kept(&self) -> Option<String> {
        let range = self.expect.kept?;
        let (kept, all) = (self.keeps().count(), self.seen.traces.len());
        let percent = 100.0 * kept as f64 / all as f64;
        let is_within = (range.min..=range.max).contains(&percent);
        let expected =
            if range.min == range.max { format!("{}%", range.min) } else { format!("{}% - {}%", range.min, range.max) };
        (!is_within).then(|| format!("kept: expected {expected}, found {percent:.2}%: {kept} of {all} traces"))
    }

    fn adjusted_count(&self) -> Option<String> {
        let expected = self.expect.adjusted_count?;
        if self.keeps().next().is_none() {
            return Some(format!("adjusted_count: expected {expected}, but no trace is kept"));
        }
        let mut counts = self.keeps().map(|keep| keep.threshold.adjusted_count());
        let wrong = counts.find(|count| (count / expected - 1.0).abs() > 1e-6)?;
        Some(format!("adjusted_count: expected {expected}, found {wrong}"))
    }

    fn keeps(&self) -> impl Iterator<Item = Keep> {
        self.seen.traces.iter().filter_map(keep)
    }

    /// Compares what is written with what is expected of it.
    fn sink(&self) -> Vec<String> {
        if self.seen.encoder.is_none() {
            return Vec::new();
        }
        if self.seen.written.is_empty() {
            return vec!["expected kept spans, but no trace is kept".to_owned()];
        }
        let (mut failures, mut spans) = (Vec::new(), Vec::new());
        for written in &self.seen.written {
            match written {
                Ok(span) => spans.push(span),
                Err(error) => failures.push(format!("a kept span cannot be written: {error}")),
            }
        }
        let Expectations { attributes, resource, absent, written, .. } = self.expect;
        let every = WrittenSpan {
            attributes: attributes.clone(),
            resource: resource.clone(),
            absent: absent.clone(),
            ..WrittenSpan::default()
        };
        failures.extend(spans.iter().find_map(|span| difference(&every, span)));
        failures.extend(written.iter().filter_map(|expected| missing(expected, &spans)));
        failures.dedup();
        failures
    }
}

fn keep(seen: &SeenTrace) -> Option<Keep> {
    match seen.verdict {
        Verdict::Kept(keep) => Some(keep),
        Verdict::Dropped | Verdict::DroppedByPolicy(_) => None,
    }
}

/// Returns the failure of a span that is expected among the written ones and is not there.
fn missing(expected: &WrittenSpan, spans: &[&SinkSpan]) -> Option<String> {
    let mut differences = Vec::new();
    for span in spans.iter().filter(|span| span.name == expected.name) {
        differences.push(difference(expected, span)?);
    }
    differences.into_iter().next().or_else(|| {
        let mut names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        Some(format!("written: expected a span `{}`, found {}", expected.name, names.join(", ")))
    })
}

/// Returns the first thing in which a written span is not as expected.
fn difference(expected: &WrittenSpan, span: &SinkSpan) -> Option<String> {
    let wrong = |what: &str, expected: &[(String, TextValue)], found: &[(String, TextValue)]| {
        expected.iter().find_map(|(key, value)| {
            let found = found.iter().find(|(found, _)| found == key).map(|(_, found)| plain(found));
            let value = plain(value);
            let is = found.as_ref() == Some(&value);
            let found = found.map_or("nothing".to_owned(), |found| format!("`{found}`"));
            (!is).then(|| format!("{what}: expected {key}=`{value}` of the span `{}`, found {found}", span.name))
        })
    };
    let present = || {
        let key = expected.absent.iter().find(|key| has(&span.attributes, key) || has(&span.resource, key))?;
        Some(format!("absent: expected no `{key}` in the span `{}` and its resource, but it is there", span.name))
    };
    wrong("attributes", &expected.attributes, &span.attributes)
        .or_else(|| wrong("resource", &expected.resource, &span.resource))
        .or_else(present)
}

fn has(attributes: &[(String, TextValue)], key: &str) -> bool {
    attributes.iter().any(|(found, _)| found == key)
}

/// Returns a value as text, so that a number equals the text in which a sink without such numbers has it.
fn plain(value: &TextValue) -> String {
    match value {
        TextValue::String(text) => text.clone(),
        value => value.to_string(),
    }
}
