//! The reference for verdicts: reads the rules of a scenario from top to bottom.

use super::scenario::{Kind, Rule, Scenario};
use crate::otlp::TraceId;
use crate::sampling::{Keep, PolicyNames, Threshold, Verdict, threshold};

const MS: u64 = 1_000_000;
/// The time at which traces begin, in nanoseconds since 1970.
const EPOCH: u64 = 1_700_000_000_000 * MS;

impl Kind {
    /// Returns start and end, in nanoseconds since 1970.
    pub(super) fn times(self) -> (u64, u64) {
        match self {
            Kind::Timeless => (0, 0),
            Kind::Ancient => (86_400_000 * MS, 86_400_010 * MS),
            Kind::Later => (EPOCH + 1_200 * MS, EPOCH + 1_210 * MS),
            Kind::Slow => (EPOCH, EPOCH + 1_500 * MS),
            _ => (EPOCH, EPOCH + 10 * MS),
        }
    }
}

/// The facts of some spans of one trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    pub(super) spans: u64,
    pub(super) root: bool,
    error: bool,
    paid: bool,
    probe: bool,
    /// All starts and ends that are set.
    times: Vec<u64>,
}

impl Facts {
    pub(super) fn add(&mut self, kind: Kind) {
        self.spans += 1;
        self.root |= kind == Kind::Root;
        self.error |= kind == Kind::Error;
        self.paid |= kind == Kind::Paid;
        self.probe |= kind == Kind::Probe;
        let (start, end) = kind.times();
        self.times.extend([start, end].iter().filter(|&&time| time != 0));
    }

    pub(super) fn and(&self, other: &Facts) -> Facts {
        Facts {
            spans: self.spans + other.spans,
            root: self.root || other.root,
            error: self.error || other.error,
            paid: self.paid || other.paid,
            probe: self.probe || other.probe,
            times: [&self.times[..], &other.times].concat(),
        }
    }

    /// Returns true if the trace is so large that it waits for no more spans.
    pub(super) fn is_full(&self, scenario: &Scenario) -> bool {
        self.spans >= scenario.spans_max as u64
    }

    fn slow(&self) -> bool {
        let (first, last) = (self.times.iter().min(), self.times.iter().max());
        first.zip(last).is_some_and(|(first, last)| last - first >= 1_000 * MS)
    }
}

/// The rules in force.
#[derive(Clone, Copy)]
pub(super) struct Law<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) rules: &'a [Rule],
    pub(super) names: &'a PolicyNames,
}

impl Law<'_> {
    /// Returns the number of the policy of a rule.
    fn number(&self, rule: Rule) -> u16 {
        self.names.position(|name| name == rule.name()).expect("a policy that was in force")
    }

    fn randomness(&self, trace: usize) -> u64 {
        let (id, explicit) = self.scenario.traces[trace];
        explicit.unwrap_or_else(|| threshold::randomness(TraceId(id)))
    }

    fn ratio(&self, trace: usize, percent: u8) -> Option<Threshold> {
        let threshold = Threshold::from_percent(f64::from(percent));
        (self.randomness(trace) >= threshold.get()).then_some(threshold)
    }

    /// Returns the verdict of the rules that do not depend on other traces.
    pub(super) fn verdict(&self, trace: usize, facts: &Facts) -> Verdict {
        if facts.probe && self.rules.contains(&Rule::NoProbes) {
            return Verdict::DroppedByPolicy(self.number(Rule::NoProbes));
        }
        let votes = self.rules.iter().filter_map(|rule| {
            let threshold = match rule {
                Rule::Errors if facts.error => Some(Threshold::ALWAYS),
                Rule::Slow if facts.slow() => Some(Threshold::ALWAYS),
                Rule::Ratio(percent) => self.ratio(trace, *percent),
                Rule::PaidRatio(percent) if facts.paid => self.ratio(trace, *percent),
                _ => None,
            };
            threshold.map(|threshold| Keep::new(self.number(*rule), threshold))
        });
        let votes = votes.collect::<Vec<_>>();
        // The vote with the lowest threshold. `min_by_key` takes the first of equal ones.
        let Some(best) = votes.iter().min_by_key(|keep| keep.threshold) else { return Verdict::Dropped };
        let named = if self.scenario.first_match { &votes[0] } else { best };
        Verdict::Kept(Keep::new(named.policy, best.threshold))
    }

    /// Returns true if a trace with these facts may be kept with this verdict, either at its decision or by a rescue.
    pub(super) fn admits(&self, trace: usize, facts: &Facts, keep: Keep) -> bool {
        let limited = self.rules.iter().any(|rule| matches!(rule, Rule::Limit(_)));
        match self.verdict(trace, facts) {
            Verdict::DroppedByPolicy(_) => false,
            Verdict::Kept(expected) if (expected.policy, expected.threshold) == (keep.policy, keep.threshold) => true,
            // A limiter may vote, too, and its vote depends on other traces.
            Verdict::Kept(expected) if limited => keep.threshold <= expected.threshold,
            Verdict::Dropped => {
                self.rules.iter().any(|rule| matches!(rule, Rule::Limit(_)) && self.number(*rule) == keep.policy)
            }
            Verdict::Kept(_) => false,
        }
    }

    /// Returns the verdict that late spans of a trace leave with after it was kept with `first`: their own evidence, if
    /// that has a lower threshold.
    pub(super) fn amended(&self, first: Keep, late: &Facts) -> Keep {
        let proof = self.proof(late).filter(|proof| proof.threshold < first.threshold);
        proof.map_or(first, |proof| Keep { policy: proof.policy, threshold: proof.threshold, ..first })
    }

    /// Returns the verdict for which late spans are evidence by themselves.
    pub(super) fn proof(&self, facts: &Facts) -> Option<Keep> {
        if facts.probe && self.rules.contains(&Rule::NoProbes) {
            return None;
        }
        let proves = |rule: &Rule| match rule {
            Rule::Errors => facts.error,
            Rule::Slow => facts.slow(),
            _ => false,
        };
        let policy = self.number(*self.rules.iter().find(|rule| proves(rule))?);
        Some(Keep { rescued: true, ..Keep::new(policy, Threshold::ALWAYS) })
    }
}
