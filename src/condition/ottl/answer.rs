//! Conditions in three values: they hold, they do not, or OTTL would report an error.

use crate::condition::{Check, Condition, Field};

use super::value::is_nullable;

/// When an expression holds and when it does not. Where neither is the case OTTL reports an error while it evaluates
/// (`HasPrefix` of a number); such a part decides nothing, and so neither it nor its negation holds. The Collector lets
/// the error end the whole condition instead, which depends on the order of its parts.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) yes: Condition,
    pub(super) no: Condition,
}

impl Answer {
    /// What never fails.
    pub(super) fn of(condition: Condition) -> Self {
        Answer { no: Condition::Not(Box::new(condition.clone())), yes: condition }
    }

    /// What is asked only of values that `applies` to.
    pub(super) fn among(applies: Condition, condition: Condition) -> Self {
        let no = Condition::All(vec![applies, Condition::Not(Box::new(condition.clone()))]);
        Answer { yes: condition, no }
    }

    pub(super) fn negated(self) -> Self {
        Answer { yes: self.no, no: self.yes }
    }

    pub(super) fn all(parts: Vec<Answer>) -> Self {
        let (yes, no) = parts.into_iter().map(|part| (part.yes, part.no)).unzip();
        Answer { yes: Condition::All(yes), no: Condition::Any(no) }
    }

    pub(super) fn any(parts: Vec<Answer>) -> Self {
        let (yes, no) = parts.into_iter().map(|part| (part.yes, part.no)).unzip();
        Answer { yes: Condition::Any(yes), no: Condition::All(no) }
    }
}

/// One test of a field. OTLP leaves out an empty string and a zero, where OTTL still finds them: if the default passes
/// the check (`holds_for_default`), a field that is never nil passes it when it is absent.
pub(super) fn test(field: &Field, check: Check, holds_for_default: bool) -> Condition {
    let test = Condition::test(field.clone(), check);
    if holds_for_default && !is_nullable(field) { Condition::Any(vec![test, absent(field)]) } else { test }
}

/// The field is absent.
pub(super) fn absent(field: &Field) -> Condition {
    Condition::Not(Box::new(Condition::test(field.clone(), Check::Present)))
}
