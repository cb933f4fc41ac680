//! The declaration of a policy test: what is written under `tests`, in the configuration or in a file of its own.

use std::path::PathBuf;
use std::time::Duration;

use super::trace_text::{TextAttributes, TraceText, hex};
use crate::policy_tests::TextValue;
use crate::sampling::settings::{display_unix_seconds, unix_seconds};
use crate::settings::diagnostic::{Position, SettingError, quote};
use crate::settings::kinds::{
    ATTRIBUTE_KEY, AsText, ByHand, Choice, Decimal, DurationKind, Items, List, Maybe, ParsedText, Required, Sub,
    WholeNumber,
};
use crate::settings::node::Node;
use crate::settings::reader::Section;
use crate::settings::setting::Shape;
use crate::settings::values::{self, Read};
use crate::settings::{Declared, Limit, section, units};
use crate::tail::Trigger;

section! {
    /// A file with tests.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TestFile {
        /// The tests, which run in this order. Each begins with an empty daemon.
        pub tests: Vec<PolicyTest> = Vec::new(), test_list();
    }
}

/// Returns the declaration of a list of tests.
pub(crate) fn test_list() -> Items<PolicyTest> {
    Items { count: TEST_COUNT, read: PolicyTest::read, keys: TestKeys::describe }
}

const TEST_COUNT: Limit<usize> = Limit { min: 0, max: 10_000, why: "more tests belong in several files" };
const WRITTEN_COUNT: Limit<usize> = Limit { min: 0, max: 1_000, why: "each one is looked for in all kept spans" };
const KEY_COUNT: Limit<usize> = Limit { min: 0, max: 1_000, why: "each one is looked for in all kept spans" };
const NAME_BYTES_MAX: usize = 256;
const PATH_BYTES_MAX: usize = 4_095;
const REPEAT: Limit<u64> = Limit { min: 1, max: 1_000_000, why: "a million traces take some seconds" };
const EVERY: Limit<Duration> = Limit {
    min: Duration::ZERO,
    max: Duration::from_secs(3_600),
    why: "policies that learn look at minutes of traffic",
};
/// The most spans of all traces of a test together: some seconds of work, and some GB of memory at worst.
const TEST_SPANS_MAX: u64 = 10_000_000;
const ANY_NUMBER: Limit<u64> = Limit { min: 0, max: i64::MAX as u64, why: "any seed is as good as another" };
const SPANS: Limit<u64> = Limit { min: 0, max: u32::MAX as u64, why: "spans of a trace are counted in 32 bits" };
const ADJUSTED_COUNT: Limit<f64> = Limit { min: 1.0, max: 1e17, why: "a kept trace stands at least for itself" };

/// A test of the policies.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyTest {
    /// The place of its beginning.
    pub(crate) at: Position,
    /// The keys that are written.
    pub(crate) keys: TestKeys,
}

section! {
    /// The keys of a test.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TestKeys {
        /// The name of the test. It also chooses the trace ids, together with `seed`.
        pub name: String = String::new(), Required(ParsedText { word: "string", read: test_name });
        /// The trace, one line for each span, [with children indented below their parents](policy-tests.md#traces).
        pub trace: Option<TraceText> = None, ByHand::of(Shape::Text("lines of spans"));
        /// A file with traces, in place of `trace`: OTLP in JSON or protobuf. The path is relative to the test's file.
        pub file: Option<PathBuf> = None, Maybe(ParsedText { word: "path", read: path });
        /// The number of traces like this one, each with an id of its own. Not with `file`. All of them together have at most
        /// 10,000,000 spans.
        pub repeat: u64 = 1, WholeNumber::within(REPEAT);
        /// The time from one of the repeated traces to the next.
        pub every: Duration = Duration::ZERO, DurationKind(EVERY);
        /// The time at which the test begins, such as `2026-12-01T00:00:00Z`; 2026-01-01 without it. A policy whose `until` is
        /// over by then does not count. Not with `file`: then the test begins when the first spans of the file arrive.
        pub at: Option<TestTime> = None, Maybe(ParsedText { word: "time", read: time });
        /// A number that chooses other trace ids, and so other traces for a ratio to keep.
        pub seed: u64 = 0, WholeNumber::within(ANY_NUMBER);
        /// The trace id in 32 hexadecimal digits, in place of one that `name` and `seed` choose.
        pub trace_id: Option<TestTraceId> = None, Maybe(ParsedText { word: "string", read: trace_id });
        /// Attributes of the resource of every span in `trace`.
        pub resource: TextAttributes = Vec::new(), ByHand::of(Shape::OwnKeys);
        /// The result. At least one key is required.
        pub expect: Expectations = Expectations::default(), Sub;
    }
    check: TestKeys::check;
}

