//! Comparisons of a field with a constant (`compare.go`; `LANGUAGE.md`, Comparison Rules).
//!
//! Values of different types are unequal and have no order. Integers and doubles compare as numbers. If the types are
//! known to differ, the comparison is an error, because its answer would always be the same. Only `!= nil` is accepted
//! for fields that are never nil: people write it in front of other conditions, and it changes nothing.

use crate::condition::{Check, Condition, DoubleText, Field, Number, Range, RangeBound};

use super::OttlError;
use super::answer::{TruthConditions, absent, test};
use super::grammar::CompareOp;
use super::lexer::bytes_of_hex;
use super::value::{Constant, FieldView, Measure};

impl CompareOp {
    /// Returns the operator for swapped sides: `<` becomes `>`.
    pub(super) fn mirrored(self) -> Self {
        match self {
            CompareOp::Lt => CompareOp::Gt,
            CompareOp::Le => CompareOp::Ge,
            CompareOp::Gt => CompareOp::Lt,
            CompareOp::Ge => CompareOp::Le,
            CompareOp::Eq | CompareOp::Ne => self,
        }
    }

    /// Returns the operator that holds when this one does not.
    fn negated(self) -> Self {
        match self {
            CompareOp::Eq => CompareOp::Ne,
            CompareOp::Ne => CompareOp::Eq,
            CompareOp::Lt => CompareOp::Ge,
            CompareOp::Le => CompareOp::Gt,
            CompareOp::Gt => CompareOp::Le,
            CompareOp::Ge => CompareOp::Lt,
        }
    }
}

/// Compiles the comparison of a field with a constant. `offset` is the offset of the constant in the text.
pub(super) fn compare(
    op: CompareOp,
    measure: &Measure,
    constant: &Constant,
    offset: usize,
) -> Result<TruthConditions, OttlError> {
    if op == CompareOp::Ne && *constant == Constant::Nil && measure.is_never_nil() {
        return Ok(TruthConditions::of(Condition::Constant(true)));
    }
    // `!=` is the negation of `==`: it also holds for a value of another type and for an absent field.
    if op == CompareOp::Ne && measure.view != FieldView::Length {
        return Ok(compare(CompareOp::Eq, measure, constant, offset)?.negated());
    }
    let field = &measure.field;
    let number = number(constant);
    match (measure.view, constant, number) {
        (FieldView::Attribute | FieldView::Integer, _, Some(number)) => Ok(plain(op, field, number)),
        (FieldView::Duration, Constant::Duration(nanoseconds), _) => Ok(plain(op, field, Number::Int(*nanoseconds))),
        (FieldView::Quotient(divisor), _, Some(number)) => Ok(quotient(op, field, divisor, number)),
        (FieldView::Ratio(divisor), _, Some(number)) => {
            Ok(plain(op, field, Number::Double(number.as_double() * divisor)))
        }
        (FieldView::Length, _, Some(number)) => Ok(length(op, field, number)),
        (FieldView::ToText, Constant::Nil, _) => Err(incomparable(op, measure.view, constant, offset).beyond_tests()),
        (FieldView::Attribute, Constant::Bool(value), _) => Ok(boolean(op, field, *value)),
        _ if op != CompareOp::Eq => Err(incomparable(op, measure.view, constant, offset)),
        _ => equal(measure, constant, offset),
    }
}

/// Compiles `==` for nil, strings, bytes and ids. This module gives them no order.
fn equal(measure: &Measure, constant: &Constant, offset: usize) -> Result<TruthConditions, OttlError> {
    let field = &measure.field;
    let condition = match (measure.view, constant) {
        (FieldView::Attribute, Constant::Nil) => absent(field),
        (FieldView::Attribute, Constant::Bytes(bytes)) => test(field, Check::Bytes(bytes.clone()), false),
        (FieldView::Attribute | FieldView::Text, Constant::Text(text)) => {
            test(field, Check::OneOf(vec![text.clone()]), text.is_empty())
        }
        (FieldView::ToText, Constant::Text(text)) => text_of_any(field, text),
        (FieldView::KindText(names), Constant::Text(text)) => {
            let kind = names.iter().position(|name| name == text);
            let kind = kind.ok_or_else(|| no_kind(&names, offset))? as i64;
            test(field, Check::Number(Range::exactly(Number::Int(kind))), kind == 0)
        }
        (FieldView::Id(length), Constant::Id(bytes)) if bytes.len() == length => id(field, bytes),
        (FieldView::IdText(length), Constant::Text(text)) => {
            let bytes = bytes_of_hex(text).filter(|bytes| bytes.len() == length && *text == text.to_lowercase());
            id(field, &bytes.ok_or_else(|| no_id(length, offset))?)
        }
        (view, constant) => return Err(incomparable(CompareOp::Eq, view, constant, offset)),
    };
    Ok(TruthConditions::of(condition))
}

