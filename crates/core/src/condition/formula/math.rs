//! Arithmetic (`math.go`; `LANGUAGE.md`, Math Expressions).

use super::{MathOp, Val};

/// Applies the operator to two values. `None` is an error: the types do not fit, the divisor is zero, or the result
/// does not fit into an `i64` (in the Collector it wraps around).
pub(super) fn result<'a>(op: MathOp, left: Val<'a>, right: Val<'a>) -> Option<Val<'a>> {
    match (op, left, right) {
        // An absent attribute is an error. Arithmetic with a time that is not set gives nil.
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

/// Applies the operator to two integers. As in OTTL, a quotient is rounded towards zero.
pub(in crate::condition) fn integers(op: MathOp, left: i64, right: i64) -> Option<i64> {
    match op {
        MathOp::Add => left.checked_add(right),
        MathOp::Subtract => left.checked_sub(right),
        MathOp::Multiply => left.checked_mul(right),
        MathOp::Divide => left.checked_div(right),
    }
}

/// Applies the operator to two doubles. Division by zero is an error.
pub(in crate::condition) fn doubles(op: MathOp, left: f64, right: f64) -> Option<f64> {
    match op {
        MathOp::Add => Some(left + right),
        MathOp::Subtract => Some(left - right),
        MathOp::Multiply => Some(left * right),
        MathOp::Divide => (right != 0.0).then(|| left / right),
    }
}
