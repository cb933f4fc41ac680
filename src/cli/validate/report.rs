//! The report of `spansieve validate`, as text and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::dollars::{self, Cost};
use super::estimate::Estimate;
use super::series::SeriesCost;
use crate::config::{Diagnostic, Explanation, Severity};

/// All that is found out about a valid configuration.
#[derive(Debug)]
pub(super) struct Report {
    /// One line about its policies and its sink.
    pub(super) summary: String,
    /// Lines about shadow policies, a dry run, and policies that count only for a time.
    pub(super) trials: Vec<String>,
    pub(super) warnings: Vec<Diagnostic>,
    pub(super) explanation: Option<Explanation>,
    pub(super) memory: Option<Estimate>,
    pub(super) costs: Vec<Cost>,
    /// The price of the metrics of spans, if they are on.
    pub(super) series: Option<SeriesCost>,
}

impl Report {
    /// Returns true if the configuration cannot hold the traffic.
    pub(super) fn has_findings(&self) -> bool {
        self.memory.as_ref().is_some_and(|memory| !memory.fits())
    }

    /// Returns the report on `name` as text. Warnings are not in it: they go to standard error.
    pub(super) fn text(&self, name: &str) -> String {
        let mut text = format!("{name}: ok: {}\n", self.summary);
        for trial in &self.trials {
            let _ = writeln!(text, "  {trial}");
        }
        if let Some(explanation) = &self.explanation {
            let _ = write!(text, "\n{}", explained(explanation));
        }
        if let Some(memory) = &self.memory {
            let _ = write!(text, "\n{}", memory.text());
        }
        if !self.costs.is_empty() {
            let _ = write!(text, "\n{}", dollars::text(&self.costs));
        }
        if let Some(series) = &self.series {
            let _ = write!(text, "\n{}", series.text());
        }
        text
    }

    /// Returns the report on `name` as JSON.
    pub(super) fn json(&self, name: &str) -> Value {
        let mut report = json!({
            "configuration": name,
            "valid": true,
            "summary": self.summary,
            "problems": problems(&self.warnings),
        });
        if !self.trials.is_empty() {
            report["trials"] = json!(self.trials);
        }
        if let Some(explanation) = &self.explanation {
            report["explanation"] = explanation_json(explanation);
        }
        if let Some(memory) = &self.memory {
            report["memory"] = memory.json();
        }
        if !self.costs.is_empty() {
            report["costs"] = dollars::json(&self.costs);
        }
        if let Some(series) = &self.series {
            report["span_metrics"] = series.json();
        }
        report
    }
}

/// Returns the report on a configuration that cannot be used as JSON.
pub(super) fn invalid(name: &str, problems_of: &[Diagnostic]) -> Value {
    json!({"configuration": name, "valid": false, "problems": problems(problems_of)})
}

/// Returns the report on a configuration that cannot be read, or whose policies do not fit together, as JSON.
pub(super) fn unreadable(name: &str, message: &str, help: Option<&str>) -> Value {
    let problem = json!({"severity": "error", "message": message, "help": help});
    json!({"configuration": name, "valid": false, "problems": [problem]})
}

fn problems(problems: &[Diagnostic]) -> Value {
    let problem = |problem: &Diagnostic| {
        json!({
            "severity": match problem.severity { Severity::Error => "error", Severity::Warning => "warning" },
            "line": problem.line,
            "column": problem.column,
            "length": problem.length,
            "message": problem.message,
            "help": problem.help,
        })
    };
    problems.iter().map(problem).collect()
}

fn explained(explanation: &Explanation) -> String {
    let mut text = String::new();
    for policy in &explanation.policies {
        let mut sentences = policy.sentences.iter();
        let _ = writeln!(text, "{}: {}", policy.name, sentences.next().map_or("", String::as_str));
        sentences.for_each(|sentence| {
            let _ = writeln!(text, "{sentence}");
        });
    }
    let _ = writeln!(text, "\n{}", explanation.whole.join("\n"));
    text
}

fn explanation_json(explanation: &Explanation) -> Value {
    let policies = explanation.policies.iter().map(|policy| {
        let sentences: Vec<&str> = policy.sentences.iter().map(|sentence| sentence.trim()).collect();
        json!({"name": policy.name, "type": policy.kind, "sentences": sentences})
    });
    json!({"policies": policies.collect::<Vec<_>>(), "whole": explanation.whole})
}
