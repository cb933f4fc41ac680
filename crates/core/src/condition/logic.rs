//! A bounded search for a way to make statements true: the question behind warnings such as "no trace can match".
//!
//! The search never says that something is impossible unless it is. If it runs out of effort, everything counts as
//! possible, so a warning may be missing but is never wrong.

/// The deepest nesting of alternatives that is searched, which protects the stack.
const NESTING_MAX: usize = 64;

/// A statement that is composed of elementary ones.
#[derive(Clone, Debug)]
pub(crate) enum Statement<L> {
    /// True or false.
    Constant(bool),
    /// An elementary statement.
    Leaf(L),
    /// The opposite.
    Not(Box<Statement<L>>),
    /// Each of these. An empty list is true.
    All(Vec<Statement<L>>),
    /// At least one of these. An empty list is false.
    Any(Vec<Statement<L>>),
}

impl<L> Statement<L> {
    /// Returns the opposite.
    pub(crate) fn negated(self) -> Self {
        Statement::Not(Box::new(self))
    }
}

/// The steps that may still be spent on a search.
#[derive(Debug)]
pub(crate) struct Effort(usize);

impl Effort {
    /// Creates an effort of `steps` comparisons.
    pub(crate) const fn of(steps: usize) -> Self {
        Effort(steps)
    }

    /// Spends `steps`. Returns false if the effort is used up.
    pub(crate) fn spend(&mut self, steps: usize) -> bool {
        self.0 = self.0.saturating_sub(steps);
        self.0 > 0
    }
}

/// Returns false if the statements cannot all be true at once. `consistent` says if the elementary statements, each with
/// the truth value that it must have, can be true at once.
pub(crate) fn possible<L: Copy>(
    statements: &[&Statement<L>],
    consistent: &impl Fn(&[(L, bool)], &mut Effort) -> bool,
    effort: &mut Effort,
) -> bool {
    let open = statements.iter().map(|statement| (*statement, true)).collect();
    Search { consistent, effort }.can_close(open, Vec::new(), 0)
}

struct Search<'a, C> {
    consistent: &'a C,
    effort: &'a mut Effort,
}

impl<C> Search<'_, C> {
    /// Returns false if the `open` statements cannot have their truth values beside the `settled` elementary ones.
    fn can_close<L: Copy>(
        &mut self,
        open: Vec<(&Statement<L>, bool)>,
        mut settled: Vec<(L, bool)>,
        nesting: usize,
    ) -> bool
    where
        C: Fn(&[(L, bool)], &mut Effort) -> bool,
    {
        let Some(mut choices) = self.settle(open, &mut settled) else { return false };
        // A contradiction that shows already ends the search early.
        if !(self.consistent)(&settled, self.effort) {
            return false;
        }
        let Some((choice, truth)) = choices.pop() else { return true };
        let (Statement::All(parts) | Statement::Any(parts)) = choice else { return true };
        nesting >= NESTING_MAX
            || parts.iter().any(|part| {
                let open = choices.iter().copied().chain([(part, truth)]).collect();
                !self.effort.spend(settled.len() + choices.len()) || self.can_close(open, settled.clone(), nesting + 1)
            })
    }

    /// Adds the elementary statements that must have their truth values in any case to `settled`, and returns those
    /// statements that have alternatives. `None` if one of `open` cannot have its truth value.
    fn settle<'s, L: Copy>(
        &mut self,
        mut open: Vec<(&'s Statement<L>, bool)>,
        settled: &mut Vec<(L, bool)>,
    ) -> Option<Vec<(&'s Statement<L>, bool)>> {
        let mut choices = Vec::new();
        while let Some((statement, truth)) = open.pop() {
            if !self.effort.spend(1) {
                return Some(Vec::new());
            }
            match (statement, truth) {
                (Statement::Constant(value), truth) if *value != truth => return None,
                (Statement::Constant(_), _) => {}
                (Statement::Leaf(leaf), truth) => settled.push((*leaf, truth)),
                (Statement::Not(inner), truth) => open.push((inner, !truth)),
                (Statement::All(parts), true) | (Statement::Any(parts), false) => {
                    open.extend(parts.iter().map(|part| (part, truth)));
                }
                (Statement::All(_), false) | (Statement::Any(_), true) => choices.push((statement, truth)),
            }
        }
        Some(choices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A letter is consistent with all others, but not with its own opposite.
    fn letters(settled: &[(char, bool)], _: &mut Effort) -> bool {
        settled.iter().all(|(a, truth)| settled.iter().all(|(b, other)| a != b || truth == other))
    }

    fn any(letters: &str) -> Statement<char> {
        Statement::Any(letters.chars().map(Statement::Leaf).collect())
    }

    #[test]
    fn alternatives_are_tried_one_after_the_other() {
        let not = |letter| Statement::Leaf(letter).negated();
        let is_possible = |parts: &[&Statement<char>]| possible(parts, &letters, &mut Effort::of(1_000));
        assert!(is_possible(&[&any("abc"), &not('a'), &not('b')]));
        assert!(!is_possible(&[&any("abc"), &not('a'), &not('b'), &not('c')]));
        assert!(!is_possible(&[&any("ab"), &any("ab").negated()]));
        assert!(!is_possible(&[&any("")]));
        assert!(is_possible(&[&Statement::All(vec![])]));
        assert!(is_possible(&[&any("ab"), &any("bc"), &any("ac"), &not('a')]));
    }

    #[test]
    fn without_effort_everything_is_possible() {
        let contradiction = Statement::All(vec![any("a"), any("a").negated()]);
        assert!(!possible(&[&contradiction], &letters, &mut Effort::of(1_000)));
        assert!(possible(&[&contradiction], &letters, &mut Effort::of(1)));
        // 2^40 combinations, none of which is possible, end soon.
        let pairs: Vec<_> = ('a'..='z').chain('0'..='9').map(|letter| any(&format!("{letter}{letter}"))).collect();
        let last = Statement::All(vec![any("ä"), any("ä").negated()]);
        let statements: Vec<_> = pairs.iter().chain([&last]).collect();
        possible(&statements, &letters, &mut Effort::of(10_000));
    }
}
