//! Conditions on one span: what attribute policies and OTTL say, as data.
//!
//! A condition is a boolean tree over tests, each of one field against constants, so that one pass over a span's bytes
//! answers all of them and no value is ever copied. Configuration makes conditions, [`crate::sampling`] compiles them,
//! and [`crate::resource`] asks them of resources.

mod check;
pub mod formula;
mod known;
mod number;
pub mod ottl;
mod pattern;

pub(crate) use known::{HTTP_STATUS_KEYS, RPC_STATUS_KEYS};
pub use number::DoubleText;
pub use pattern::{Pattern, PatternError};

/// What must hold for a span, together with its resource and its scope.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Holds for every span, or for none.
    Constant(bool),
    /// One field passes a check.
    Test(Test),
    /// The other does not hold.
    Not(Box<Condition>),
    /// Each holds; true if there is none.
    All(Vec<Condition>),
    /// At least one holds; false if there is none.
    Any(Vec<Condition>),
    /// It holds for the span with at least one of its events: inside, [`Field`]s of an event are that event's. Does not
    /// occur inside itself.
    AnyEvent(Box<Condition>),
    /// A computation with fields of one owner.
    Formula(Box<formula::Formula>),
}

/// A question about one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// What is looked at.
    pub field: Field,
    /// What it must be. A field that is absent passes no check.
    pub check: Check,
}

/// A field of a span, its resource, its scope, or one of its events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// An attribute of the span, or else of its resource: what the Collector's attribute policies look at. Both are
    /// asked, and one that passes is enough.
    Attribute(String),
    /// `span.attributes["key"]`.
    SpanAttribute(String),
    /// `resource.attributes["key"]`.
    ResourceAttribute(String),
    /// `scope.attributes["key"]`.
    ScopeAttribute(String),
    /// `spanevent.attributes["key"]`.
    EventAttribute(String),
    /// The span's name, a string.
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
    /// End minus start, an integer of nanoseconds; absent if either is not set.
    Duration,
    /// Start, an integer of nanoseconds since 1970; absent if not set.
    StartTime,
    /// End, likewise.
    EndTime,
    /// The 16 bytes of the trace id.
    TraceId,
    /// The 8 bytes of the span id.
    SpanId,
    /// The 8 bytes of the parent's span id; absent for a root.
    ParentSpanId,
    /// The scope's name, a string.
    ScopeName,
    /// The scope's version, a string.
    ScopeVersion,
    /// The event's name, a string.
    EventName,
    /// The event's time, an integer of nanoseconds since 1970; absent if not set.
    EventTime,
}

/// What a value must be to pass.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    /// There, of whatever type. An attribute whose `AnyValue` has nothing set is not.
    Present,
    /// Of this type.
    Type(ValueType),
    /// A string that is one of these; sorted, without repetitions.
    OneOf(Vec<String>),
    /// A string that the pattern is found in.
    Matches(Pattern),
    /// A string, or the text of a boolean, an integer or a double ([`DoubleText`]), that the pattern is found in: `true`,
    /// `-7`, `0.25`.
    MatchesText(Pattern),
    /// A string that begins so.
    HasPrefix(String),
    /// A string that ends so.
    HasSuffix(String),
    /// A string that contains this.
    Contains(String),
    /// The boolean.
    Bool(bool),
    /// A number, integer or double, within the range.
    Number(Range),
    /// A number, or a string that reads as one, within the range.
    Numeric(Range),
    /// What passes each of these.
    All(Vec<Check>),
    /// These bytes: ids and byte values.
    Bytes(Vec<u8>),
    /// A string, list, map or bytes with a length within the range: bytes of a string, entries of the others.
    Length(Range),
    /// A list with an element that passes this, which is neither [`Check::Present`] nor about lists itself.
    Element(Box<Check>),
    /// An integer that has all of these bits.
    HasBits(u32),
    /// A gRPC status, number or name, that means a server's fault.
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
    /// The lower end; `None`: no lower end.
    pub min: Option<Bound>,
    /// The upper end; `None`: no upper end.
    pub max: Option<Bound>,
}

/// One end of a [`Range`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// The number.
    pub at: Number,
    /// Whether the number itself is inside.
    pub inclusive: bool,
}

/// A number as it was written: integers are compared as integers, beyond 2^53 as well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number.
    Int(i64),
    /// A number with a fraction or exponent.
    Double(f64),
}
