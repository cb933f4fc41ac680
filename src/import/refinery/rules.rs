//! Rules in order, as policies of which each decides alone.

use std::collections::HashSet;

use super::condition::{self, Test};
use super::samplers::{self, Keep};
use super::{policy, report_rest};
use crate::import::draft::Item;
use crate::import::foreign::{Foreign, shown};
use crate::import::report::{Outcome, Report};

/// Policies of one rule: one for each way in which earlier rules do not match.
const POLICIES_OF_RULE_MAX: usize = 8;
/// The most rules that are carried: as many as there can be policies.
const RULES_MAX: usize = 256;
/// Bytes of all conditions of the result together; beyond them no further rule is carried.
const TESTS_BYTES_MAX: usize = 256 << 10;
/// Characters of a policy's name.
const NAME_CHARS_MAX: usize = 100;

const KNOWN: [(&str, Outcome, &str); 1] =
    [("Summarize", Outcome::NotNeeded, "dropped traces are counted in the metrics")];

/// A rule: the traces that it is about, and those of them that it keeps.
pub(super) struct Rule<'a> {
    name: String,
    /// Tests that must all hold; without one the rule is about every trace.
    tests: Vec<Test>,
    keep: Keep,
    part: Option<Foreign<'a>>,
}

impl<'a> Rule<'a> {
    /// Returns the rule in `part`; `None`, and a report, if it cannot be carried.
    pub(super) fn of(part: &Foreign<'a>, report: &mut Report) -> Option<Self> {
        let mark = report.mark();
        match Rule::read(part, report) {
            Ok(rule) => Some(rule),
            Err(reason) => {
                report.go_back(&mark);
                report.not_carried(
                    part,
                    reason,
                    "its traces are decided by the rules after it: write a policy in its place",
                );
                None
            }
        }
    }

    /// Returns a rule about every trace.
    pub(super) fn of_all(name: &str, keep: Keep, part: Option<Foreign<'a>>) -> Self {
        Rule { name: name.to_owned(), tests: Vec::new(), keep, part }
    }

    fn read(part: &Foreign<'a>, report: &mut Report) -> Result<Self, String> {
        let is_span = match part.filled("Scope").map(|scope| scope.text()) {
            None | Some(Some("trace")) => false,
            Some(Some("span")) => true,
            Some(_) => return Err("its `Scope` is neither `span` nor `trace`".to_owned()),
        };
        let conditions = part.get("Conditions").map(|list| list.items()).unwrap_or_default();
        let tests = condition::tests(&conditions, is_span)?;
        for (condition, reason) in conditions.iter().filter_map(|one| Some((one, condition::difference(one)?))) {
            report.different(condition, reason);
        }
        let keep = keep(part, report)?;
        report_rest(part, &["Name", "SampleRate", "Drop", "Scope", "Conditions", "Sampler"], &KNOWN, report);
        let name = part.get("Name").and_then(|name| name.text()).map(shown).filter(|name| !name.trim().is_empty());
        Ok(Rule { name: name.unwrap_or_else(|| "rule".to_owned()), tests, keep, part: Some(part.clone()) })
    }

    /// Returns true if a trace that this rule is about could be kept by `later` although this rule would not keep it.
    fn excludes(&self, later: &Rule<'_>) -> bool {
        match (&self.keep, &later.keep) {
            (Keep::All, _) | (_, Keep::None) => false,
            // Ratios are of the same randomness, so the smaller one keeps a part of the larger one.
            (Keep::Ratio(own), Keep::Ratio(later)) => later > own,
            _ => true,
        }
    }
}

/// Returns what the rule keeps of its traces (refinery `sample/rules.go`): its sampler's part, or nothing, or a ratio. A
/// rule without a rate keeps nothing.
fn keep(part: &Foreign<'_>, report: &mut Report) -> Result<Keep, String> {
    if let Some(sampler) = part.filled("Sampler") {
        return samplers::keep(&sampler, report);
    }
    if part.get("Drop").and_then(|drop| drop.boolean()) == Some(true) {
        return Ok(Keep::None);
    }
    let rate = part.get("SampleRate").and_then(|rate| rate.count());
    if rate.unwrap_or(0) == 0 {
        report.different(part, "without a `SampleRate` it keeps nothing, as in Refinery");
    }
    Ok(samplers::ratio(rate.unwrap_or(0)))
}

/// Returns the policies for rules that are asked in this order. A trace without a matching rule is kept.
pub(super) fn policies(mut rules: Vec<Rule<'_>>, report: &mut Report) -> Vec<Item> {
    if let Some(last) = rules.iter().position(|rule| rule.tests.is_empty()) {
        for never in rules.drain(last + 1..).filter_map(|rule| rule.part) {
            report.not_needed(&never, "a rule before it is about every trace, so it is never asked");
        }
    } else {
        rules.push(Rule::of_all("no rule matched", Keep::All, None));
    }
    for over in rules.iter().skip(RULES_MAX).filter_map(|rule| rule.part.as_ref()) {
        report.not_carried(over, "there are more rules than policies", "combine some of them");
    }
    rules.truncate(RULES_MAX);
    let mut maker = Maker { names: HashSet::new(), bytes_left: TESTS_BYTES_MAX, items: Vec::new(), report };
    let drops = rules.iter().take_while(|rule| matches!(rule.keep, Keep::None)).count();
    for (index, rule) in rules.iter().enumerate() {
        // A `drop` policy comes before all others, as these rules do.
        if index < drops {
            maker.drop(rule);
        } else {
            maker.keep(rule, &rules[drops..index]);
        }
    }
    maker.items
}