/// Returns the number that the constant is; `None` if it is of another type.
pub(super) fn number(constant: &Constant) -> Option<Number> {
    match constant {
        Constant::Int(value) => Some(Number::Int(*value)),
        Constant::Double(value) => Some(Number::Double(*value)),
        _ => None,
    }
}

impl Number {
    pub(super) fn as_double(self) -> f64 {
        match self {
            Number::Int(value) => value as f64,
            Number::Double(value) => value,
        }
    }
}

/// Returns true if `value op number` holds.
fn holds(op: CompareOp, value: f64, number: Number) -> bool {
    value.partial_cmp(&number.as_double()).is_some_and(|order| op.holds(order))
}

/// Returns the range of the numbers `x` for which `x op at` holds. For `!=` it returns the range of `==`.
fn range(op: CompareOp, at: Number) -> Range {
    let bound = |inclusive| Some(RangeBound { at, inclusive });
    match op {
        CompareOp::Eq | CompareOp::Ne => Range::exactly(at),
        CompareOp::Lt => Range { min: None, max: bound(false) },
        CompareOp::Le => Range { min: None, max: bound(true) },
        CompareOp::Gt => Range { min: bound(false), max: None },
        CompareOp::Ge => Range { min: bound(true), max: None },
    }
}

fn plain(op: CompareOp, field: &Field, number: Number) -> TruthConditions {
    TruthConditions::of(test(field, Check::Number(range(op, number)), holds(op, 0.0, number)))
}

/// Compiles the comparison of an integer quotient with a number.
fn quotient(op: CompareOp, field: &Field, divisor: i64, number: Number) -> TruthConditions {
    TruthConditions::of(match truncated(op, number, divisor) {
        Some(range) => test(field, Check::Number(range), holds(op, 0.0, number)),
        None => Condition::Constant(false),
    })
}

/// Returns the range of the numbers whose quotient by `divisor`, rounded towards zero, satisfies `op number`. Returns
/// `None` if there is no such number.
fn truncated(op: CompareOp, number: Number, divisor: i64) -> Option<Range> {
    let (floor, ceil) = match number {
        Number::Int(value) => (i128::from(value), i128::from(value)),
        Number::Double(value) => (value.floor() as i128, value.ceil() as i128),
    };
    let (min, max) = match op {
        CompareOp::Eq | CompareOp::Ne if floor != ceil => return None,
        CompareOp::Eq | CompareOp::Ne => (Some(floor), Some(floor)),
        CompareOp::Lt => (None, Some(ceil.saturating_sub(1))),
        CompareOp::Le => (None, Some(floor)),
        CompareOp::Gt => (Some(floor.saturating_add(1)), None),
        CompareOp::Ge => (Some(ceil), None),
    };
    let bound = |quotient: i128, inclusive| {
        let at = quotient.saturating_mul(i128::from(divisor));
        let at = i64::try_from(at).map_or(Number::Double(at as f64), Number::Int);
        RangeBound { at, inclusive }
    };
    // A quotient is rounded towards zero, so it is 0 for all numbers between -divisor and divisor (both excluded).
    let min = min.map(|min| if min > 0 { bound(min, true) } else { bound(min.saturating_sub(1), false) });
    let max = max.map(|max| if max < 0 { bound(max, true) } else { bound(max.saturating_add(1), false) });
    Some(Range { min, max })
}

/// Compiles the comparison of `Len()` with a number. `Len()` is an error for a value without a length. A value with a
/// length passes either the check or its negation.
fn length(op: CompareOp, field: &Field, number: Number) -> TruthConditions {
    let condition = |op: CompareOp| {
        let part = |op| test(field, Check::Length(range(op, number)), holds(op, 0.0, number));
        match op {
            CompareOp::Ne => Condition::Any(vec![part(CompareOp::Lt), part(CompareOp::Gt)]),
            op => part(op),
        }
    };
    TruthConditions { yes: condition(op), no: condition(op.negated()) }
}