section! {
    /// The expected result of a test. Every key holds for every trace of the test, except for `kept`.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Expectations {
        /// The verdict that the trace has in the end: `kept` or `dropped`.
        pub verdict: Option<ExpectedVerdict> = None, Maybe(Choice::of("verdict", &VERDICTS));
        /// The policy that keeps the trace, or the one of type `drop` that drops it. One within a `composite` is
        /// called `composite/policy`.
        pub policy: Option<PolicyName> = None, Maybe(ParsedText { word: "string", read: policy });
        /// The reason why the trace is decided when it is.
        pub trigger: Option<Trigger> = None, Maybe(Choice::of("trigger", &TRIGGERS));
        /// The number of spans of the trace that are kept.
        pub spans: Option<u64> = None, Maybe(WholeNumber::within(SPANS));
        /// The part of the traces that is kept: a percentage, or the least and the greatest one, as in `4% - 6%`.
        pub kept: Option<PercentRange> = None, Maybe(ParsedText { word: "range of percentages", read: percent_range });
        /// The number of traces that each kept trace stands for.
        pub adjusted_count: Option<f64> = None, Maybe(Decimal(ADJUSTED_COUNT));
        /// Attributes that every kept span has when it is written, in the names of the sink. Values are compared as text.
        pub attributes: TextAttributes = Vec::new(), ByHand::of(Shape::OwnKeys);
        /// Attributes that the resource of every kept span has after it is rewritten.
        pub resource: TextAttributes = Vec::new(), ByHand::of(Shape::OwnKeys);
        /// Keys that no kept span and none of their resources has when it is written.
        pub absent: Vec<String> = Vec::new(), List { of: ATTRIBUTE_KEY, count: KEY_COUNT };
        /// Spans that are written. Each of these is found among the kept spans.
        pub written: Vec<WrittenSpan> = Vec::new(), Items {
            count: WRITTEN_COUNT,
            read: WrittenSpan::read_item,
            keys: WrittenSpan::describe,
        };
    }
    check: Expectations::check;
}

section! {
    /// A span that is expected to be written.
    #[derive(Clone, Debug, PartialEq)]
    pub struct WrittenSpan {
        /// The name of the span.
        pub name: String = String::new(), Required(ParsedText { word: "string", read: span_name });
        /// Attributes that it has when it is written, in the names of the sink.
        pub attributes: TextAttributes = Vec::new(), ByHand::of(Shape::OwnKeys);
        /// Attributes that its resource has after it is rewritten.
        pub resource: TextAttributes = Vec::new(), ByHand::of(Shape::OwnKeys);
        /// Keys that neither it nor its resource has.
        pub absent: Vec<String> = Vec::new(), List { of: ATTRIBUTE_KEY, count: KEY_COUNT };
    }
    check: WrittenSpan::check;
}

/// The verdict that a test expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedVerdict {
    /// The trace is kept.
    Kept,
    /// The trace is dropped.
    Dropped,
}

const VERDICTS: [(&str, ExpectedVerdict); 2] = [("kept", ExpectedVerdict::Kept), ("dropped", ExpectedVerdict::Dropped)];

/// The triggers that a test can have. Memory is never short in a test, and it never shuts down.
const TRIGGERS: [(&str, Trigger); 5] = [
    ("decision_wait", Trigger::DecisionWait),
    ("root_received", Trigger::RootReceived),
    ("evidence", Trigger::Evidence),
    ("trace_size", Trigger::TraceSize),
    ("rescue", Trigger::Rescue),
];

/// The name of a policy, and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyName {
    /// The name.
    pub name: String,
    pub(crate) at: Position,
}

/// A time, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestTime(pub u64);

/// A trace id that a test gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestTraceId(pub [u8; 16]);

/// A range of percentages, both included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PercentRange {
    /// The least one.
    pub min: f64,
    /// The greatest one.
    pub max: f64,
}

