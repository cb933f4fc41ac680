//! The parts of policies, each by itself: for people who ask which condition holds for which span.
//!
//! A part is a policy that holds no others: one at the top level, or one within `and`, `not`, `drop` or `composite`. A
//! policy for which any of several conditions is enough is split into these. Parts are compiled by the compiler of the
//! policies, so that a condition means the same here and there. A verdict never depends on parts.

use super::compile::Compiler;
use super::expression::{AssumedStates, DecisionInput, Expression};
use super::predicates::Predicates;
use super::settings::{Policy, Rule};
use super::{CompileError, Policies, PolicyError, PolicySet, Summary};
use crate::condition::{Check, Condition, Field, Number, Range, Test};
use crate::otlp::TraceId;
use crate::otlp::scan::Probe;

/// One part of a policy.
#[derive(Clone, Debug)]
pub struct PolicyPart {
    /// The index of the policy at the top level in [`Policies::names`].
    pub policy: u16,
    /// The names from the policy at the top level down to this part. A policy without a name is called by its place, as
    /// in `#2`.
    pub path: Vec<String>,
    /// True if it is one of several conditions each of which is enough.
    pub is_alternative: bool,
    expression: Expression,
}

/// The parts of all policies in the order of the configuration, and then those of shadow policies.
#[derive(Clone, Debug)]
pub struct PolicyParts {
    parts: Vec<PolicyPart>,
    predicates: Predicates,
}

impl PolicyParts {
    /// Compiles the parts of the policies in `set`, which have their numbers in `policies`.
    ///
    /// # Errors
    /// There are more conditions than fit. It does not happen for policies that fit ([`Policies::compile_set`]).
    pub fn compile(set: PolicySet<'_>, policies: &Policies) -> Result<Self, CompileError> {
        // Conditions that are split need more bits.
        PartCompiler::compile(set, policies, true).or_else(|_| PartCompiler::compile(set, policies, false))
    }

    /// Returns the parts.
    #[must_use]
    pub fn parts(&self) -> &[PolicyPart] {
        &self.parts
    }

    /// Returns the conditions that the scan evaluates for each span.
    #[must_use]
    pub fn probe(&self) -> &impl Probe {
        &self.predicates
    }
}

impl PolicyPart {
    /// Returns true if the part holds for the spans of one trace that `summary` describes. Its facts are those of a scan
    /// with [`PolicyParts::probe`]. Returns `None` if the part depends on other traces.
    #[must_use]
    pub fn holds(&self, summary: &Summary, trace_id: TraceId) -> Option<bool> {
        let randomness = summary.randomness(trace_id);
        let assumed = Some(AssumedStates::Pass);
        let input = DecisionInput { summary, randomness, now_ms: 0, members: 1, states: &[], assumed };
        (!self.expression.is_stateful()).then(|| self.expression.evaluate(&input).is_some())
    }

    /// Returns true if the part is about single spans, so that a span alone can be the reason why it holds.
    #[must_use]
    pub fn is_about_spans(&self) -> bool {
        matches!(self.expression, Expression::Fact { .. })
    }
}

/// The parts that are compiled so far.
struct PartCompiler {
    compiler: Compiler,
    parts: Vec<PolicyPart>,
    /// True if each of several alternative conditions becomes a part.
    split: bool,
}

impl PartCompiler {
    fn compile(set: PolicySet<'_>, policies: &Policies, split: bool) -> Result<PolicyParts, CompileError> {
        let mut compiler = PartCompiler { compiler: Compiler::default(), parts: Vec::new(), split };
        for policy in set.policies.iter().chain(set.shadow) {
            let Some(number) = policies.number(&policy.name) else { continue };
            let added = compiler.add(number, &policy.rule, std::slice::from_ref(&policy.name));
            added.map_err(|error| CompileError::Policy { name: policy.name.clone(), error })?;
        }
        Ok(PolicyParts { parts: compiler.parts, predicates: compiler.compiler.predicates })
    }

    fn add(&mut self, policy: u16, rule: &Rule, path: &[String]) -> Result<(), PolicyError> {
        match rule {
            Rule::And(parts) | Rule::Drop(parts) => self.add_all(policy, parts.iter(), path),
            Rule::Not(part) => self.add_all(policy, std::iter::once(part.as_ref()), path),
            Rule::Composite(composite) => self.add_all(policy, composite.policies.iter().map(|(part, _)| part), path),
            Rule::AnySpan(Condition::Any(conditions)) if self.split && conditions.len() > 1 => {
                for (number, condition) in conditions.iter().enumerate() {
                    let rule = Rule::AnySpan(condition.clone());
                    let name = described(condition).unwrap_or_else(|| format!("condition {}", number + 1));
                    self.push(policy, &rule, [path, &[name]].concat(), true)?;
                }
                Ok(())
            }
            rule => self.push(policy, rule, path.to_vec(), false),
        }
    }

    fn add_all<'p>(
        &mut self,
        policy: u16,
        parts: impl Iterator<Item = &'p Policy>,
        path: &[String],
    ) -> Result<(), PolicyError> {
        for (number, part) in parts.enumerate() {
            let name = if part.name.is_empty() { format!("#{}", number + 1) } else { part.name.clone() };
            self.add(policy, &part.rule, &[path, &[name]].concat())?;
        }
        Ok(())
    }

    fn push(&mut self, policy: u16, rule: &Rule, path: Vec<String>, is_alternative: bool) -> Result<(), PolicyError> {
        let expression = self.compiler.expression(rule)?;
        self.parts.push(PolicyPart { policy, path, is_alternative, expression });
        Ok(())
    }
}

/// Returns a short condition in words; `None` if it is not one of the usual ones.
fn described(condition: &Condition) -> Option<String> {
    let Condition::Test(Test { field, check }) = condition else { return None };
    let field = match field {
        Field::Attribute(key) | Field::SpanAttribute(key) => key.clone(),
        Field::ResourceAttribute(key) => format!("resource.{key}"),
        Field::Name => "name".to_owned(),
        Field::StatusCode => "status code".to_owned(),
        _ => return None,
    };
    Some(match check {
        Check::Present => format!("{field} is set"),
        Check::ServerFault => format!("{field} is a fault of the server"),
        Check::Bool(value) => format!("{field} is {value}"),
        Check::OneOf(texts) => match texts.as_slice() {
            [text] => format!("{field} is {text}"),
            _ => return None,
        },
        Check::Number(Range { min, max }) | Check::Numeric(Range { min, max }) => match (min, max) {
            (Some(min), Some(max)) if min == max => format!("{field} is {}", number(min.at)),
            (Some(min), None) if min.inclusive => format!("{field} is {} or more", number(min.at)),
            (None, Some(max)) if max.inclusive => format!("{field} is {} or less", number(max.at)),
            _ => return None,
        },
        _ => return None,
    })
}

fn number(number: Number) -> String {
    match number {
        Number::Int(value) => value.to_string(),
        Number::Double(value) => value.to_string(),
    }
}
