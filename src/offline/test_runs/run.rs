//! Runs a test: its traces through a replay, and the result compared with what is expected.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::encode::{RepeatedTrace, Requests, START_UNIX_NANO};
use super::written::WrittenFindings;
use crate::config::Settings;
use crate::offline::inspect::{InspectedTrace, Inspector, trace_of};
use crate::offline::render::shown;
use crate::offline::sink_spans::SinkEncoder;
use crate::offline::{Observer, Replay, ReplaySettings, TimedRequest};
use crate::otlp::TraceId;
use crate::policy_tests::settings::{Expectations, ExpectedVerdict, PolicyTest};
use crate::policy_tests::trace_text::TraceText;
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
const INSPECTED_BYTES_MAX: usize = 16 << 20;

/// The surroundings of tests.
#[derive(Clone, Copy)]
pub struct TestHost<'a> {
    /// Reads the requests of a file that a test names.
    pub read: &'a dyn Fn(&Path) -> Result<Vec<TimedRequest>, String>,
    /// Is called after each request of a test, with the number of those that were played.
    pub progress: &'a dyn Fn(u64),
}

/// A configuration whose policies are tested.
#[derive(Debug)]
pub struct Runner<'s> {
    settings: &'s Settings,
    /// `tail_sampling` with percentages of memory as bytes.
    tail_sampling: TailSampling,
    names: Vec<String>,
    /// The names of the policies that decide.
    labels: Vec<String>,
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
        let policies = compile(&tail_sampling)?;
        let parts = PolicyParts::compile(tail_sampling.policy_set(), &policies)?;
        let (names, labels) = (policies.names().to_vec(), policies.labels().map(str::to_owned).collect());
        Ok(Runner { settings, tail_sampling, names, labels, parts })
    }

    /// Returns the settings of the policies.
    #[must_use]
    pub fn tail_sampling(&self) -> &TailSampling {
        &self.tail_sampling
    }

    /// Returns the names of the policies that decide.
    #[must_use]
    pub fn policy_names(&self) -> &[String] {
        &self.labels
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
    pub fn run(&self, test: &PolicyTest, host: TestHost<'_>) -> TestResult {
        let expect = &test.keys.expect;
        let mut seen = SeenTraces { written: self.written(expect), ..SeenTraces::default() };
        let played = self.policies().map_err(|error| error.to_string());
        let played = played.and_then(|policies| self.play(&Arc::new(policies), test, host, &mut seen, false));
        let mut failures = match played {
            Ok(refusals) => refusals,
            Err(error) => return TestResult { failures: vec![error], traces: 0 },
        };
        failures.extend(Comparison { expect, seen: &seen, names: &self.names }.failures());
        TestResult { failures, traces: seen.traces.len() as u64 }
    }

    /// Runs a test again, and returns its traces with all that can be known of them.
    #[must_use]
    pub fn inspect(&self, test: &PolicyTest, host: TestHost<'_>) -> Vec<InspectedTrace> {
        let Ok(policies) = self.policies().map(Arc::new) else { return Vec::new() };
        let encoder = SinkEncoder::new(self.settings, &policies);
        let mut inspector = Inspector::new(&policies, &self.parts, encoder, INSPECTED_BYTES_MAX);
        // A file that cannot be read has no traces to show.
        let _ = self.play(&policies, test, host, &mut inspector, true);
        inspector.into_traces().0
    }

    /// Returns freshly compiled policies, which remember nothing.
    ///
    /// # Errors
    /// The policies cannot be compiled. This does not happen, because [`Runner::new`] has compiled them.
    pub fn policies(&self) -> Result<Policies, CompileError> {
        compile(&self.tail_sampling)
    }

    /// Returns the comparison of written spans for a test that says how spans are written.
    fn written<'e>(&self, expect: &'e Expectations) -> Option<WrittenFindings<'e>> {
        let is_needed = !(expect.attributes.is_empty()
            && expect.resource.is_empty()
            && expect.absent.is_empty()
            && expect.written.is_empty());
        let policies = if is_needed { self.policies().ok() } else { None };
        policies.map(|policies| WrittenFindings::new(expect, SinkEncoder::new(self.settings, &policies)))
    }

    /// Plays the traces of a test. Returns the reasons why requests were refused.
    fn play(
        &self,
        policies: &Arc<Policies>,
        test: &PolicyTest,
        host: TestHost<'_>,
        observer: &mut impl Observer,
        with_answers: bool,
    ) -> Result<Vec<String>, String> {
        let settings = ReplaySettings { limit_bytes: LIMIT_BYTES, sweep_ms: 0, seed: 0, with_answers };
        let replay = Replay::new(&self.tail_sampling, Arc::clone(policies), settings);
        let mut refusals = Vec::new();
        let refused = |_, refusal: crate::offline::Refusal| {
            if refusals.len() < REFUSALS_MAX {
                refusals.push(format!("a request is refused: {refusal}"));
            }
        };
        let counted = |(number, request)| {
            (host.progress)(number);
            request
        };
        match (&test.keys.file, &test.keys.trace) {
            (Some(file), _) => replay.run((0..).zip((host.read)(file)?).map(counted), observer, refused),
            (None, Some(trace)) => replay.run((0..).zip(written(test, trace)).map(counted), observer, refused),
            (None, None) => {}
        }
        Ok(refusals)
    }
}

