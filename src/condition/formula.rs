//! Conditions that compute: what compares several fields, looks into values, or asks what a function makes of them.
//!
//! A [`Test`](super::Test) is answered while attributes stream by; a formula is evaluated when its span (scope, resource,
//! event) has been read, and looks its fields up. Its time and memory are at most linear in the bytes of its fields times
//! its own size: each field is looked up once for each place where it stands, and what functions make is bounded. Source
//! of the rules: pkg/ottl of the Collector (`compare.go`, `math.go`, `expression.go`, `ottlfuncs`).

mod calendar;
mod call;
mod compare;
mod math;
mod value;

use std::cmp::Ordering;

use super::{Field, Pattern, ValueType};
use crate::otlp::view::AnyValue;

pub(super) use math::{doubles, integers};
pub(crate) use value::Val;

/// Where the fields of a formula stand. One formula has fields of one owner, as what spans share is read once for all of
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The resource.
    Resource,
    /// The scope.
    Scope,
    /// The span.
    Span,
    /// One of the span's events. Numbers, times and ids of the span itself can be seen as well, but not its texts and
    /// attributes, which would be read again for each event.
    Event,
}

/// A term that is true, false or an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula {
    /// Where its fields stand.
    pub owner: Owner,
    /// What is evaluated.
    pub term: Term,
    /// The formula holds if the term is this.
    pub expected: bool,
}

/// A part of a formula.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// A literal.
    Constant(Constant),
    /// A field of the owner.
    Field(Field, FieldType),
    /// The value under a key of a map, or nil.
    Key(Box<Term>, String),
    /// An element of a list; an error behind its end.
    Element(Box<Term>, usize),
    /// A list of values.
    List(Vec<Term>),
    /// A map.
    Map(Vec<(String, Term)>),
    /// Arithmetic.
    Math(MathOp, Box<Term>, Box<Term>),
    /// A comparison.
    Compare(CompareOp, Box<Term>, Box<Term>),
    /// What a function makes of its arguments.
    Call(Function, Vec<Term>),
}

/// A literal.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// Nothing.
    Nil,
    /// true or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Double(f64),
    /// A string.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Nanoseconds.
    Duration(i64),
    /// A trace id or a span id.
    Id(Vec<u8>),
}

/// How the Collector sees a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FieldType {
    /// An attribute: of any type, nil if absent.
    Attribute,
    /// A string, empty if absent.
    Text,
    /// An integer, 0 if absent.
    Int,
    /// Nanoseconds since 1970 as an integer; one that is not set compares as 0, and arithmetic makes nil of it.
    UnixNano,
    /// A time, likewise.
    Time,
    /// An id of so many bytes, zeros if absent.
    Id(usize),
    /// The hexadecimal digits of such an id.
    IdText(usize),
    /// The name of a number, of these for 0 to 5.
    Name([&'static str; 6]),
}

/// An operator between numbers, times and durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MathOp {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
}

/// An operator between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareOp {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl CompareOp {
    /// Whether it holds for values in this order.
    pub(super) fn holds(self, order: Ordering) -> bool {
        match self {
            CompareOp::Eq => order.is_eq(),
            CompareOp::Ne => order.is_ne(),
            CompareOp::Lt => order.is_lt(),
            CompareOp::Le => order.is_le(),
            CompareOp::Gt => order.is_gt(),
            CompareOp::Ge => order.is_ge(),
        }
    }
}

/// A function of OTTL (`ottlfuncs/README.md`, Converters).
#[derive(Clone, Debug, PartialEq)]
pub enum Function {
    /// `Bool(value)`
    Bool,
    /// `Coalesce([values])`
    Coalesce,
    /// `Concat([values], delimiter)`
    Concat,
    /// `Contains(text, part)`
    Contains,
    /// `ContainsValue(list, item)`
    ContainsValue,
    /// `Double(value)`
    Double,
    /// `HasPrefix(text, part)`
    HasPrefix,
    /// `HasSuffix(text, part)`
    HasSuffix,
    /// `Index(text or list, item)`
    Index,
    /// `Int(value)`
    Int,
    /// `IsEmpty(value)`
    IsEmpty,
    /// `IsMatch(value, pattern)`
    IsMatch(Box<Pattern>),
    /// `IsString(value)` and its like.
    IsType(ValueType),
    /// `Len(value)`
    Len,
    /// `Nanoseconds(duration)` and its like that make integers: divided by this.
    DurationParts(i64),
    /// `Seconds(duration)` and its like that make doubles: divided by this.
    DurationRatio(f64),
    /// `Split(text, delimiter)`
    Split,
    /// `String(value)`
    String,
    /// `Substring(text, start, length)`
    Substring,
    /// `ToLowerCase(text)`
    ToLowerCase,
    /// `ToUpperCase(text)`
    ToUpperCase,
    /// `Trim(text, characters)`
    Trim,
    /// `TrimPrefix(text, part)`
    TrimPrefix,
    /// `TrimSuffix(text, part)`
    TrimSuffix,
    /// `Hour(time)` and its like.
    TimePart(TimePart),
    /// `UnixNano(time)` and its like: nanoseconds divided by this.
    Unix(i64),
}

