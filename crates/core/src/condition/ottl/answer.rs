//! Answers with three values: an expression holds, does not hold, or is an OTTL error.

use crate::condition::{Check, Condition, Field};

use super::value::is_nullable;

/// The condition under which an expression is true, and the one under which it is false. If neither holds, OTTL reports
/// an error during the evaluation, for example for `HasPrefix` of a number. A part with an error decides nothing:
/// neither the part nor its negation holds. In the Collector the error ends the whole condition, so the result depends
/// on the order of the parts.
#[derive(Clone, Debug)]
pub(super) struct TruthConditions {
    pub(super) yes: Condition,
    pub(super) no: Condition,
}

impl TruthConditions {
    /// Makes the answer of an expression that is never an error.
    pub(super) fn of(condition: Condition) -> Self {
        TruthConditions { no: Condition::Not(Box::new(condition.clone())), yes: condition }
    }

    /// Makes the answer of an expression that is an error for values for which `applies` does not hold. `condition`
    /// must not hold for them.
    pub(super) fn among(applies: Condition, condition: Condition) -> Self {
        let no = Condition::All(vec![applies, Condition::Not(Box::new(condition.clone()))]);
        TruthConditions { yes: condition, no }
    }

    pub(super) fn negated(self) -> Self {
        TruthConditions { yes: self.no, no: self.yes }
    }

    pub(super) fn all(parts: Vec<TruthConditions>) -> Self {
        let (yes, no) = parts.into_iter().map(|part| (part.yes, part.no)).unzip();
        TruthConditions { yes: Condition::All(yes), no: Condition::Any(no) }
    }

    pub(super) fn any(parts: Vec<TruthConditions>) -> Self {
        let (yes, no) = parts.into_iter().map(|part| (part.yes, part.no)).unzip();
        TruthConditions { yes: Condition::Any(yes), no: Condition::All(no) }
    }
}

/// Makes a test of a field. OTLP leaves out empty strings and zeros, but OTTL still reads them as values. So if the
/// default value passes the check (`holds_for_default`), a field that is never nil passes it when it is absent, too.
pub(super) fn test(field: &Field, check: Check, holds_for_default: bool) -> Condition {
    let test = Condition::test(field.clone(), check);
    if holds_for_default && !is_nullable(field) { Condition::Any(vec![test, absent(field)]) } else { test }
}

/// Makes the condition that the field is absent.
pub(super) fn absent(field: &Field) -> Condition {
    Condition::Not(Box::new(Condition::test(field.clone(), Check::Present)))
}
