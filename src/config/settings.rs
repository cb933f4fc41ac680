//! The validated settings, in the order that spans flow. What every room is given.

mod policies;

use std::time::Duration;

pub use self::policies::{
    Adaptive, Budget, Composite, Goal, IdenticalErrors, KeyField, KeySpan, Percentile, Policy, Rare, Rule, TokenBucket,
    TraceKey, TrafficMemory,
};

/// Everything that the operator can set.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where spans come in.
    pub otlp: Otlp,
    /// Which traces are kept.
    pub tail_sampling: TailSampling,
    /// How the resources of kept spans are rewritten.
    pub resource: Resource,
    /// Where kept spans go.
    pub cloud_trace: CloudTrace,
    /// The memory budget.
    pub memory: Memory,
    /// Own logs.
    pub telemetry: Telemetry,
}

/// `otlp`.
#[derive(Clone, Debug, PartialEq)]
pub struct Otlp {
    /// Addresses (`host:port`), each for gRPC, HTTP/1.1 and HTTP/2.
    pub listen: Vec<String>,
    /// Largest request body after inflation.
    pub max_request_bytes: usize,
}

/// `tail_sampling`.
#[derive(Clone, Debug, PartialEq)]
pub struct TailSampling {
    /// From the first span of a trace to its decision.
    pub decision_wait: Duration,
    /// From a trace's root span to its decision, if that is earlier; zero: off.
    pub decision_wait_after_root_received: Duration,
    /// How many decided traces are remembered.
    pub decision_cache: DecisionCache,
    /// How long dropped traces can be rescued.
    pub rescue: Rescue,
    /// Whether kept spans say which policy kept them.
    pub annotate: bool,
    /// Whether the first policy that keeps a trace ends its decision.
    pub sample_on_first_match: bool,
    /// A trace is kept if any policy says so, and none drops it.
    pub policies: Vec<Policy>,
}

/// `tail_sampling.decision_cache`, in traces.
#[derive(Clone, Debug, PartialEq)]
pub struct DecisionCache {
    /// Kept traces remembered.
    pub sampled_cache_size: usize,
    /// Dropped traces remembered.
    pub non_sampled_cache_size: usize,
}

/// `tail_sampling.rescue`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rescue {
    /// How long after its decision a dropped trace can be rescued; zero: off.
    pub window: Duration,
    /// The most that rescuable traces may hold; a percentage is of the memory limit.
    pub max_bytes: Size,
}

/// An amount of memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Size {
    /// Bytes.
    Bytes(u64),
    /// Percent (0 to 100) of something that the key names.
    Percent(f64),
}

/// `resource`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resource {
    /// Actions, in order.
    pub attributes: Vec<AttributeAction>,
}

/// One action on the attribute `key` of a resource.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeAction {
    /// The attribute.
    pub key: String,
    /// What is done to it.
    pub action: Action,
}

/// What an [`AttributeAction`] does, as the Collector's resource processor.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Sets the attribute if it is absent.
    Insert(ValueSource),
    /// Sets the attribute if it is present.
    Update(ValueSource),
    /// Sets the attribute.
    Upsert(ValueSource),
    /// Removes the attribute.
    Delete,
}

/// Where an attribute's value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueSource {
    /// The configuration.
    Value(AttributeValue),
    /// Another attribute; nothing is done if that is absent.
    FromAttribute(String),
}

/// A literal attribute value.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    /// A string.
    String(String),
    /// A whole number.
    Int(i64),
    /// A number with a fraction or exponent.
    Double(f64),
    /// true or false.
    Bool(bool),
}

/// `cloud_trace`.
#[derive(Clone, Debug, PartialEq)]
pub struct CloudTrace {
    /// Where spans are written.
    pub endpoint: Endpoint,
    /// The embedded Cloud Trace.
    pub embedded: Embedded,
    /// The project for spans whose resource names none; `None`: the ambient project.
    pub project: Option<String>,
    /// When a batch is full.
    pub batch: Batch,
}

/// `cloud_trace.endpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The Cloud Trace inside this process.
    Embedded,
    /// TLS and Google credentials: `https://host[:port]`.
    Tls(String),
    /// Plaintext without credentials: `http://host:port`.
    Plaintext(String),
}

/// `cloud_trace.embedded`.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// Address (`host:port`) of its page, its API and its gRPC service.
    pub listen: String,
    /// The most bytes of spans that it keeps; the oldest traces go first.
    pub max_bytes: usize,
}

/// `cloud_trace.batch`.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Spans in a call.
    pub max_spans: usize,
    /// Bytes in a call.
    pub max_bytes: usize,
    /// How long a span waits for its batch to fill.
    pub max_delay: Duration,
}

/// `memory`.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// The budget; a percentage is of the container's (cgroup's) memory.
    pub limit: Size,
}

/// `telemetry`.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// Own logs.
    pub log: Log,
}

/// `telemetry.log`.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// The least severe level that is logged.
    pub level: LogLevel,
    /// How it looks.
    pub format: LogFormat,
}

/// A log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what needs somebody.
    Error,
    /// What may need somebody.
    Warn,
    /// What happened.
    Info,
    /// For debugging.
    Debug,
    /// For debugging, at length.
    Trace,
}

/// A log format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Readable on a terminal, JSON otherwise.
    Auto,
    /// Readable.
    Text,
    /// Cloud Logging's structured JSON.
    Json,
}
