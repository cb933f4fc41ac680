//! OTTL: the boolean expressions of the Collector's `ottl_condition`, compiled to a [`Condition`].
//!
//! `lexer` splits the text into tokens, `grammar` makes a tree of them, and `compile` turns the tree into tests of
//! single fields. A field that is absent or of another type gets the same answer as in OTTL. `general` turns
//! expressions that such tests cannot express into a [`Formula`](super::formula::Formula). An expression that neither
//! can express is an error with its offset; it never just evaluates to false. The documentation for operators is
//! `docs/ottl.md`.
//!
//! Source: pkg/ottl of open-telemetry/opentelemetry-collector-contrib (`grammar.go`, `compare.go`, `LANGUAGE.md`,
//! `ottlfuncs/README.md`, `contexts/ottlspan`, `contexts/ottlspanevent`, `contexts/ottlresource`).

mod answer;
mod compare;
mod compile;
mod function;
mod general;
mod grammar;
mod lexer;
mod path;
mod value;

use thiserror::Error;

use super::Condition;

/// The most bytes of a condition. The longest conditions in public configurations have a few hundred bytes, so a longer
/// one is treated as a mistake.
const TEXT_BYTES_MAX: usize = 4096;

/// The most tests and parts of formulas in a condition, because each of them is evaluated for every span.
const TESTS_MAX: usize = 128;

/// An error in a condition: its place, the reason, and advice.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct OttlError {
    /// The offset of the error in the text, in bytes; at most the length of the text.
    pub offset: usize,
    /// The reason for the error, in lower case and without a full stop.
    pub message: String,
    /// Advice to the operator: the text to write instead.
    pub help: Option<String>,
    /// True if tests of single fields cannot express the condition but a formula may.
    is_beyond_tests: bool,
}

impl OttlError {
    fn new(offset: usize, message: impl Into<String>) -> Self {
        OttlError { offset, message: message.into(), help: None, is_beyond_tests: false }
    }

    fn beyond_tests(self) -> Self {
        OttlError { is_beyond_tests: true, ..self }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The subject of a condition. It decides which paths the condition can use, and to which owner a path without an
/// owner's name belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConditionContext {
    Span,
    Event,
    Resource,
}

/// Compiles a condition on a span (`ottlspan`). The condition can also use the resource and the scope of the span.
///
/// # Errors
/// `text` is not a valid OTTL condition, or a [`Condition`] cannot express it.
pub fn span_condition(text: &str) -> Result<Condition, OttlError> {
    condition(text, ConditionContext::Span)
}

/// Compiles a condition on one of a span's events (`ottlspanevent`) to a [`Condition::AnyEvent`]. The condition can
/// also use the span, its resource and its scope.
///
/// # Errors
/// As for [`span_condition`].
pub fn event_condition(text: &str) -> Result<Condition, OttlError> {
    Ok(Condition::AnyEvent(Box::new(condition(text, ConditionContext::Event)?)))
}

/// Compiles a condition on a resource (`ottlresource`). The bare key of an attribute is accepted, too:
/// `service.name == "x"`.
///
/// # Errors
/// As for [`span_condition`].
pub fn resource_condition(text: &str) -> Result<Condition, OttlError> {
    condition(text, ConditionContext::Resource)
}

fn condition(text: &str, context: ConditionContext) -> Result<Condition, OttlError> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the condition has {} bytes; at most {TEXT_BYTES_MAX} are allowed", text.len());
        return Err(OttlError::new(0, message).help("write several conditions: it is enough if one of them holds"));
    }
    let condition = compile::answer(&grammar::parse(text)?, context)?.yes;
    let tests = tests(&condition);
    if tests > TESTS_MAX {
        let message = format!("the condition has {tests} comparisons; at most {TESTS_MAX} are allowed");
        return Err(OttlError::new(0, message).help("write several conditions, or one regular expression"));
    }
    Ok(condition)
}

/// Counts the tests in a condition and the parts of its formulas.
fn tests(condition: &Condition) -> usize {
    match condition {
        Condition::Constant(_) => 0,
        Condition::Test(_) => 1,
        Condition::Formula(formula) => formula.term.size(),
        Condition::Not(inner) | Condition::AnyEvent(inner) => tests(inner),
        Condition::All(parts) | Condition::Any(parts) => parts.iter().map(tests).sum(),
    }
}

#[cfg(test)]
mod tests;