/// A part of a time in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimePart {
    /// `Year`
    Year,
    /// `Month`, 1 to 12.
    Month,
    /// `Day` of the month.
    Day,
    /// `Weekday`, 0 for Sunday.
    Weekday,
    /// `Hour`
    Hour,
    /// `Minute`
    Minute,
    /// `Second`
    Second,
    /// `Nanosecond`
    Nanosecond,
}

/// The fields of a formula's owner.
pub trait Source {
    /// The value of a field, of several of one key the first; [`AnyValue::Empty`] if it is absent.
    fn value(&self, field: &Field) -> AnyValue<'_>;
}

impl Formula {
    /// Whether the term is as expected. An error is neither true nor false.
    pub fn holds(&self, source: &impl Source) -> bool {
        matches!(self.term.value(source), Some(Val::Bool(value)) if value == self.expected)
    }
}

impl Term {
    /// How many fields, operators and functions the term consists of.
    pub(super) fn size(&self) -> usize {
        match self {
            Term::Constant(_) => 0,
            Term::Field(..) => 1,
            Term::Key(inner, _) | Term::Element(inner, _) => 1 + inner.size(),
            Term::List(terms) => terms.iter().map(Term::size).sum(),
            Term::Map(entries) => entries.iter().map(|(_, term)| term.size()).sum(),
            Term::Math(_, left, right) | Term::Compare(_, left, right) => 1 + left.size() + right.size(),
            Term::Call(_, arguments) => 1 + arguments.iter().map(Term::size).sum::<usize>(),
        }
    }

    /// The fields that the term looks at.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn fields(&self) -> Vec<&Field> {
        match self {
            Term::Constant(_) => vec![],
            Term::Field(field, _) => vec![field],
            Term::Key(inner, _) | Term::Element(inner, _) => inner.fields(),
            Term::List(terms) | Term::Call(_, terms) => terms.iter().flat_map(Term::fields).collect(),
            Term::Map(entries) => entries.iter().flat_map(|(_, term)| term.fields()).collect(),
            Term::Math(_, left, right) | Term::Compare(_, left, right) => {
                left.fields().into_iter().chain(right.fields()).collect()
            }
        }
    }

    /// The value of the term; `None` is an error of OTTL.
    pub(crate) fn value<'a>(&'a self, source: &'a impl Source) -> Option<Val<'a>> {
        Some(match self {
            Term::Constant(constant) => Val::of_constant(constant),
            Term::Field(field, field_type) => Val::of_field(source.value(field), *field_type),
            Term::Key(inner, key) => inner.value(source)?.key(key)?,
            Term::Element(inner, index) => inner.value(source)?.element(*index)?,
            Term::List(terms) => Val::made_list(terms.iter().map(|term| term.value(source)))?,
            Term::Map(entries) => {
                let entries = entries.iter().map(|(key, term)| Some((key.as_bytes(), term.value(source)?)));
                Val::MadeMap(entries.collect::<Option<_>>()?)
            }
            Term::Math(op, left, right) => math::result(*op, left.value(source)?, right.value(source)?)?,
            Term::Compare(op, left, right) => Val::Bool(left.value(source)?.compare(&right.value(source)?, *op)?),
            Term::Call(function, arguments) => {
                let values: Option<Vec<Val<'a>>> = arguments.iter().map(|argument| argument.value(source)).collect();
                call::result(function, values?)?
            }
        })
    }
}

/// Fields with their values as messages `AnyValue`, for tests.
#[cfg(any(test, fuzzing))]
pub(crate) struct EncodedFields(pub(crate) Vec<(Field, Vec<u8>)>);

#[cfg(any(test, fuzzing))]
impl Source for EncodedFields {
    fn value(&self, field: &Field) -> AnyValue<'_> {
        self.0.iter().find(|(known, _)| known == field).map_or(AnyValue::Empty, |(_, value)| AnyValue::new(value))
    }
}

#[cfg(test)]
mod tests;
