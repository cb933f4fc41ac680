//! The report of an import: the outcome for each part of the file.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use serde_json::{Value, json};

use super::draft::Origin;
use super::foreign::Foreign;
use crate::settings::diagnostic::{Position, printable};
use crate::terminal::Paint;

/// Findings of one kind that are shown; further ones are only counted.
const FINDING_COUNT_MAX: usize = 1_000;

/// The outcome for a part of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the result, with the same meaning.
    Carried,
    /// It is in the result, but means something else here.
    Different,
    /// Spansieve does without it.
    NotNeeded,
    /// It is lost.
    NotCarried,
}

impl Outcome {
    /// All outcomes, in the order in which reports list them.
    pub const ALL: [Outcome; 4] = [Outcome::NotCarried, Outcome::Different, Outcome::NotNeeded, Outcome::Carried];

    /// Returns the words for it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Outcome::Carried => "carried",
            Outcome::Different => "different",
            Outcome::NotNeeded => "not needed",
            Outcome::NotCarried => "not carried",
        }
    }
}

/// A part of the file, and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The outcome.
    pub outcome: Outcome,
    /// The path of its key in the file: `processors.batch.timeout`.
    pub from: String,
    /// The line of the key, from 1.
    pub line: usize,
    /// The column of the key, from 1.
    pub column: usize,
    /// The path of the key in the result, if it was carried.
    pub to: Option<String>,
    /// The reason in words, or the difference. Empty for what was carried.
    pub reason: String,
    /// The advice: what to do about it.
    pub help: Option<String>,
}

/// All findings about a file, from top to bottom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    findings: Vec<Finding>,
    /// The number of findings, by outcome as in [`Outcome::ALL`], with those that are too many to be held.
    counts: [usize; 4],
    /// The parts of the file that are dealt with, with all that is in them.
    whole: HashSet<u64>,
    /// The parts of the file that a finding is about, without what is in them.
    touched: HashSet<u64>,
}

/// A state of a report, to which it can go back.
pub(super) struct Mark {
    findings: usize,
    counts: [usize; 4],
}

