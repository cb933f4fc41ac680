//! Finds conditions that cannot hold for any span.
//!
//! Each test is about one field. So it is enough to look, field by field, for a value that passes all tests that must
//! hold and none that must not. Values that could be such a witness are made from the constants of the tests.

use super::logic::{self, Effort, Statement};
use super::{Check, Condition, Field, Number, Pattern, Test, ValueType, formula::Formula};
use crate::otlp::view::AnyValue;

/// An elementary part of a condition.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leaf<'a> {
    Test(&'a Test),
    AnyEvent(&'a Condition),
    Formula(&'a Formula),
}

impl Condition {
    /// Returns false if no span can fulfil the condition. A condition that is too complex counts as one that can hold.
    pub(crate) fn can_hold(&self, effort: &mut Effort) -> bool {
        can_all_hold(&[(self, true)], effort)
    }

    /// Returns true if a test looks for a regular expression that is found in every value.
    pub(crate) fn finds_everything(&self) -> bool {
        match self {
            Condition::Constant(_) | Condition::Formula(_) => false,
            Condition::Test(test) => finds_everything(&test.check),
            Condition::Not(inner) | Condition::AnyEvent(inner) => inner.finds_everything(),
            Condition::All(parts) | Condition::Any(parts) => parts.iter().any(Condition::finds_everything),
        }
    }

    fn statement(&self) -> Statement<Leaf<'_>> {
        match self {
            Condition::Constant(value) => Statement::Constant(*value),
            Condition::Test(test) => Statement::Leaf(Leaf::Test(test)),
            Condition::Not(inner) => inner.statement().negated(),
            Condition::All(parts) => Statement::All(parts.iter().map(Condition::statement).collect()),
            Condition::Any(parts) => Statement::Any(parts.iter().map(Condition::statement).collect()),
            Condition::AnyEvent(inner) => Statement::Leaf(Leaf::AnyEvent(inner)),
            Condition::Formula(formula) => Statement::Leaf(Leaf::Formula(formula)),
        }
    }
}

/// Returns false if no span can fulfil all conditions that are to hold, and none of the others.
pub(crate) fn can_all_hold(conditions: &[(&Condition, bool)], effort: &mut Effort) -> bool {
    // Without this check, the cost of writing the conditions out would have no bound.
    if !effort.spend(conditions.iter().map(|(condition, _)| size(condition)).sum()) {
        return true;
    }
    let with_truth = |statement: Statement<_>, truth| if truth { statement } else { statement.negated() };
    let statements: Vec<_> =
        conditions.iter().map(|(condition, truth)| with_truth(condition.statement(), *truth)).collect();
    logic::possible(&statements.iter().collect::<Vec<_>>(), &are_consistent, effort)
}

fn finds_everything(check: &Check) -> bool {
    match check {
        Check::Matches(pattern) | Check::MatchesText(pattern) => Pattern::finds_everything(pattern.as_str()),
        Check::Element(check) => finds_everything(check),
        Check::All(checks) => checks.iter().any(finds_everything),
        _ => false,
    }
}

fn size(condition: &Condition) -> usize {
    match condition {
        Condition::Not(inner) | Condition::AnyEvent(inner) => 1 + size(inner),
        Condition::All(parts) | Condition::Any(parts) => 1 + parts.iter().map(size).sum::<usize>(),
        Condition::Constant(_) | Condition::Test(_) | Condition::Formula(_) => 1,
    }
}

fn are_consistent(leaves: &[(Leaf<'_>, bool)], effort: &mut Effort) -> bool {
    leaves.iter().enumerate().all(|(index, (leaf, truth))| {
        // Each group of tests is looked at once, at its first test.
        if !effort.spend(1 + leaves.len()) {
            return true;
        }
        match leaf {
            Leaf::Test(test) if *truth => {
                let is_first = !tests(&leaves[..index]).any(|(other, truth)| truth && other.field == test.field);
                let is_shared = matches!(test.field, Field::Attribute(_));
                !(is_first || is_shared) || has_value(test, leaves, effort)
            }
            Leaf::AnyEvent(condition) if *truth => {
                let others = leaves.iter().filter_map(|(leaf, truth)| match leaf {
                    Leaf::AnyEvent(other) if !*truth => Some((*other, false)),
                    _ => None,
                });
                can_all_hold(&[(*condition, true)].into_iter().chain(others).collect::<Vec<_>>(), effort)
            }
            Leaf::Formula(formula) if *truth => {
                !leaves.iter().any(|(leaf, truth)| !truth && matches!(leaf, Leaf::Formula(other) if other == formula))
            }
            _ => true,
        }
    })
}

fn tests<'a>(leaves: &[(Leaf<'a>, bool)]) -> impl Iterator<Item = (&'a Test, bool)> {
    leaves.iter().filter_map(|(leaf, truth)| match leaf {
        Leaf::Test(test) => Some((*test, *truth)),
        _ => None,
    })
}

