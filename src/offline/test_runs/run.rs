//! Runs a test: its traces through a replay, and the result compared with what is expected.

use std::path::Path;
use std::sync::Arc;

use super::compare::{Comparison, SeenTraces};
use super::coverage::CoveredPolicy;
use super::encode::{RepeatedTrace, Requests, START_UNIX_NANO};
use super::written::WrittenFindings;
use crate::config::Settings;
use crate::offline::inspect::{InspectedTrace, Inspector};
use crate::offline::sink_spans::SinkEncoder;
use crate::offline::{Observer, Replay, ReplaySettings, TimedRequest};
use crate::otlp::TraceId;
use crate::policy_tests::settings::{Expectations, PolicyTest};
use crate::policy_tests::trace_text::TraceText;
use crate::sampling::{CompileError, Policies, PolicyParts};
use crate::settings::Size;
use crate::tail::settings::TailSampling;

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
    /// Reads a file that a test names. The error says why it cannot be read.
    pub read: &'a dyn Fn(&Path) -> Result<FileTraces, String>,
    /// Is called before each request of a test, with the number of those that were played, and of all.
    pub progress: &'a dyn Fn(u64, u64),
}

/// The contents of a file with traces.
#[derive(Clone, Debug, Default)]
pub struct FileTraces {
    /// The requests in the order of their arrival.
    pub requests: Vec<TimedRequest>,
    /// The parts that could not be read, each with its place.
    pub faults: Vec<String>,
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
    /// True if the file that the test names cannot be read.
    pub has_unreadable_file: bool,
    /// The number of traces.
    pub traces: u64,
    /// A trace for which an expectation does not hold; `None` if the test has passed, or if no trace is the reason.
    pub failed_trace: Option<TraceId>,
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

    /// Returns the policies at the top level, with shadow policies behind the others.
    #[must_use]
    pub fn covered(&self) -> Vec<CoveredPolicy> {
        let TailSampling { policies, shadow, .. } = &self.tail_sampling;
        let own = policies.iter().map(|policy| (policy, false));
        let covered =
            own.chain(shadow.policies.iter().map(|policy| (policy, true))).filter_map(|(policy, is_shadow)| {
                let number = self.names.iter().position(|name| *name == policy.name)?;
                Some(CoveredPolicy { number: u16::try_from(number).ok()?, name: policy.name.clone(), is_shadow })
            });
        covered.collect()
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
        let mut seen = SeenTraces::new(self.written(expect));
        let policies = match self.policies() {
            Ok(policies) => Arc::new(policies),
            Err(error) => return TestResult { failures: vec![error.to_string()], ..TestResult::default() },
        };
        let mut failures = match self.play(&policies, test, host, &mut seen, false) {
            Ok(refusals) => refusals,
            Err(error) => {
                return TestResult { failures: vec![error], has_unreadable_file: true, ..TestResult::default() };
            }
        };
        let mut comparison = Comparison::new(expect, &seen, &self.names);
        failures.extend(comparison.failures());
        let has_unreadable_file = false;
        TestResult { failures, has_unreadable_file, traces: seen.len() as u64, failed_trace: comparison.failed_trace() }
    }

    /// Runs a test again, and returns its traces, or only the one that is `wanted`, with all that can be known of them.
    #[must_use]
    pub fn inspect(&self, test: &PolicyTest, wanted: Option<TraceId>, host: TestHost<'_>) -> Vec<InspectedTrace> {
        let Ok(policies) = self.policies().map(Arc::new) else { return Vec::new() };
        let encoder = SinkEncoder::new(self.settings, &policies);
        let mut inspector = Inspector::new(&policies, &self.parts, encoder, INSPECTED_BYTES_MAX);
        if let Some(wanted) = wanted {
            inspector = inspector.of([wanted].into());
        }
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

    /// Plays the traces of a test. Returns what could not be read of its file, and the reasons why requests were refused.
    ///
    /// # Errors
    /// The file cannot be read.
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
        let counted = |all: u64| {
            move |(number, request)| {
                (host.progress)(number, all);
                request
            }
        };
        let mut faults = Vec::new();
        match (&test.keys.file, &test.keys.trace) {
            (Some(file), _) => {
                let traces = (host.read)(file)?;
                faults = traces.faults;
                let all = traces.requests.len() as u64;
                replay.run((0..).zip(traces.requests).map(counted(all)), observer, refused);
            }
            (None, Some(trace)) => {
                let requests = written(test, trace);
                let all = requests.request_count();
                replay.run((0..).zip(requests).map(counted(all)), observer, refused);
            }
            (None, None) => {}
        }
        faults.append(&mut refusals);
        Ok(faults)
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
