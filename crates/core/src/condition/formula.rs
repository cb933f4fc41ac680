//! Formulas: conditions that compute. A formula compares several fields, looks into values, or calls functions.
//!
//! A [`Test`](super::Test) is answered while the attributes of a span are read. A formula is evaluated after its owner
//! (a span, scope, resource or event) has been read, and looks up the fields that it needs. Its time and memory are at
//! most linear in the size of the formula times the bytes of its fields: each mention of a field costs one lookup, and
//! the results of functions have limits. Source of the rules: pkg/ottl of the Collector (`compare.go`, `math.go`,
//! `expression.go`, `ottlfuncs`).

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

/// The owner of the fields of a formula. All fields of a formula have the same owner, because a resource or a scope is
/// read once for all its spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldOwner {
    /// The resource.
    Resource,
    /// The scope.
    Scope,
    /// The span.
    Span,
    /// One of the span's events. A formula of an event can also use the numbers, times and ids of the span, but not its
    /// texts and attributes, which would have to be read again for each event.
    Event,
}

/// A condition on the value of a term, which is true, false or an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula {
    /// The owner of all fields of the term.
    pub owner: FieldOwner,
    /// The term that is evaluated.
    pub term: Term,
    /// The value of the term for which the formula holds.
    pub expected: bool,
}

/// A part of a formula.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// A literal.
    Constant(Constant),
    /// A field of the owner.
    Field(Field, FieldType),
    /// The value under a key of a map; nil if the map does not have the key.
    Key(Box<Term>, String),
    /// An element of a list, by its index from 0; an error if the index is beyond the end.
    Element(Box<Term>, usize),
    /// A list whose elements are the values of these terms.
    List(Vec<Term>),
    /// A map from these keys to the values of these terms.
    Map(Vec<(String, Term)>),
    /// An arithmetic operation on two values.
    Math(MathOp, Box<Term>, Box<Term>),
    /// A comparison of two values; its value is a boolean.
    Compare(CompareOp, Box<Term>, Box<Term>),
    /// The call of a function with arguments.
    Call(Function, Vec<Term>),
}

/// A literal.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// `nil`, the absence of a value.
    Nil,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Double(f64),
    /// A string.
    Text(String),
    /// Bytes, written as hexadecimal digits after `0x`.
    Bytes(Vec<u8>),
    /// A duration, in nanoseconds.
    Duration(i64),
    /// A trace id or a span id.
    Id(Vec<u8>),
}

/// The type that a field has in the Collector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FieldType {
    /// An attribute of any type; nil if absent.
    Attribute,
    /// A string; empty if absent.
    Text,
    /// An integer; 0 if absent.
    Int,
    /// A time as an integer, in nanoseconds since 1970. A time that is not set compares as 0, and arithmetic with it
    /// gives nil.
    UnixNano,
    /// A time. If it is not set, the rules of [`FieldType::UnixNano`] apply.
    Time,
    /// An id with this length in bytes; all zeros if absent.
    Id(usize),
    /// The hexadecimal digits of an id with this length in bytes.
    IdText(usize),
    /// The name of a number: the entries are the names of 0 to 5.
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
    /// Returns true if the operator holds for two values that are in this order.
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
    /// `IsString(value)`, `IsInt(value)` and so on: true for a value of this type.
    IsType(ValueType),
    /// `Len(value)`
    Len,
    /// `Nanoseconds(duration)`, `Microseconds` or `Milliseconds`: the nanoseconds divided by this, an integer.
    DurationParts(i64),
    /// `Seconds(duration)`, `Minutes` or `Hours`: the nanoseconds divided by this, a double.
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
    /// `Hour(time)`, `Year(time)` and so on.
    TimePart(TimePart),
    /// `UnixNano(time)`, `UnixMicro`, `UnixMilli` or `UnixSeconds`: the nanoseconds since 1970 divided by this.
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
pub trait FieldSource {
    /// Returns the value of a field; [`AnyValue::Empty`] if it is absent. If a key occurs several times, the first
    /// counts.
    fn value(&self, field: &Field) -> AnyValue<'_>;
}

impl Formula {
    /// Returns true if the term has the expected value. An error is neither true nor false.
    pub fn holds(&self, source: &impl FieldSource) -> bool {
        matches!(self.term.value(source), Some(Val::Bool(value)) if value == self.expected)
    }
}

impl Term {
    /// Counts the fields, operators and functions in the term.
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

    /// Returns the fields that the term uses.
    #[cfg(any(test, fuzzing, feature = "testing"))]
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

    /// Evaluates the term. `None` is an OTTL error.
    pub(crate) fn value<'a>(&'a self, source: &'a impl FieldSource) -> Option<Val<'a>> {
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
            Term::Call(function, arguments) => called(function, arguments, source)?,
        })
    }
}

/// Evaluates the arguments of a function and calls it.
fn called<'a>(function: &'a Function, arguments: &'a [Term], source: &'a impl FieldSource) -> Option<Val<'a>> {
    if let (Function::Coalesce, [Term::List(terms)]) = (function, arguments) {
        return first_value(terms, source);
    }
    let values: Option<Vec<Val<'a>>> = arguments.iter().map(|argument| argument.value(source)).collect();
    call::result(function, values?)
}

/// Returns the first value that is not nil; nil if there is none. The terms after it are not evaluated, so an error there
/// does not count (`func_coalesce.go`).
fn first_value<'a>(terms: &'a [Term], source: &'a impl FieldSource) -> Option<Val<'a>> {
    for term in terms {
        match term.value(source)? {
            Val::Nil => {}
            value => return Some(value),
        }
    }
    Some(Val::Nil)
}

/// Fields with their values as encoded `AnyValue` messages, for tests.
#[cfg(any(test, fuzzing, feature = "testing"))]
pub(crate) struct EncodedFields(pub(crate) Vec<(Field, Vec<u8>)>);

#[cfg(any(test, fuzzing, feature = "testing"))]
impl FieldSource for EncodedFields {
    fn value(&self, field: &Field) -> AnyValue<'_> {
        self.0.iter().find(|(known, _)| known == field).map_or(AnyValue::Empty, |(_, value)| AnyValue::new(value))
    }
}

#[cfg(test)]
mod tests;