/// Returns false if the field of `test` cannot have a value that passes it and is as the other tests want it.
fn has_value(test: &Test, leaves: &[(Leaf<'_>, bool)], effort: &mut Effort) -> bool {
    // An attribute of the span or of its resource has two values. Each of them may pass other tests, and neither may
    // pass a test that must not hold.
    let is_shared = matches!(test.field, Field::Attribute(_));
    let (mut wanted, mut refused) = (Vec::new(), Vec::new());
    for (other, truth) in tests(leaves) {
        if !truth && is_covered(&test.field, &other.field) {
            refused.push(&other.check);
        } else if truth && other.field == test.field && (!is_shared || std::ptr::eq(other, test)) {
            wanted.extend(flat(&other.check));
        }
    }
    Witnesses { field: &test.field, wanted, refused }.exist(effort)
}

/// Returns true if a test of the field `other` is also about the value of `field`: if the test must not hold, the value
/// must not pass it.
fn is_covered(field: &Field, other: &Field) -> bool {
    match (field, other) {
        (Field::SpanAttribute(key) | Field::ResourceAttribute(key), Field::Attribute(other)) => key == other,
        _ => field == other,
    }
}

/// Returns the checks of a [`Check::All`], or the check itself.
fn flat(check: &Check) -> Vec<&Check> {
    match check {
        Check::All(checks) => checks.iter().flat_map(flat).collect(),
        _ => vec![check],
    }
}

/// The search for a value of one field.
struct Witnesses<'a> {
    field: &'a Field,
    wanted: Vec<&'a Check>,
    refused: Vec<&'a Check>,
}

impl Witnesses<'_> {
    /// Returns false if no value passes all wanted checks and none of the refused ones.
    fn exist(&self, effort: &mut Effort) -> bool {
        if self.wanted.iter().any(|check| self.refused.contains(check)) {
            return false;
        }
        let checks = self.wanted.len() + self.refused.len();
        let mut try_value = |value: AnyValue<'_>| !effort.spend(checks) || self.is_witness(value);
        if let Some(texts) = self.wanted.iter().find_map(|check| match check {
            Check::OneOf(texts) => Some(texts),
            _ => None,
        }) {
            return texts.iter().any(|text| try_value(AnyValue::String(text.as_bytes())));
        }
        if self.wanted.iter().any(|check| matches!(check, Check::Bool(_) | Check::Type(ValueType::Bool))) {
            return [true, false].into_iter().any(|value| try_value(AnyValue::Bool(value)));
        }
        if !self.is_about_numbers() {
            return true;
        }
        self.numbers().into_iter().any(|number| match number {
            Number::Int(value) => try_value(AnyValue::Int(value)),
            Number::Double(value) => !self.has_integers_only() && try_value(AnyValue::Double(value)),
        })
    }

    fn is_witness(&self, value: AnyValue<'_>) -> bool {
        let is_in_domain = match (self.field, value) {
            (Field::StatusCode, AnyValue::Int(code)) => (0..=2).contains(&code),
            (Field::Kind, AnyValue::Int(kind)) => (0..=5).contains(&kind),
            _ => true,
        };
        is_in_domain
            && self.wanted.iter().all(|check| check.passes(value))
            && !self.refused.iter().any(|check| check.passes(value))
    }

    /// Returns true if only numbers can be witnesses, and if [`Witnesses::numbers`] has one of them if there is any.
    fn is_about_numbers(&self) -> bool {
        let is_number =
            |check: &&Check| matches!(check, Check::Number(_) | Check::Type(ValueType::Int | ValueType::Double));
        // A string with a number passes as well, so a text could be the witness.
        let is_open = |check: &&Check| matches!(check, Check::MatchesText(_) | Check::HasBits(_));
        self.wanted.iter().any(is_number) && !self.wanted.iter().chain(&self.refused).any(is_open)
    }

    fn has_integers_only(&self) -> bool {
        let integers =
            [Field::Kind, Field::StatusCode, Field::Flags, Field::Duration, Field::StartTime, Field::EndTime];
        integers.contains(self.field)
    }

    /// Returns numbers at, below, above and between the bounds of all ranges: one from each interval into which the
    /// bounds divide the numbers.
    fn numbers(&self) -> Vec<Number> {
        let mut bounds = vec![0.0];
        let mut numbers = vec![Number::Int(0), Number::Int(i64::MIN), Number::Int(i64::MAX)];
        // These numbers are the gRPC statuses: both those that are faults of the server and the others.
        numbers.extend((0..=17).map(Number::Int));
        let refused = self.refused.iter().flat_map(|check| flat(check));
        for check in self.wanted.iter().copied().chain(refused) {
            let (Check::Number(range) | Check::Numeric(range)) = check else { continue };
            for bound in [range.min, range.max].into_iter().flatten() {
                numbers.push(bound.at);
                match bound.at {
                    Number::Int(at) => {
                        numbers.extend([at.saturating_sub(1), at.saturating_add(1)].map(Number::Int));
                        bounds.push(at as f64);
                    }
                    Number::Double(at) => {
                        numbers.extend([at.floor() as i64, at.ceil() as i64].map(Number::Int));
                        bounds.push(at);
                    }
                }
            }
        }
        bounds.sort_by(f64::total_cmp);
        numbers.extend(bounds.windows(2).map(|pair| Number::Double(pair[0] / 2.0 + pair[1] / 2.0)));
        numbers.extend([bounds.first(), bounds.last()].into_iter().flatten().flat_map(|bound| {
            [Number::Double(bound - bound.abs().max(1.0)), Number::Double(bound + bound.abs().max(1.0))]
        }));
        numbers
    }
}

#[cfg(test)]
mod tests;