/// Compiles the comparison of an attribute with a boolean. False is less than true.
fn boolean(op: CompareOp, field: &Field, constant: bool) -> TruthConditions {
    let passing = [false, true].into_iter().filter(|value| op.holds(value.cmp(&constant)));
    let mut tests: Vec<Condition> = passing.map(|value| test(field, Check::Bool(value), false)).collect();
    TruthConditions::of(if tests.len() == 1 { tests.remove(0) } else { Condition::Any(tests) })
}

/// Makes the condition that `String()` of the attribute equals `text`. Doubles are formatted as in Go ([`DoubleText`]).
fn text_of_any(field: &Field, text: &str) -> Condition {
    let integer = text.parse().ok().filter(|value: &i64| value.to_string() == text).map(Number::Int);
    let double = text.parse().ok().filter(|value: &f64| value.is_finite() && DoubleText(*value).to_string() == text);
    let number = integer.or(double.map(Number::Double)).map(|number| Check::Number(Range::exactly(number)));
    let boolean = text.parse().ok().map(Check::Bool);
    let checks = [Some(Check::OneOf(vec![text.to_owned()])), number, boolean];
    Condition::Any(checks.into_iter().flatten().map(|check| test(field, check, false)).collect())
}

/// Makes the condition that the id has these bytes. In OTTL, an absent id is an id of zeros.
fn id(field: &Field, bytes: &[u8]) -> Condition {
    if bytes.iter().all(|byte| *byte == 0) { absent(field) } else { test(field, Check::Bytes(bytes.to_vec()), false) }
}

/// Returns the check that an element of a list equals the constant; `None` if the type cannot be compared.
pub(super) fn equality_check(constant: &Constant) -> Option<Check> {
    match constant {
        Constant::Bool(value) => Some(Check::Bool(*value)),
        Constant::Text(text) => Some(Check::OneOf(vec![text.clone()])),
        Constant::Bytes(bytes) => Some(Check::Bytes(bytes.clone())),
        constant => number(constant).map(|number| Check::Number(Range::exactly(number))),
    }
}

/// Makes the error for a constant of another type, or for `<`, `<=`, `>` or `>=` between values that have no order.
fn incomparable(op: CompareOp, view: FieldView, constant: &Constant, offset: usize) -> OttlError {
    let message = format!("{} compared with {}", view.shown(), constant.shown());
    let is_text = matches!(
        view,
        FieldView::Attribute | FieldView::Text | FieldView::ToText | FieldView::IdText(_) | FieldView::KindText(_)
    );
    let is_order_of_text = is_text && matches!(constant, Constant::Text(_)) && op != CompareOp::Eq;
    let is_order_of_bytes =
        view == FieldView::Attribute && matches!(constant, Constant::Bytes(_)) && op != CompareOp::Eq;
    let help = match (view, constant) {
        (FieldView::Attribute, Constant::Nil) => "write `==` or `!=`",
        (FieldView::Text, Constant::Nil) => "it is never nil: compare with the empty string",
        (FieldView::Integer, Constant::Text(_)) => "compare with an integer or a name such as STATUS_CODE_ERROR",
        (FieldView::Id(8), _) => "write `== SpanID(\"0123456789abcdef\")`; a span without a parent is `IsRootSpan()`",
        (FieldView::Id(_), _) => "write `== TraceID(\"0123456789abcdef0123456789abcdef\")`",
        (FieldView::Duration, _) => "compare with `Duration(\"500ms\")`",
        (FieldView::Integer | FieldView::Quotient(_), Constant::Duration(_)) => {
            "compare with a number, or durations with durations"
        }
        (FieldView::Time, _) => "compare `start_time_unix_nano` or `end_time_unix_nano` with nanoseconds",
        _ => "compare with a constant of the same type, by `==` or `!=`",
    };
    let error = OttlError::new(offset, message).help(help);
    if is_order_of_text || is_order_of_bytes { error.beyond_tests() } else { error }
}

fn no_kind(names: &[&str], offset: usize) -> OttlError {
    OttlError::new(offset, "this is not the name of a span kind").help(format!("kinds are {}", names.join(", ")))
}

fn no_id(length: usize, offset: usize) -> OttlError {
    let help = format!("write {} lower-case hexadecimal digits; a span without a parent is `IsRootSpan()`", 2 * length);
    OttlError::new(offset, "this is not a valid id").help(help)
}