/// The most refused requests of a test that are told.
const REFUSALS_MAX: usize = 10;

fn compile(tail_sampling: &TailSampling) -> Result<Policies, CompileError> {
    Policies::compile_set(tail_sampling.policy_set(), None)
}

/// Returns the requests of a test whose trace is written in it, in the order of their arrival.
fn written<'t>(test: &'t PolicyTest, trace: &'t TraceText) -> Requests<'t> {
    let keys = &test.keys;
    Requests::new(RepeatedTrace {
        text: trace,
        resource: &keys.resource,
        name: &keys.name,
        seed: keys.seed,
        id: keys.trace_id.map(|id| TraceId(id.0)),
        count: keys.repeat,
        every: keys.every,
        start_unix_nano: keys.at.map_or(START_UNIX_NANO, |at| at.0.saturating_mul(1_000_000_000)),
    })
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
struct SeenTraces<'e> {
    start_unix_nano: u64,
    traces: Vec<SeenTrace>,
    places: HashMap<TraceId, usize>,
    /// The comparison of written spans, if the test says how spans are written.
    written: Option<WrittenFindings<'e>>,
}

impl Observer for SeenTraces<'_> {
    fn begins(&mut self, unix_nano: u64) {
        self.start_unix_nano = unix_nano;
    }

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
        // In a dry run, spans of dropped traces leave, too. A test is about the verdict.
        if spans.keep.is_dropped() {
            return;
        }
        let seen = trace_of(&spans).and_then(|id| self.places.get(&id)).and_then(|index| self.traces.get_mut(*index));
        if let Some(seen) = seen {
            seen.kept_spans += u64::from(spans.fragment.span_count());
        }
        if let Some(written) = &mut self.written {
            written.add(&spans, self.start_unix_nano.saturating_add(now_ms.saturating_mul(1_000_000)));
        }
    }
}

/// The expectations of a test, and the traces that were seen.
struct Comparison<'a> {
    expect: &'a Expectations,
    seen: &'a SeenTraces<'a>,
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
        failures.extend(self.seen.written.as_ref().map(WrittenFindings::failures).unwrap_or_default());
        failures
    }

    /// Returns the failure of the traces for which `found` is not `expected`, both as they are shown.
    fn each(&self, key: &str, expected: &str, found: impl Fn(&SeenTrace) -> String) -> Option<String> {
        // If a test says how many traces are kept, its other expectations are about the kept traces.
        let only_kept = self.expect.kept.is_some();
        if only_kept && self.keeps().next().is_none() {
            return Some(format!("{key}: expected {expected}, but no trace is kept"));
        }
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
        let name = |policy: u16| self.names.get(usize::from(policy)).map(|name| shown(name)).unwrap_or_default();
        self.each("policy", &shown(&expected.name), |seen| match seen.verdict {
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
}

fn keep(seen: &SeenTrace) -> Option<Keep> {
    match seen.verdict {
        Verdict::Kept(keep) => Some(keep),
        Verdict::Dropped | Verdict::DroppedByPolicy(_) => None,
    }
}
