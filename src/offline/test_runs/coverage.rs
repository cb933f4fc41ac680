//! The policies, and the parts of policies, that the tests have made true, and those that they have made false.

use crate::offline::inspect::InspectedTrace;
use crate::sampling::PolicyParts;

/// The answers that were seen of one policy or part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Answers {
    held: bool,
    failed: bool,
}

impl Answers {
    fn note(&mut self, holds: Option<bool>) {
        self.held |= holds == Some(true);
        self.failed |= holds == Some(false);
    }

    fn is_complete(self) -> bool {
        self.held && self.failed
    }

    fn gap(self) -> &'static str {
        match self {
            Answers { held: false, failed: false } => "never asked",
            Answers { held: false, .. } => "never true",
            _ => "never false",
        }
    }
}

/// The coverage of policies and their parts by tests.
#[derive(Clone, Debug)]
pub struct Coverage {
    policies: Vec<(String, Answers)>,
    /// For each policy, its number.
    numbers: Vec<u16>,
    /// The parts of policies that have several.
    parts: Vec<(String, Answers)>,
    /// For each part, its index in `parts`.
    places: Vec<Option<usize>>,
}

/// A policy at the top level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoveredPolicy {
    /// Its number.
    pub number: u16,
    /// Its name.
    pub name: String,
    /// True if it is a shadow policy. Its answers are covered like others, although they never decide.
    pub is_shadow: bool,
}

impl CoveredPolicy {
    /// Returns the name of the policy or of a part of it, marked if the policy is a shadow policy.
    fn shown(&self, name: &str) -> String {
        if self.is_shadow { format!("{name} (shadow)") } else { name.to_owned() }
    }
}

/// A policy or a part that no test has made true, or none has made false.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverageGap {
    /// Its name.
    pub name: String,
    /// `never asked`, `never true` or `never false`.
    pub gap: &'static str,
}

impl Coverage {
    /// Creates the coverage of `policies`, those at the top level with their numbers, before the first test.
    #[must_use]
    pub fn new(policies: &[CoveredPolicy], parts: &PolicyParts) -> Self {
        let mut coverage = Coverage {
            policies: policies.iter().map(|policy| (policy.shown(&policy.name), Answers::default())).collect(),
            numbers: policies.iter().map(|policy| policy.number).collect(),
            parts: Vec::new(),
            places: Vec::new(),
        };
        for part in parts.parts() {
            // A policy that is a single part has the answer of the policy.
            let policy = policies.iter().find(|policy| policy.number == part.policy && part.path.len() > 1);
            let place = policy.map(|_| coverage.parts.len());
            coverage.parts.extend(policy.map(|policy| (policy.shown(&part.path.join(" / ")), Answers::default())));
            coverage.places.push(place);
        }
        coverage
    }

    /// Notes the answers on the traces of a test.
    pub fn add(&mut self, traces: &[InspectedTrace], parts: &PolicyParts) {
        for finding in traces.iter().flat_map(|trace| trace.findings(parts)) {
            let at = self.numbers.iter().position(|number| *number == finding.policy);
            if let Some((_, answers)) = at.and_then(|at| self.policies.get_mut(at)) {
                answers.note(finding.answer.holds());
            }
            for part in &finding.parts {
                let place = self.places.get(part.part).copied().flatten();
                if let Some((_, answers)) = place.and_then(|place| self.parts.get_mut(place)) {
                    answers.note(part.holds);
                }
            }
        }
    }

    /// Returns the policies, and then the parts, that lack an answer.
    #[must_use]
    pub fn gaps(&self) -> Vec<CoverageGap> {
        let all = self.policies.iter().chain(&self.parts);
        let gaps = all.filter(|(_, answers)| !answers.is_complete());
        gaps.map(|(name, answers)| CoverageGap { name: name.clone(), gap: answers.gap() }).collect()
    }

    /// Returns the numbers of policies: with both answers, and all.
    #[must_use]
    pub fn policies(&self) -> (usize, usize) {
        counts(&self.policies)
    }

    /// Returns the numbers of conditions within policies: with both answers, and all.
    #[must_use]
    pub fn conditions(&self) -> (usize, usize) {
        counts(&self.parts)
    }
}

fn counts(answers: &[(String, Answers)]) -> (usize, usize) {
    (answers.iter().filter(|(_, answers)| answers.is_complete()).count(), answers.len())
}
