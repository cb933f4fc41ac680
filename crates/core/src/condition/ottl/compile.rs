//! The compiler from the tree to a condition. It checks which kind of expression is allowed in which place.

use super::answer::{TruthConditions, test};
use super::compare::compare;
use super::function::FunctionCall;
use super::grammar::{CompareOp, Expr, ExprNode};
use super::value::{Constant, FieldView, Operand, math};
use super::{ConditionContext, OttlError, general, path};
use crate::condition::{Check, Condition};

/// Compiles an expression that must be true or false.
pub(super) fn answer(expr: &Expr, context: ConditionContext) -> Result<TruthConditions, OttlError> {
    let general = |error: OttlError| if error.is_beyond_tests { general::answer(expr, context) } else { Err(error) };
    match &expr.node {
        ExprNode::Not(inner) => Ok(answer(inner, context)?.negated()),
        ExprNode::And(parts) => answers(parts, context).map(TruthConditions::all),
        ExprNode::Or(parts) => answers(parts, context).map(TruthConditions::any),
        ExprNode::Compare(op, left, right) => comparison(*op, left, right, context).or_else(general),
        _ => boolean(expr, context).or_else(general),
    }
}

fn answers(parts: &[Expr], context: ConditionContext) -> Result<Vec<TruthConditions>, OttlError> {
    parts.iter().map(|part| answer(part, context)).collect()
}

/// Compiles a value that must be a boolean. A bare attribute is accepted, which OTTL does not allow: the answer is its
/// boolean, and an error if it is not a boolean.
fn boolean(expr: &Expr, context: ConditionContext) -> Result<TruthConditions, OttlError> {
    match operand(expr, context)? {
        Operand::Answer(answer) => Ok(answer),
        Operand::Constant(Constant::Bool(value)) => Ok(TruthConditions::of(Condition::Constant(value))),
        Operand::Field(measure) if measure.view == FieldView::Attribute => {
            let is = |value| test(&measure.field, Check::Bool(value), false);
            Ok(TruthConditions { yes: is(true), no: is(false) })
        }
        other => Err(OttlError::new(expr.offset, format!("{} alone is neither true nor false", other.shown()))
            .help("compare it with something")),
    }
}

fn comparison(
    op: CompareOp,
    left: &Expr,
    right: &Expr,
    context: ConditionContext,
) -> Result<TruthConditions, OttlError> {
    match (operand(left, context)?, operand(right, context)?) {
        (Operand::Field(measure), Operand::Constant(constant)) => compare(op, &measure, &constant, right.offset),
        (Operand::Constant(constant), Operand::Field(measure)) => {
            compare(op.mirrored(), &measure, &constant, left.offset)
        }
        (Operand::Answer(answer), Operand::Constant(Constant::Bool(value)))
        | (Operand::Constant(Constant::Bool(value)), Operand::Answer(answer))
            if matches!(op, CompareOp::Eq | CompareOp::Ne) =>
        {
            let is_same = value == (op == CompareOp::Eq);
            Ok(if is_same { answer } else { answer.negated() })
        }
        (Operand::Field(_), Operand::Field(_)) => {
            Err(OttlError::new(left.offset, "two fields compared with each other").beyond_tests())
        }
        (Operand::List(_), _) | (_, Operand::List(_)) => {
            Err(OttlError::new(left.offset, "a list compared").beyond_tests())
        }
        // For example a boolean compared with an attribute.
        (Operand::Answer(_), _) | (_, Operand::Answer(_)) => {
            Err(OttlError::new(left.offset, "a boolean compared").beyond_tests())
        }
        (left_operand, right_operand) => {
            let message = format!("{} compared with {}", left_operand.shown(), right_operand.shown());
            Err(OttlError::new(left.offset, message).help("compare a path with a constant"))
        }
    }
}

/// Compiles an expression that must be a value.
pub(super) fn operand(expr: &Expr, context: ConditionContext) -> Result<Operand, OttlError> {
    let constant = match &expr.node {
        ExprNode::Nil => Constant::Nil,
        ExprNode::Bool(value) => Constant::Bool(*value),
        ExprNode::Int(value) => Constant::Int(*value),
        ExprNode::Double(value) => Constant::Double(*value),
        ExprNode::Text(text) => Constant::Text(text.clone()),
        ExprNode::Bytes(bytes) => Constant::Bytes(bytes.clone()),
        ExprNode::Enum(name) => Constant::Int(path::enum_value(name, expr.offset)?),
        ExprNode::List(values) => return list(values, context),
        ExprNode::Map(_) => return Err(OttlError::new(expr.offset, "a map").beyond_tests()),
        ExprNode::Index(..) => return Err(OttlError::new(expr.offset, "a function's result with a key").beyond_tests()),
        ExprNode::Path(segments) => return path::measure(segments, expr.offset, context).map(Operand::Field),
        ExprNode::Call(name, arguments) => {
            return FunctionCall { name, arguments, offset: expr.offset, context }.operand();
        }
        ExprNode::Math(op, left, right) => {
            return math(*op, operand(left, context)?, operand(right, context)?, expr.offset);
        }
        ExprNode::Compare(..) | ExprNode::Not(_) | ExprNode::And(_) | ExprNode::Or(_) => {
            return answer(expr, context).map(Operand::Answer);
        }
    };
    Ok(Operand::Constant(constant))
}

fn list(values: &[Expr], context: ConditionContext) -> Result<Operand, OttlError> {
    let constants = values.iter().map(|value| match operand(value, context)? {
        Operand::Constant(constant) => Ok(constant),
        other => Err(OttlError::new(value.offset, format!("{} in a list", other.shown())).beyond_tests()),
    });
    constants.collect::<Result<_, _>>().map(Operand::List)
}
