//! The JSON documents of the API. The daemon writes them, and the commands of the program read them.

use serde::{Deserialize, Serialize};

use crate::settings::shown::{Origin, ShownSetting, ShownValue};

/// An error: the answer to a request that cannot be answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorAnswer {
    /// The problem, and what to ask instead.
    pub error: String,
}

/// The state of a trace, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FateWord {
    /// The trace is not decided yet.
    Pending,
    /// A policy kept the trace.
    Kept,
    /// The trace was dropped.
    Dropped,
    /// No span of the trace has come, or its verdict is forgotten.
    Unknown,
}

impl FateWord {
    /// Returns the word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FateWord::Pending => "pending",
            FateWord::Kept => "kept",
            FateWord::Dropped => "dropped",
            FateWord::Unknown => "unknown",
        }
    }
}

/// The fate of a trace: the answer of `/api/decisions/{trace_id}`. A field is null if it is not known or does not apply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FateAnswer {
    /// The id of the trace, as 32 hexadecimal digits.
    pub trace_id: String,
    /// The fate in one word.
    pub fate: FateWord,
    /// The fate in sentences.
    pub explanation: String,
    /// The policy that kept the trace, or the one of type `drop` that dropped it.
    pub policy: Option<String>,
    /// The number of traces that a kept trace stands for.
    pub adjusted_count: Option<f64>,
    /// The reason why the trace was decided when it was, or for a pending trace, why it is decided when it is.
    pub trigger: Option<String>,
    /// The time of the decision in RFC 3339, to the second.
    pub decided_at: Option<String>,
    /// The time at which a pending trace is decided, or at which a dropped trace stops being rescuable, in RFC 3339.
    pub until: Option<String>,
    /// The number of spans that have come, including late ones. Once the spans have left the table, 65,535 stands for as
    /// many or more.
    pub spans: Option<u32>,
    /// The number of spans that have come after the decision. Once the spans have left the table, 255 stands for as many
    /// or more.
    pub late_spans: Option<u32>,
    /// The time from the earliest start to the latest end, if the spans are in memory.
    pub duration_ms: Option<u64>,
    /// `local` or `remote`, if the parent of a span of a kept trace had not come by the decision.
    pub missing_parent: Option<String>,
    /// True in a dry run, in which the trace is exported whatever its verdict is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// The answer of each policy at present, if the spans are in memory; those of shadow policies come last.
    pub policies: Option<Vec<PolicyAnswer>>,
}

/// The spans of a trace that is in memory: the answer of `/api/traces/{trace_id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceAnswer {
    /// The fate of the trace.
    pub fate: FateAnswer,
    /// An `ExportTraceServiceRequest` in protobuf with the spans as they were sent, in base64.
    pub request: String,
}

/// The answer of one policy on a trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyAnswer {
    /// The name of the policy.
    pub policy: String,
    /// `keeps`, `does not keep`, `drops`, `does not drop`, or `not asked` if the answer depends on other traces, too.
    pub answer: String,
    /// The number of traces that the trace stands for if this policy keeps it.
    pub adjusted_count: Option<f64>,
    /// True if it is a shadow policy, which decides nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
}

/// A configuration: the answer of `/api/config`, and the output of `spansieve config show --format json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigAnswer {
    /// The file, `standard input` or `built-in configuration`.
    pub source: String,
    /// The settings, in the order of the reference.
    pub settings: Vec<SettingAnswer>,
    /// The keys whose values in the file need a restart. `settings` has their earlier values, which are in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs_restart: Vec<String>,
    /// The reason why the present contents of the file cannot be used. The earlier ones are in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
}

/// A setting that is in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SettingAnswer {
    /// The path of its key; `[0]` stands for the first item of a list.
    pub key: String,
    /// Its value as it could be written, `***` for a secret, or null if the feature is off.
    pub value: ValueAnswer,
    /// `default`, `file`, or `environment` if part of the value comes from there.
    pub origin: String,
    /// The line of the file, for a value that is written.
    pub line: Option<usize>,
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ValueAnswer {
    /// No value.
    Nothing(()),
    /// True or false.
    Bool(bool),
    /// A number.
    Number(serde_json::Number),
    /// Another value, such as a time or a size.
    Text(String),
    /// A list of values.
    List(Vec<String>),
}

impl ConfigAnswer {
    /// Returns the answer for the configuration that was read from `source`.
    #[must_use]
    pub fn new(source: String, shown: &[ShownSetting]) -> Self {
        let settings = shown.iter().map(SettingAnswer::new).collect();
        ConfigAnswer { source, settings, needs_restart: Vec::new(), rejected: None }
    }

    /// Puts the settings `shown` of the same source in force, except for those of the keys `needs_restart`.
    pub fn reload(&mut self, shown: &[ShownSetting], needs_restart: Vec<String>) {
        let mut earlier = std::mem::take(&mut self.settings);
        for setting in shown.iter().map(SettingAnswer::new) {
            match needs_restart.iter().find(|key| setting.is_of(key)) {
                None => self.settings.push(setting),
                // All earlier settings of the key stand where its first new one would; afterwards there are none left.
                Some(key) => self.settings.extend(earlier.extract_if(.., |earlier| earlier.is_of(key))),
            }
        }
        self.needs_restart = needs_restart;
    }
}

impl SettingAnswer {
    /// Returns true if the setting is `key` or a part of it.
    fn is_of(&self, key: &str) -> bool {
        self.key.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }

