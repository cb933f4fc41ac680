//! Reads a draft with Spansieve's own reader, and takes out what that refuses.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::draft::{Draft, Origin, Written};
use super::foreign::{Foreign, shown};
use super::kind::ForeignKind;
use super::report::{Outcome, Report, finding};
use super::{scalar, unread};
use crate::config::{ConfigError, Diagnostic, Files, Loaded, Severity, load_with_files};
use crate::sampling::Policies;
use crate::settings::diagnostic::{Position, SettingError};

/// Bytes of a configuration, as its reader has it.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// The number of times that a draft is read with other values of its variables. After that they keep their values.
const TRIAL_COUNT_MAX: usize = 200;
/// Values that stand for a variable of which only the name is known: one for each kind of setting.
const STAND_INS: [&str; 14] = [
    "10",
    "10s",
    "true",
    "127.0.0.1:4317",
    "127.0.0.1:4318",
    "https://example.com",
    "http://127.0.0.1:4317",
    "64MiB",
    "50%",
    "ERROR",
    "info",
    "json",
    "upsert",
    "name == \"a\"",
];
/// The number of times that a draft is read to find the single values that are refused. After that, whole sections are
/// taken out.
const ROUND_COUNT_MAX: usize = 32;

/// A configuration that Spansieve's reader takes.
pub(super) struct Settled {
    pub(super) text: String,
    /// The variables without a default, each with a value that its settings take.
    pub(super) variables: Vec<(String, &'static str)>,
}

/// Takes out of `draft` what the reader refuses, writes the rest, and adds to `report` what is in it and what is not.
///
/// # Errors
/// The configuration would be too long.
pub(super) fn settle(
    mut draft: Draft,
    report: &mut Report,
    (kind, root): (ForeignKind, &Foreign<'_>),
    name: &str,
    files: Files<'_>,
) -> Result<Settled, Diagnostic> {
    let mut values = StandIns::default();
    let mut refused = Vec::new();
    let mut rounds = 0;
    let (written, loaded) = loop {
        rounds += 1;
        let written = draft.written();
        if written.text.len() > TEXT_BYTES_MAX {
            return Err(unusable(&format!("the configuration would be longer than {TEXT_BYTES_MAX} bytes")));
        }
        match read(&written, &values, files) {
            Ok(Ok(loaded)) => break (written, loaded),
            Ok(Err(problem)) => {
                let origin = draft.refuse_last_policy(&problem.message).ok_or_else(|| unusable(&problem.message))?;
                refused.push(Refused { origin, problem });
            }
            Err(error) => {
                values.advanced.clear();
                for (unit, problem) in by_unit(&error, &written, rounds > ROUND_COUNT_MAX) {
                    take_out(&mut draft, &written, (unit, problem), &mut values, &mut refused)?;
                }
            }
        }
    };
    tell(report, &mut draft, &written, &loaded, &refused);
    unread::report(root, report);
    report.sort();
    let variables: BTreeSet<&str> = live_lines(&written.text).flat_map(scalar::variables).collect();
    let variables: Vec<_> = variables.into_iter().map(|name| (name.to_owned(), values.of(name))).collect();
    Ok(Settled { text: with_comments(written.text, report, kind, name, &variables), variables })
}

/// Reads a draft as the daemon does. The inner error is about all policies together.
fn read(written: &Written, values: &StandIns, files: Files<'_>) -> Result<Result<Loaded, Diagnostic>, ConfigError> {
    let needed: HashSet<&str> = live_lines(&written.text).flat_map(scalar::variables).collect();
    let value = |name: &str| needed.contains(name).then(|| values.of(name).to_owned());
    let loaded = load_with_files(&written.text, &value, files)?;
    Ok(compile(&loaded).map(|()| loaded))
}

/// Returns the first error of each unit: further ones may go away with it. With `outermost`, units are whole sections.
fn by_unit<'a>(error: &'a ConfigError, written: &Written, outermost: bool) -> Vec<(Option<usize>, &'a Diagnostic)> {
    let mut done = HashSet::new();
    let errors = error.iter().filter(|problem| problem.severity == Severity::Error);
    let units = errors.map(|problem| {
        let unit = written.unit_at(problem.line);
        (if outermost { unit.map(|unit| written.outermost(unit)) } else { unit }, problem)
    });
    units.filter(|(unit, _)| done.insert(*unit)).collect()
}

fn unusable(message: &str) -> Diagnostic {
    let start = Position { line: 1, column: 1, length: 1 };
    SettingError::new(message).help("import the part that is about traces").error(start)
}

/// Values of the variables. Each begins with the first stand-in, and gets the next one while its setting refuses it.
#[derive(Default)]
struct StandIns {
    indices: HashMap<String, usize>,
    /// The variables that have got another value since the draft was last read.
    advanced: HashSet<String>,
    trials: usize,
    /// The problems of units that are not about the stand-ins of their variables.
    own_problems: HashMap<usize, Diagnostic>,
}

impl StandIns {
    fn of(&self, variable: &str) -> &'static str {
        STAND_INS[self.indices.get(variable).copied().unwrap_or(0)]
    }