impl AsText for PolicyName {}
impl AsText for TestTime {}
impl AsText for TestTraceId {}
impl AsText for PercentRange {}

impl PolicyTest {
    fn read(mut section: Section<'_>) -> Option<Self> {
        section.refuse_unknown(&[]);
        let mut keys = TestKeys::default();
        keys.read(&mut section);
        Some(PolicyTest { at: section.at(), keys })
    }
}

impl TestKeys {
    fn check(&mut self, section: &mut Section<'_>) {
        if let Some((_, node)) = section.entry("trace") {
            self.trace = trace_text(section, node);
        }
        self.resource = own_values(section, "resource");
        match (section.has("trace"), section.has("file")) {
            (true, true) => {
                let fault = SettingError::new("`trace` and `file` are both given");
                section.error(section.at(), fault.help("write one of them"));
            }
            (false, false) => {
                let fault = SettingError::new("the test has no trace");
                section.error(section.at(), fault.help("write the key `trace` with a line for each span, or `file`"));
            }
            _ => {}
        }
        for key in ["repeat", "every", "at", "seed", "trace_id", "resource"] {
            refuse_beside_file(key, section);
        }
        self.refuse_too_many_spans(section);
        if let Some((_, node)) = section.entry("trace_id").filter(|_| self.repeat > 1) {
            section.error(
                node.at,
                SettingError::new("repeated traces have different ids").help("remove `trace_id`, or `repeat`"),
            );
        }
        if section.entry("expect").is_none_or(|(_, node)| node.is_null()) {
            let fault = SettingError::new("the key `expect` is missing");
            section.error(section.at(), fault.help("write what must happen, such as `expect: {verdict: kept}`"));
        }
    }
}

impl TestKeys {
    fn refuse_too_many_spans(&self, section: &mut Section<'_>) {
        let spans = self.trace.as_ref().map_or(0, |trace| trace.spans.len() as u64);
        if let Some((_, node)) = section.entry("repeat").filter(|_| self.repeat.saturating_mul(spans) > TEST_SPANS_MAX)
        {
            let all = self.repeat.saturating_mul(spans);
            let fault = SettingError::new(format!("{} traces of {spans} spans are {all} spans", self.repeat));
            let most = TEST_SPANS_MAX / spans.max(1);
            section
                .error(node.at, fault.help(format!("at most {TEST_SPANS_MAX} spans: repeat it at most {most} times")));
        }
    }
}

/// Reports a key that has a meaning only for a trace that is written in the test.
fn refuse_beside_file(key: &str, section: &mut Section<'_>) {
    if let Some((at, _)) = section.entry(key).filter(|_| section.has("file")) {
        let fault = SettingError::new(format!("`{key}` has no effect on the traces of a file"));
        section.error(at, fault.help("remove it, or write the trace with `trace`"));
    }
}

impl Expectations {
    fn check(&mut self, section: &mut Section<'_>) {
        self.attributes = own_values(section, "attributes");
        self.resource = own_values(section, "resource");
        // A wrong key or value is reported where it is read.
        let has_empty = ["attributes", "resource", "absent", "written"].iter().any(|key| section.has(key));
        if section.is_empty() || *self == Expectations::default() && has_empty {
            let fault = SettingError::new("nothing is expected");
            section.error(section.at(), fault.help("write at least one key, such as `verdict: kept`"));
        }
        for key in ["spans", "adjusted_count", "attributes", "resource", "absent", "written"] {
            self.refuse_of_dropped(key, section);
        }
        self.refuse_beside_kept(section);
    }

    /// Reports expectations that mean nothing beside a part of the traces that is kept: the others are then about the
    /// kept traces only.
    fn refuse_beside_kept(&self, section: &mut Section<'_>) {
        let Some(kept) = self.kept else { return };
        if let Some((at, _)) = section.entry("verdict") {
            let fault =
                SettingError::new("`verdict` means nothing beside `kept`, which is about the verdicts on all traces");
            section.error(at, fault.help("keep one of them"));
        }
        let others = ["policy", "trigger", "spans", "adjusted_count", "attributes", "resource", "absent", "written"];
        for key in others.iter().filter(|_| kept.max == 0.0) {
            if let Some((at, _)) = section.entry(key) {
                let fault = SettingError::new(format!("`{key}` is about kept traces, and `kept: 0%` expects none"));
                section.error(at, fault.help(format!("remove `{key}`, or expect that some traces are kept")));
            }
        }
    }

