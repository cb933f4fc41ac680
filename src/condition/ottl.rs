//! OTTL: the boolean expressions of the Collector's `ottl_condition`, as a [`Condition`].
//!
//! `lexer` makes tokens of the text, `grammar` a tree of them, and `compile` turns that into tests of single fields, with
//! OTTL's own answers for what is absent or of another type. What such tests cannot say, `general` turns into a
//! [`Formula`](super::formula::Formula). What neither can is an error with its place, never a silent false. `docs/ottl.md`
//! tells users.
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

/// Longer conditions are taken for a mistake; the longest seen in public configurations have some hundred bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// A condition asks no more single questions than this, and its formulas have no more parts: each is asked of every span.
const TESTS_MAX: usize = 128;

/// What is wrong with a condition, where, and what to write.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct OttlError {
    /// Where in the text, in bytes; at most its length.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// Tests of single fields cannot say it, but perhaps a formula can.
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

/// What a condition is about: which paths it knows, and whose are those without a context's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
    Span,
    Event,
    Resource,
}

/// A condition on a span (`ottlspan`), which may look at its resource and scope as well.
///
/// # Errors
/// `text` is no OTTL condition, or not one that a [`Condition`] can express.
pub fn span_condition(text: &str) -> Result<Condition, OttlError> {
    condition(text, Context::Span)
}

/// A condition on one of a span's events (`ottlspanevent`), which may look at the span, its resource and scope as well:
/// a [`Condition::AnyEvent`].
///
/// # Errors
/// As for [`span_condition`].
pub fn event_condition(text: &str) -> Result<Condition, OttlError> {
    Ok(Condition::AnyEvent(Box::new(condition(text, Context::Event)?)))
}

/// A condition on a resource (`ottlresource`). The key of an attribute may stand alone as well: `service.name == "x"`.
///
/// # Errors
/// As for [`span_condition`].
pub fn resource_condition(text: &str) -> Result<Condition, OttlError> {
    condition(text, Context::Resource)
}

fn condition(text: &str, context: Context) -> Result<Condition, OttlError> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("a condition of {} bytes; {TEXT_BYTES_MAX} are allowed", text.len());
        return Err(OttlError::new(0, message).help("write several conditions: one that holds is enough"));
    }
    let condition = compile::answer(&grammar::parse(text)?, context)?.yes;
    let tests = tests(&condition);
    if tests > TESTS_MAX {
        let message = format!("a condition of {tests} comparisons; {TESTS_MAX} are allowed");
        return Err(OttlError::new(0, message).help("write several conditions, or one regular expression"));
    }
    Ok(condition)
}

/// How many tests a condition consists of.
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