struct Maker<'r> {
    names: HashSet<String>,
    bytes_left: usize,
    items: Vec<Item>,
    report: &'r mut Report,
}

impl Maker<'_> {
    /// Adds a `drop` policy. A rule that drops all needs none, as nothing else is kept then.
    fn drop(&mut self, rule: &Rule<'_>) {
        let tests: Vec<&Test> = rule.tests.iter().collect();
        if tests.is_empty() {
            if let Some(part) = &rule.part {
                self.report.not_needed(part, "what no policy keeps is dropped");
            }
        } else if self.spend(rule, &tests) {
            let parts = tests.iter().map(|test| test.policy("")).collect();
            let name = self.unique(&rule.name);
            let section = Item::map(vec![("drop_sub_policy", Item::list(parts))]);
            self.add(rule, policy(&name, "drop", Some(section)));
        }
    }

    /// Adds the policies for a rule with other rules before it.
    fn keep(&mut self, rule: &Rule<'_>, earlier: &[Rule<'_>]) {
        if matches!(rule.keep, Keep::None) {
            if let Some(part) = &rule.part {
                self.report.different_whole(part, "the policies of the rules after it exclude its traces");
            }
            return;
        }
        let is_adaptive = matches!(rule.keep, Keep::Adaptive(_));
        let excluded: Vec<&Rule<'_>> = earlier.iter().filter(|other| other.excludes(rule)).collect();
        let ways = excluded.iter().fold(1_usize, |ways, other| ways.saturating_mul(other.tests.len()));
        let max = if is_adaptive { 1 } else { POLICIES_OF_RULE_MAX };
        let own: Vec<Test> = rule.tests.clone();
        if ways > max {
            if let Some(part) = &rule.part {
                let reason =
                    "traces of earlier rules with several conditions are not excluded: it may keep more of them";
                self.report.different(part, reason);
            }
            let single: Vec<Vec<Test>> = excluded.iter().filter(|o| o.tests.len() == 1).map(|o| negated(o)).collect();
            let tests: Vec<Test> = own.into_iter().chain(single.into_iter().flatten()).collect();
            return self.keep_one(rule, &tests);
        }
        for way in combinations(&excluded) {
            let tests: Vec<Test> = own.iter().cloned().chain(way).collect();
            self.keep_one(rule, &tests);
        }
    }

    fn keep_one(&mut self, rule: &Rule<'_>, tests: &[Test]) {
        let tests: Vec<&Test> = tests.iter().collect();
        if !self.spend(rule, &tests) {
            return;
        }
        let name = self.unique(&rule.name);
        let rate = match &rule.keep {
            Keep::All | Keep::None => None,
            Keep::Ratio(percent) => {
                let section = Item::map(vec![("sampling_percentage", Item::yaml(format!("{percent}%")))]);
                Some(("probabilistic", section))
            }
            Keep::Adaptive(section) => Some(("adaptive", section.clone())),
        };
        let item = match (tests.as_slice(), rate) {
            ([], None) => policy(&name, "always_sample", None),
            ([], Some((kind, section))) => policy(&name, kind, Some(section)),
            ([only], None) => only.policy(&name),
            (tests, rate) => {
                let parts = tests.iter().map(|test| test.policy(""));
                let parts = parts.chain(rate.map(|(kind, section)| policy("", kind, Some(section)))).collect();
                policy(&name, "and", Some(Item::map(vec![("and_sub_policy", Item::list(parts))])))
            }
        };
        self.add(rule, item);
    }

    fn add(&mut self, rule: &Rule<'_>, item: Item) {
        self.items.push(match &rule.part {
            Some(part) => item.from(part),
            None => item.unit().remark("a trace that no rule matches is kept"),
        });
    }

    /// Counts the bytes of the tests. Returns false, with a report, if there are too many.
    fn spend(&mut self, rule: &Rule<'_>, tests: &[&Test]) -> bool {
        let bytes = tests.iter().map(|test| test.bytes()).sum();
        match self.bytes_left.checked_sub(bytes) {
            Some(left) => {
                self.bytes_left = left;
                true
            }
            None => {
                if let Some(part) = &rule.part {
                    self.report.not_carried(part, "the conditions are too long together", "combine some of the rules");
                }
                false
            }
        }
    }

    /// Returns `name`, with a number if there is such a policy already.
    fn unique(&mut self, name: &str) -> String {
        let name: String = name.trim().chars().take(NAME_CHARS_MAX).collect();
        let numbered = (2..).map(|number| format!("{name} ({number})"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !self.names.contains(name));
        let free = free.unwrap_or(name);
        self.names.insert(free.clone());
        free
    }
}

fn negated(rule: &Rule<'_>) -> Vec<Test> {
    rule.tests.iter().map(Test::negated).collect()
}

/// Returns the ways in which none of the rules matches: of each rule one test does not hold.
fn combinations(rules: &[&Rule<'_>]) -> Vec<Vec<Test>> {
    rules.iter().fold(vec![Vec::new()], |ways, rule| {
        let tests = negated(rule);
        ways.iter()
            .flat_map(|way| tests.iter().map(|test| way.iter().cloned().chain([test.clone()]).collect()))
            .collect()
    })
}