impl Report {
    /// Returns the findings with this outcome, from top to bottom.
    pub fn of(&self, outcome: Outcome) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.outcome == outcome)
    }

    fn number(outcome: Outcome) -> usize {
        Outcome::ALL.iter().position(|other| *other == outcome).unwrap_or_default()
    }

    /// Returns the number of findings with this outcome.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.counts[Self::number(outcome)]
    }

    pub(super) fn add(&mut self, finding: Finding) {
        let count = &mut self.counts[Self::number(finding.outcome)];
        *count += 1;
        if *count <= FINDING_COUNT_MAX {
            self.findings.push(finding);
        }
    }

    /// Notes that `part`, with all that is in it, is dealt with: other findings or the result tell about it.
    pub(super) fn read(&mut self, part: &Foreign<'_>) {
        self.whole.insert(part.id);
    }

    /// Returns true if findings or the result tell about `part` and all that is in it.
    pub(super) fn tells_all_of(&self, part: &Foreign<'_>) -> bool {
        self.whole.contains(&part.id) || part.is_leaf() && self.touched.contains(&part.id)
    }

    /// Returns true if a finding is about `part`.
    pub(super) fn touches(&self, part: &Foreign<'_>) -> bool {
        self.touched.contains(&part.id)
    }

    /// Notes that the part at `origin` is dealt with.
    pub(super) fn read_origin(&mut self, origin: Option<&Origin>) {
        if let Some(origin) = origin {
            if origin.is_whole { &mut self.whole } else { &mut self.touched }.insert(origin.id);
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { findings: self.findings.len(), counts: self.counts }
    }

    /// Forgets the findings that were added since `mark`.
    pub(super) fn go_back(&mut self, mark: &Mark) {
        self.findings.truncate(mark.findings);
        self.counts = mark.counts;
    }

    /// Says that `part`, and all that is in it, means something else here.
    pub(super) fn different_whole(&mut self, part: &Foreign<'_>, reason: impl Into<String>) {
        self.read(part);
        self.different(part, reason);
    }

    /// Says that `part` means something else here.
    pub(super) fn different(&mut self, part: &Foreign<'_>, reason: impl Into<String>) {
        self.say(Outcome::Different, part, reason.into(), None);
    }

    /// Says that Spansieve does without `part`.
    pub(super) fn not_needed(&mut self, part: &Foreign<'_>, reason: impl Into<String>) {
        self.say(Outcome::NotNeeded, part, reason.into(), None);
    }

    /// Says that `part` is lost, and what to do about it.
    pub(super) fn not_carried(&mut self, part: &Foreign<'_>, reason: impl Into<String>, help: impl Into<String>) {
        self.say(Outcome::NotCarried, part, reason.into(), Some(help.into()));
    }

    fn say(&mut self, outcome: Outcome, part: &Foreign<'_>, reason: String, help: Option<String>) {
        if outcome == Outcome::Different {
            self.touched.insert(part.id);
        } else {
            self.whole.insert(part.id);
        }
        self.add(finding(outcome, &part.path, part.at, reason, help));
    }

    /// Says that parts are in the result, each at a path of it. A difference that was found before keeps its reason.
    pub(super) fn carry(&mut self, carried: &[(Origin, String)]) {
        let mut different: HashMap<String, usize> = HashMap::new();
        for (index, finding) in self.findings.iter().enumerate() {
            if finding.outcome == Outcome::Different {
                different.entry(finding.from.clone()).or_insert(index);
            }
        }
        for (from, to) in carried {
            self.read_origin(Some(from));
            match different.get(&from.path).and_then(|index| self.findings.get_mut(*index)) {
                Some(different) => different.to = Some(to.clone()),
                None => {
                    let carried = finding(Outcome::Carried, &from.path, from.at, String::new(), None);
                    self.add(Finding { to: Some(to.clone()), ..carried });
                }
            }
        }
    }

    /// Forgets the findings about the parts with these paths, and about what is in them.
    pub(super) fn forget_within(&mut self, paths: &HashSet<&str>) {
        let counts = &mut self.counts;
        self.findings.retain(|finding| {
            let is_within = prefixes(&finding.from).any(|prefix| paths.contains(prefix));
            if is_within {
                counts[Self::number(finding.outcome)] -= 1;
            }
            !is_within
        });
    }

    /// Sorts the findings by their place.
    pub(super) fn sort(&mut self) {
        self.findings.sort_by_key(|finding| (finding.line, finding.column));
    }

    /// Returns the report as lines for a terminal: one for each finding that is not carried as it is, with its place in
    /// the file `name`, and one for its advice.
    #[must_use]
    pub fn render(&self, name: &str, paint: Paint) -> String {
        let mut out = String::new();
        for outcome in [Outcome::NotCarried, Outcome::Different, Outcome::NotNeeded] {
            for finding in self.of(outcome) {
                // Writing to a String cannot fail.
                let _ = writeln!(out, "{}", line(finding, name, paint));
                if let Some(help) = &finding.help {
                    let _ = writeln!(out, "  = help: {help}");
                }
            }
        }
        let counts = Outcome::ALL.map(|outcome| format!("{} {}", self.count(outcome), outcome.words()));
        let _ = writeln!(out, "{name}: {}", counts.join(", "));
        out
    }

    /// Returns the findings as JSON, one list for each outcome.
    #[must_use]
    pub fn json(&self) -> Value {
        let list = |outcome| Value::from(self.of(outcome).map(Finding::json).collect::<Vec<_>>());
        json!({
            "carried": list(Outcome::Carried),
            "different": list(Outcome::Different),
            "not_needed": list(Outcome::NotNeeded),
            "not_carried": list(Outcome::NotCarried),
        })
    }
}

impl Finding {
    fn json(&self) -> Value {
        let mut json = json!({"from": self.from, "line": self.line, "column": self.column});
        let texts = [("to", self.to.as_ref()), ("reason", Some(&self.reason)), ("help", self.help.as_ref())];
        for (key, text) in texts.into_iter().filter_map(|(key, text)| Some((key, text?))) {
            if !text.is_empty() {
                json[key] = Value::from(text.as_str());
            }
        }
        json
    }
}

/// Returns a path, and those of all parts that it is in.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.char_indices().filter(|(_, c)| matches!(c, '.' | '[')).map(|(at, _)| at);
    ends.chain([path.len()]).map(|end| &path[..end])
}

/// Returns a finding about the part with the path `from`. Its texts have no line breaks.
pub(super) fn finding(outcome: Outcome, from: &str, at: Position, reason: String, help: Option<String>) -> Finding {
    let one_line = |text: String| text.chars().map(printable).collect();
    let from = if from.is_empty() { "the file" } else { from };
    Finding {
        outcome,
        from: from.to_owned(),
        line: at.line,
        column: at.column,
        to: None,
        reason: one_line(reason),
        help: help.map(one_line),
    }
}

fn line(finding: &Finding, name: &str, paint: Paint) -> String {
    let style = if finding.outcome == Outcome::NotCarried { Paint::YELLOW } else { Paint::BOLD };
    let label = paint.with(style, finding.outcome.words());
    let Finding { line, column, from, reason, .. } = finding;
    format!("{name}:{line}:{column}: {label}: {from}: {reason}")
}
