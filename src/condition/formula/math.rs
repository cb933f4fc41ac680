//! Arithmetic (`math.go`; `LANGUAGE.md`, Math Expressions).

use super::{MathOp, Val};

/// What the operator makes of two values; `None` is an error: other types, a division by zero, a number that does not fit
/// (which wraps around in the Collector).
pub(super) fn result<'a>(op: MathOp, left: Val<'a>, right: Val<'a>) -> Option<Val<'a>> {
    match (op, left, right) {
        // A time that is not set has no sum and no difference, and an absent attribute is an error.
        (_, Val::Nil, _) | (_, _, Val::Nil) => None,
        (_, Val::Unset, _) | (_, _, Val::Unset) => Some(Val::Nil),
        (op, Val::Int(left), Val::Int(right)) => integers(op, left, right).map(Val::Int),
        (MathOp::Subtract, Val::Time(end), Val::Time(start)) => end.checked_sub(start).map(Val::Duration),
        (MathOp::Add, Val::Time(time), Val::Duration(by)) | (MathOp::Add, Val::Duration(by), Val::Time(time)) => {
            time.checked_add(by).map(Val::Time)
        }
        (MathOp::Subtract, Val::Time(time), Val::Duration(by)) => time.checked_sub(by).map(Val::Time),
        (MathOp::Add | MathOp::Subtract, Val::Duration(left), Val::Duration(right)) => {
            integers(op, left, right).map(Val::Duration)
        }
        (op, left, right) => doubles(op, left.as_double()?, right.as_double()?).map(Val::Double),
    }
}

/// Of integers, as in OTTL: the fraction of a quotient is cut.
pub(in crate::condition) fn integers(op: MathOp, left: i64, right: i64) -> Option<i64> {
    match op {
        MathOp::Add => left.checked_add(right),
        MathOp::Subtract => left.checked_sub(right),
        MathOp::Multiply => left.checked_mul(right),
        MathOp::Divide => left.checked_div(right),
    }
}

/// Of doubles.
pub(in crate::condition) fn doubles(op: MathOp, left: f64, right: f64) -> Option<f64> {
    match op {
        MathOp::Add => Some(left + right),
        MathOp::Subtract => Some(left - right),
        MathOp::Multiply => Some(left * right),
        MathOp::Divide => (right != 0.0).then(|| left / right),
    }
}
