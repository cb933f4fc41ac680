//! Conditions on one span: attribute policies and OTTL expressions as data.
//!
//! A condition is a boolean tree of tests. A test compares one field with constants, so one pass over a span's bytes
//! answers all tests without copying a value. A formula is a leaf that computes with several fields. The configuration
//! makes conditions, [`crate::sampling`] compiles them, and [`crate::resource`] evaluates them on resources.

mod check;
pub mod formula;
mod known;
pub(crate) mod logic;
mod number;
pub mod ottl;
mod pattern;
pub(crate) mod possible;
pub(crate) mod settings;

pub use known::{HTTP_STATUS_KEYS, RPC_STATUS_KEYS};
pub use number::DoubleText;
pub use pattern::{Pattern, PatternError};

/// A condition on a span, its resource and its scope.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// A fixed answer: true holds for every span, false for none.
    Constant(bool),
    /// A check of one field.
    Test(Test),
    /// A negation: holds if the inner condition does not.
    Not(Box<Condition>),
    /// A conjunction: holds if each part holds. An empty list holds.
    All(Vec<Condition>),
    /// A disjunction: holds if at least one part holds. An empty list does not hold.
    Any(Vec<Condition>),
    /// Holds if the inner condition holds for at least one of the span's events. Inside it, the event [`Field`]s are
    /// those of that event. Cannot be nested in itself.
    AnyEvent(Box<Condition>),
    /// A computation with the fields of one owner (span, event, scope or resource).
    Formula(Box<formula::Formula>),
}

/// A check of one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// The field that is read.
    pub field: Field,
    /// The check that the field's value must pass. An absent field passes no check.
    pub check: Check,
}

/// A field of a span, its resource, its scope, or one of its events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// An attribute of the span or of its resource. It is enough that one of the two values passes the check. The
    /// Collector's attribute policies also look at both.
    Attribute(String),
    /// `span.attributes["key"]`.
    SpanAttribute(String),
    /// `resource.attributes["key"]`.
    ResourceAttribute(String),
    /// `scope.attributes["key"]`.
    ScopeAttribute(String),
    /// `spanevent.attributes["key"]`.
    EventAttribute(String),
    /// The span name, a string.
    Name,
    /// The span's kind, an integer as in `trace.proto` (0 unspecified to 5 consumer).
    Kind,
    /// The status code, an integer: 0 unset, 1 ok, 2 error.
    StatusCode,
    /// The status message, a string.
    StatusMessage,
    /// The whole W3C tracestate, a string; absent if it is empty.
    TraceState,
    /// One entry of the tracestate, a string.
    TraceStateEntry(String),
    /// The 32 bits of `Span.flags`, an integer; absent if not sent.
    Flags,
    /// The end time minus the start time, in nanoseconds, an integer; absent if either time is not set.
    Duration,
    /// The start time, in nanoseconds since 1970, an integer; absent if not set.
    StartTime,
    /// The end time, in nanoseconds since 1970, an integer; absent if not set.
    EndTime,
    /// The 16 bytes of the trace id.
    TraceId,
    /// The 8 bytes of the span id.
    SpanId,
    /// The 8 bytes of the parent's span id; absent for a root span.
    ParentSpanId,
    /// The scope's name, a string.
    ScopeName,
    /// The scope's version, a string.
    ScopeVersion,
    /// The event's name, a string.
    EventName,
    /// The event's time, in nanoseconds since 1970, an integer; absent if not set.
    EventTime,
}

/// A requirement on a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    /// A value of any type. An `AnyValue` with nothing set does not pass.
    Present,
    /// A value of this type.
    Type(ValueType),
    /// A string that equals one of these. The list is sorted and has no duplicates.
    OneOf(Vec<String>),
    /// A string in which the pattern is found.
    Matches(Pattern),
    /// A string, boolean, integer or double in whose text the pattern is found. The texts are, for example, `true`,
    /// `-7` and `0.25`; see [`DoubleText`].
    MatchesText(Pattern),
    /// A string that begins with this text.
    HasPrefix(String),
    /// A string that ends with this text.
    HasSuffix(String),
    /// A string that contains this text.
    Contains(String),
    /// This boolean.
    Bool(bool),
    /// An integer or a double within the range.
    Number(Range),
    /// A number within the range, or a string with such a number in decimal digits.
    Numeric(Range),
    /// A value that passes each of these checks.
    All(Vec<Check>),
    /// Exactly these bytes. Ids are compared as bytes, too.
    Bytes(Vec<u8>),
    /// A string, list, map or bytes whose length is within the range. The length is in bytes for strings and bytes, and
    /// in entries for lists and maps.
    Length(Range),
    /// A list with at least one element that passes this check, which is neither [`Check::Present`] nor about lists.
    Element(Box<Check>),
    /// An integer in which all of these bits are set.
    HasBits(u32),
    /// A gRPC status that means that the server failed, as a number or a name.
    ServerFault,
}

/// The type of an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// `string_value`.
    String,
    /// `bool_value`.
    Bool,
    /// `int_value`.
    Int,
    /// `double_value`.
    Double,
    /// `array_value`.
    List,
    /// `kvlist_value`.
    Map,
    /// `bytes_value`.
    Bytes,
}

/// An interval of numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The lower end; `None` if the range has no lower end.
    pub min: Option<RangeBound>,
    /// The upper end; `None` if the range has no upper end.
    pub max: Option<RangeBound>,
}

/// One end of a [`Range`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RangeBound {
    /// The number at which the range ends.
    pub at: Number,
    /// True if the number itself is inside the range.
    pub inclusive: bool,
}

/// A number with the type in which it was written. Two integers are compared exactly, also beyond 2^53.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number.
    Int(i64),
    /// A number with a fraction or exponent.
    Double(f64),
}
