//! Values of an expression: constants, and fields with the type that OTTL gives them.

use crate::condition::Field;

use super::OttlError;
use super::answer::TruthConditions;
use super::compare::number;
use super::grammar::MathOp;
pub(super) use crate::condition::formula::Constant;
use crate::condition::formula::{doubles, integers};

/// A compiled expression: a value or a condition.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Constant(Constant),
    List(Vec<Constant>),
    Field(Measure),
    /// A boolean expression, such as a call of `IsMatch`.
    Answer(TruthConditions),
}

/// A field with the value that OTTL derives from it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measure {
    pub(super) field: Field,
    pub(super) view: FieldView,
}

/// The type of a field, or of the value that a function or arithmetic derives from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FieldView {
    /// An attribute of any type; nil if absent.
    Attribute,
    Text,
    Integer,
    /// A `time.Time`.
    Time,
    /// A `time.Duration`. The field is in nanoseconds.
    Duration,
    /// The field divided by this positive divisor, an integer rounded towards zero.
    Quotient(i64),
    /// The field divided by this divisor, a double.
    Ratio(f64),
    /// An id with this length in bytes.
    Id(usize),
    /// The hexadecimal digits of an id with this length in bytes.
    IdText(usize),
    /// The name of a span kind: the entries are the names of 0 to 5.
    KindText([&'static str; 6]),
    /// The result of `Len()`.
    Length,
    /// The result of `String()` for an attribute.
    ToText,
}

/// Returns true if OTTL reads the absent field as nil. It reads other absent fields as an empty string or a zero.
pub(super) fn is_nullable(field: &Field) -> bool {
    matches!(
        field,
        Field::Attribute(_)
            | Field::SpanAttribute(_)
            | Field::ResourceAttribute(_)
            | Field::ScopeAttribute(_)
            | Field::EventAttribute(_)
            | Field::Duration
    )
}

impl Measure {
    pub(super) fn new(field: Field, view: FieldView) -> Self {
        Measure { field, view }
    }

    /// Returns true for a field of the span, event or scope itself, which OTTL never reads as nil.
    pub(super) fn is_never_nil(&self) -> bool {
        let is_whole = matches!(
            self.view,
            FieldView::Text
                | FieldView::Integer
                | FieldView::Time
                | FieldView::Id(_)
                | FieldView::IdText(_)
                | FieldView::KindText(_)
        );
        is_whole && !is_nullable(&self.field)
    }
}

impl Operand {
    /// Names the type for a message.
    pub(super) fn shown(&self) -> &'static str {
        match self {
            Operand::Constant(constant) => constant.shown(),
            Operand::List(_) => "a list",
            Operand::Field(measure) => measure.view.shown(),
            Operand::Answer(_) => "a boolean",
        }
    }
}

impl Constant {
    pub(super) fn shown(&self) -> &'static str {
        match self {
            Constant::Nil => "nil",
            Constant::Bool(_) => "a boolean",
            Constant::Int(_) => "an integer",
            Constant::Double(_) => "a double",
            Constant::Text(_) => "a string",
            Constant::Bytes(_) => "bytes",
            Constant::Duration(_) => "a duration",
            Constant::Id(_) => "an id",
        }
    }
}

impl FieldView {
    pub(super) fn shown(self) -> &'static str {
        match self {
            FieldView::Attribute => "an attribute",
            FieldView::Text | FieldView::IdText(_) | FieldView::KindText(_) | FieldView::ToText => "a string",
            FieldView::Integer | FieldView::Quotient(_) | FieldView::Length => "an integer",
            FieldView::Ratio(_) => "a double",
            FieldView::Time => "a time",
            FieldView::Duration => "a duration",
            FieldView::Id(_) => "an id",
        }
    }
}

/// Compiles arithmetic with constants, the end time minus the start time of a span, and the division of an integer by a
/// constant (`LANGUAGE.md`, Math Expressions).
pub(super) fn math(op: MathOp, left: Operand, right: Operand, offset: usize) -> Result<Operand, OttlError> {
    match (op, left, right) {
        (op, Operand::Constant(left), Operand::Constant(right)) => {
            constant_math(op, &left, &right, offset).map(Operand::Constant)
        }
        (MathOp::Subtract, Operand::Field(end), Operand::Field(start)) => {
            let view = match (end.view, start.view) {
                (FieldView::Time, FieldView::Time) => Some(FieldView::Duration),
                (FieldView::Integer, FieldView::Integer) => Some(FieldView::Integer),
                _ => None,
            };
            let view = view.filter(|_| (end.field, start.field) == (Field::EndTime, Field::StartTime));
            let duration = view.map(|view| Operand::Field(Measure::new(Field::Duration, view)));
            duration.ok_or_else(|| unknown_math(offset))
        }
        (MathOp::Divide, Operand::Field(measure), Operand::Constant(Constant::Int(divisor))) if divisor > 0 => {
            let divisor = match measure.view {
                FieldView::Integer => Some(divisor),
                FieldView::Quotient(first) => first.checked_mul(divisor),
                _ => None,
            };
            let quotient = divisor.map(|divisor| Measure::new(measure.field, FieldView::Quotient(divisor)));
            quotient.map(Operand::Field).ok_or_else(|| unknown_math(offset))
        }
        _ => Err(unknown_math(offset)),
    }
}

fn unknown_math(offset: usize) -> OttlError {
    OttlError::new(offset, "arithmetic of fields").beyond_tests()
}

/// Computes with two numbers or two durations, as in OTTL. An integer and a double give a double.
fn constant_math(op: MathOp, left: &Constant, right: &Constant, offset: usize) -> Result<Constant, OttlError> {
    let result = match (op, left, right) {
        (_, Constant::Int(left), Constant::Int(right)) => integers(op, *left, *right).map(Constant::Int),
        (MathOp::Add | MathOp::Subtract, Constant::Duration(left), Constant::Duration(right)) => {
            integers(op, *left, *right).map(Constant::Duration)
        }
        _ => {
            let (Some(left), Some(right)) = (number(left), number(right)) else {
                let message = format!("arithmetic of {} and {}", left.shown(), right.shown());
                return Err(OttlError::new(offset, message).help("both must be numbers or durations"));
            };
            let result = doubles(op, left.as_double(), right.as_double());
            result.filter(|result| result.is_finite()).map(Constant::Double)
        }
    };
    result
        .ok_or_else(|| OttlError::new(offset, "the arithmetic has no result: it is too large, or the divisor is zero"))
}