    /// Remembers a problem of a unit with these `lines`, if it is not about the values that stand for its variables.
    fn remember<'a>(&mut self, unit: usize, lines: impl Iterator<Item = &'a str>, problem: &Diagnostic) {
        let is_about_value = |name: &str| problem.message.contains(self.of(name));
        if !self.own_problems.contains_key(&unit) && !lines.flat_map(scalar::variables).any(is_about_value) {
            self.own_problems.insert(unit, problem.clone());
        }
    }

    /// Returns the problem of a unit with these `lines` in words of the file, which has no stand-ins.
    fn in_words_of_file<'a>(
        &self,
        unit: Option<usize>,
        lines: impl Iterator<Item = &'a str>,
        problem: &Diagnostic,
    ) -> Diagnostic {
        let variables: BTreeSet<&str> = lines.flat_map(scalar::variables).collect();
        if variables.is_empty() {
            return problem.clone();
        }
        if let Some(own) = unit.and_then(|unit| self.own_problems.get(&unit)) {
            return own.clone();
        }
        let names = variables.into_iter().map(|name| format!("`${{env:{name}}}`")).collect::<Vec<_>>().join(", ");
        let message = format!("its value depends on {names}, and none of the values that were tried can be used here");
        let help = Some("write the value itself".to_owned());
        Diagnostic { message, help, ..problem.clone() }
    }

    /// Gives the variables in `lines` their next values. Returns false if none has another one.
    fn advance<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> bool {
        let variables: BTreeSet<&str> = lines.flat_map(scalar::variables).collect();
        self.trials += 1;
        let mut is_new = false;
        for variable in variables {
            let index = self.indices.entry(variable.to_owned()).or_default();
            if self.advanced.contains(variable) {
                is_new = true;
            } else if *index + 1 < STAND_INS.len() && self.trials <= TRIAL_COUNT_MAX {
                *index += 1;
                self.advanced.insert(variable.to_owned());
                is_new = true;
            }
        }
        is_new
    }
}

/// A unit that was taken out, and where it comes from.
struct Refused {
    origin: Option<Origin>,
    problem: Diagnostic,
}

/// Takes out the unit that `problem` is about, or changes the values of its variables.
fn take_out(
    draft: &mut Draft,
    written: &Written,
    (mut unit, problem): (Option<usize>, &Diagnostic),
    values: &mut StandIns,
    refused: &mut Vec<Refused>,
) -> Result<(), Diagnostic> {
    if let Some(unit) = unit {
        values.remember(unit, written.lines(unit), problem);
        if values.advance(written.lines(unit)) {
            return Ok(());
        }
    }
    let lines = unit.into_iter().flat_map(|unit| written.lines(unit));
    let problem = &values.in_words_of_file(unit, lines, problem);
    while let Some(number) = unit {
        if let Some(origin) = draft.refuse(number, &problem.message) {
            refused.push(Refused { origin, problem: problem.clone() });
            return Ok(());
        }
        // It was taken out before: what stands in its place is refused.
        unit = written.parent(number);
    }
    Err(unusable(&format!("the configuration would not be valid: {}", problem.message)))
}

/// Compiles the policies as the daemon does: all of them together may exceed a limit.
fn compile(loaded: &Loaded) -> Result<(), Diagnostic> {
    let settings = &loaded.settings.tail_sampling;
    let compiled = Policies::compile(&settings.policies, settings.sample_on_first_match);
    compiled.map(drop).map_err(|error| SettingError::new(error.to_string()).error(Position::default()))
}

/// Adds to the report what was carried, what was taken out, and the warnings of the reader.
fn tell(report: &mut Report, draft: &mut Draft, written: &Written, loaded: &Loaded, refused: &[Refused]) {
    let paths = refused.iter().filter_map(|refused| Some(refused.origin.as_ref()?.path.as_str())).collect();
    report.forget_within(&paths);
    for Refused { origin, problem } in refused {
        let path = origin.as_ref().map_or("", |origin| origin.path.as_str());
        let at = origin.as_ref().map(|origin| origin.at).unwrap_or_default();
        report.add(finding(Outcome::NotCarried, path, at, problem.message.clone(), problem.help.clone()));
        report.read_origin(origin.as_ref());
    }
    let mut carried = Vec::new();
    draft.each_carried(&mut |origin, path| carried.push((origin.clone(), path.to_owned())));
    report.carry(&carried);
    for warning in &loaded.warnings {
        let unit = written.unit_at(warning.line);
        // The value of a variable is not known, so a warning is about the one that stands for it.
        if unit.is_some_and(|unit| written.lines(unit).any(|line| scalar::variables(line).next().is_some())) {
            continue;
        }
        let origin = unit.and_then(|unit| draft.origin(unit));
        let path = origin.as_ref().map_or("", |origin| origin.path.as_str());
        let at = origin.as_ref().map(|origin| origin.at).unwrap_or_default();
        let reason = format!("`spansieve validate` warns: {}", warning.message);
        report.add(finding(Outcome::Different, path, at, reason, warning.help.clone()));
    }
}

fn live_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with('#'))
}

/// Returns the text with a head that says where it comes from, and an end that says what is not in it.
fn with_comments(text: String, report: &Report, kind: ForeignKind, name: &str, variables: &[(String, &str)]) -> String {
    let mut head = format!("# Imported from {}, {}, by `spansieve import`.\n", shown(name), kind.file());
    head += "# Comments name the keys of that file. `spansieve validate` checks this one.\n";
    if !variables.is_empty() {
        head += &format!("# These environment variables must be set: {}.\n", names(variables));
    }
    let parts = [("Not carried", Outcome::NotCarried), ("What means something else here", Outcome::Different)];
    let end: String = parts.into_iter().map(|(title, outcome)| listed(report, title, outcome)).collect();
    let whole = format!("{head}\n{text}{end}");
    if whole.len() <= TEXT_BYTES_MAX { whole } else { text }
}

fn names(variables: &[(String, &str)]) -> String {
    variables.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
}

fn listed(report: &Report, title: &str, outcome: Outcome) -> String {
    let mut out = String::new();
    for (index, finding) in report.of(outcome).enumerate() {
        if index == 0 {
            out += &format!("\n# {title}:\n");
        }
        out += &format!("# - {} (line {}): {}\n", finding.from, finding.line, finding.reason);
    }
    out
}