    fn new(shown: &ShownSetting) -> Self {
        let (origin, line) = match shown.origin {
            Origin::Default => ("default", None),
            Origin::File(line) => ("file", Some(line)),
            Origin::Environment(line) => ("environment", Some(line)),
        };
        let value = match &shown.value {
            ShownValue::Nothing => ValueAnswer::Nothing(()),
            ShownValue::Bool(value) => ValueAnswer::Bool(*value),
            ShownValue::Number(digits) => {
                digits.parse().map_or_else(|_| ValueAnswer::Text(digits.clone()), ValueAnswer::Number)
            }
            ShownValue::Text(text) => ValueAnswer::Text(text.clone()),
            ShownValue::List(items) => ValueAnswer::List(items.clone()),
        };
        SettingAnswer { key: shown.key.clone(), value, origin: origin.to_owned(), line }
    }
}

/// The counts since the start by policy and by service: the answer of `/api/policies`. They are those of `/metrics`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoliciesAnswer {
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// The policies, in the order of the configuration.
    pub policies: Vec<PolicyCounts>,
    /// The changes that shadow policies would have made: those in force, in the order of the configuration, and then those
    /// of earlier configurations that would have changed a verdict.
    pub shadow: Vec<ShadowCounts>,
    /// Dropped traces that no policy kept. A rescued trace counts here, too, and below the policy that kept it.
    pub dropped_without_policy: TriggerCounts,
    /// Spans of traces that no policy kept. A rescued trace does not count here.
    #[serde(default)]
    pub without_policy: DecidedAmounts,
    /// Spans by what became of them.
    pub spans: SpanCounts,
    /// Spans by service.
    pub services: Vec<ServiceCounts>,
}

/// Numbers of traces by trigger.
pub type TriggerCounts = std::collections::BTreeMap<String, u64>;

/// The counts of one policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyCounts {
    /// The name of the policy.
    pub policy: String,
    /// Traces that it kept.
    pub kept_traces: u64,
    /// Traces that it dropped; 0 unless its type is `drop`.
    pub dropped_traces: u64,
    /// The sum of both by trigger.
    pub triggers: TriggerCounts,
    /// Spans and bytes that it kept or dropped.
    #[serde(default, flatten)]
    pub amounts: DecidedAmounts,
}

/// The spans of decided traces, counted when they go to the exporter or are let go of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DecidedAmounts {
    /// Spans of kept traces.
    pub kept_spans: u64,
    /// Bytes of these spans, as they were sent.
    pub kept_bytes: u64,
    /// Spans of dropped traces.
    pub dropped_spans: u64,
    /// Bytes of these spans, as they were sent.
    pub dropped_bytes: u64,
    /// The price of the spans that are kept in 30 days at the present pace, at Cloud Trace's list price.
    pub month_dollars: f64,
}

/// A change that a shadow policy would have made to verdicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShadowCounts {
    /// The name of the policy.
    pub policy: String,
    /// `keep`: it would keep traces that no policy keeps. `drop`: it would drop traces that are kept.
    pub effect: String,
    /// The traces that it would keep or drop.
    pub traces: u64,
    /// The spans of these traces that had come by their decisions.
    pub spans: u64,
    /// The price of these spans, at Cloud Trace's list price.
    #[serde(default)]
    pub dollars: f64,
}

/// Spans by what became of them: the terms of the conservation law.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanCounts {
    /// Spans received from senders.
    pub received: u64,
    /// Spans that an earlier process left on disk.
    pub recovered: u64,
    /// Spans that the sink confirmed.
    pub exported: u64,
    /// Spans of dropped traces that are no longer held.
    pub sampled_out: u64,
    /// Spans of undecided traces that another instance has taken.
    pub handed_over: u64,
    /// Spans that were refused alone.
    pub rejected: u64,
    /// Kept spans that were lost.
    pub dropped: u64,
    /// Spans that are held now.
    pub held: u64,
}

/// The spans of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceCounts {
    /// The name of the service, possibly cut; `other` for all services after the first
    /// `telemetry.services_max`.
    pub service: String,
    /// All spans; an estimate from a sample of traces.
    pub spans: u64,
    /// Late spans; an estimate.
    pub late_spans: u64,
    /// Spans and bytes that were kept or dropped. Unlike the other two numbers, these are exact.
    #[serde(default, flatten)]
    pub amounts: DecidedAmounts,
}

/// A decision: a line of the stream of `/api/decisions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecisionAnswer {
    /// The time in RFC 3339, to the millisecond.
    pub time: String,
    /// The id of the trace, as 32 hexadecimal digits.
    pub trace_id: String,
    /// `kept` or `dropped`. A trace that is dropped and rescued later has two decisions.
    pub verdict: String,
    /// The policy that kept the trace, or the one of type `drop` that dropped it.
    pub policy: Option<String>,
    /// The number of traces that a kept trace stands for.
    pub adjusted_count: Option<f64>,
    /// The reason why the trace was decided when it was.
    pub trigger: String,
    /// The number of spans that the decision is based on.
    pub spans: u32,
    /// The time from the earliest start to the latest end of these spans.
    pub duration_ms: u64,
    /// The first eight services of the trace, in the order in which their spans came.
    pub services: Vec<String>,
    /// True in a dry run, in which the trace is exported whatever its verdict is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// A line of the stream that says how many decisions were left out before the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The number of decisions.
    pub left_out: u64,
}