    /// Reports an expectation about kept spans in a test that expects none.
    fn refuse_of_dropped(&self, key: &str, section: &mut Section<'_>) {
        if let Some((at, _)) = section.entry(key).filter(|_| self.verdict == Some(ExpectedVerdict::Dropped)) {
            let fault = SettingError::new(format!("`{key}` is about kept spans, and a dropped trace has none"));
            section.error(at, fault.help("remove it, or expect `verdict: kept`"));
        }
    }
}

impl WrittenSpan {
    fn read_item(mut section: Section<'_>) -> Option<Self> {
        section.refuse_unknown(&[]);
        let mut span = WrittenSpan::default();
        span.read(&mut section);
        Some(span)
    }

    fn check(&mut self, section: &mut Section<'_>) {
        self.attributes = own_values(section, "attributes");
        self.resource = own_values(section, "resource");
    }
}

/// Reads a section whose keys are those of attributes.
fn own_values(section: &mut Section<'_>, key: &str) -> TextAttributes {
    let mut values = Vec::new();
    for (key, node) in section.own_entries(key) {
        values.extend(section.check(node, TextValue::of_node).map(|value| (key.name.clone(), value)));
    }
    values
}

fn trace_text(section: &mut Section<'_>, node: &Node) -> Option<TraceText> {
    let text = section.check(node, |node| values::text("lines of spans", node).map(str::to_owned))?;
    match TraceText::parse(&text) {
        Ok(trace) => Some(trace),
        Err(error) => {
            let at = node.at_byte(error.offset);
            // The length is that of the mistake if its place is known, and that of the whole value otherwise.
            let length = if at == node.at { at.length } else { error.length };
            section.error(Position { length, ..at }, error.fault);
            None
        }
    }
}

fn test_name(node: &Node) -> Read<String> {
    values::name(node, "the name of a test", NAME_BYTES_MAX)
}

fn span_name(node: &Node) -> Read<String> {
    values::text("the name of a span", node).map(str::to_owned)
}

fn path(node: &Node) -> Read<PathBuf> {
    let name = values::name(node, "a file", PATH_BYTES_MAX)?;
    if name == "-" {
        let fault = SettingError::new("a test cannot read standard input");
        return Err(fault.help("write the traces to a file, and name that"));
    }
    Ok(PathBuf::from(name))
}

fn policy(node: &Node) -> Read<PolicyName> {
    Ok(PolicyName { name: values::text("the name of a policy", node)?.to_owned(), at: node.at })
}

/// The end of the times at which a test can begin: 2200-01-01. Nanoseconds since 1970 fit into 64 bits for long after it.
const TIME_END_S: u64 = 7_258_118_400;

fn time(node: &Node) -> Read<TestTime> {
    let seconds = unix_seconds(node)?;
    if seconds >= TIME_END_S {
        let fault = SettingError::new(format!("{} is too late", quote(&display_unix_seconds(seconds))));
        return Err(fault.help("write a time before `2200-01-01T00:00:00Z`"));
    }
    Ok(TestTime(seconds))
}

fn trace_id(node: &Node) -> Read<TestTraceId> {
    let text = values::text("a trace id", node)?;
    hex(text).filter(|id| *id != [0; 16]).map(TestTraceId).ok_or_else(|| {
        let fault = SettingError::new(format!("{} is not a trace id", quote(text)));
        fault.help("write 32 hexadecimal digits in quotes, not all of them 0")
    })
}

/// Reads `5%` or `4.3% - 5.7%`.
fn percent_range(node: &Node) -> Read<PercentRange> {
    let text = values::text("a range of percentages", node)?;
    let percent = |text: &str| units::percent(text.trim()).filter(|percent| *percent <= 100.0);
    let range = match text.split_once('-') {
        None => percent(text).map(|percent| PercentRange { min: percent, max: percent }),
        Some((min, max)) => percent(min).zip(percent(max)).map(|(min, max)| PercentRange { min, max }),
    };
    range.filter(|range| range.min <= range.max).ok_or_else(|| {
        let fault = SettingError::new(format!("{} is not a range of percentages", quote(text)));
        fault.help("write it like `4.3% - 5.7%` or `100%`")
    })
}

#[cfg(test)]
mod tests;
