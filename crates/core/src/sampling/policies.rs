//! The policies of a configuration, compiled.

mod late;

use thiserror::Error;

use super::answer::{Answer, BothAssumptions};
use super::compile::Compiler;
use super::composite::CompositeRule;
use super::expression::{AssumedStates, DecisionInput, Expression};
use super::fleet::{Members, NameMark};
use super::memory::PolicyMemory;
use super::names::NAMES_MAX;
use super::predicates::Predicates;
use super::shadow::{ShadowEffect, ShadowPolicy};
use super::state::PolicyState;
use super::{Keep, Summary, Threshold, Verdict, threshold};
use crate::condition::Condition;
use crate::otlp::TraceId;
use crate::otlp::scan::{Bits, Probe, Scan, SpanFact};
use crate::sampling::settings::{Policy, Rule};

/// The reason why policies cannot be compiled. The operator must change the configuration.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CompileError {
    /// A policy exceeds a limit that it shares with the policies before it, or has a type that is not allowed there.
    #[error("policy \"{name}\" {error}")]
    Policy {
        /// The name of the policy; for a policy within another one, the name of the outer one.
        name: String,
        /// The limit or rule that the policy breaks.
        error: PolicyError,
    },
    /// There are too many names of policies, together with those of earlier configurations of this process.
    #[error(
        "more than {NAMES_MAX} names of policies since the start: restart to forget those that are not used any more"
    )]
    Policies,
    /// The conditions of the metrics of spans exceed a limit alone.
    #[error("`span_metrics` has more conditions than the {max} that it may have with all policies", max = Bits::BITS)]
    Counted,
}

/// The limit or rule that a policy breaks.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PolicyError {
    /// The policies have too many conditions. Each distinct condition on a span takes one bit, and each distinct test
    /// within it may take another one.
    #[error("has more conditions on spans than the {max} that all policies may have together", max = Bits::BITS)]
    Conditions,
    /// The policies have too many distinct keys. Each one takes a slot in the summary of every trace.
    #[error("has a `key` that is one too many for all policies together: use the same `key` in several policies")]
    Keys,
    /// A policy within another one has the type `drop` or `composite`, which is allowed only at the top level.
    #[error("cannot hold a `drop` or a `composite`")]
    Nested,
}

/// The bit of the condition on the spans that are counted.
const COUNTED: Bits = 1;

/// The policies of a configuration, as they are declared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolicySet<'a> {
    /// The policies that decide.
    pub policies: &'a [Policy],
    /// The policies that are only evaluated and counted.
    pub shadow: &'a [Policy],
    /// True if the first policy that keeps a trace is the one that is named.
    pub sample_on_first_match: bool,
    /// The condition on the spans that the metrics of spans count; `None`: that of the policies before these, if there
    /// were any.
    pub counted: Option<&'a Condition>,
}

/// All policies of a configuration, compiled: the conditions for the scan, the rules for a verdict, and their states.
#[derive(Debug)]
pub struct Policies {
    /// The names of all policies since the start, those of earlier configurations of the process included.
    names: Vec<String>,
    /// The marks of these names.
    marks: Vec<NameMark>,
    /// The number of these names that are of the present policies, without shadow policies.
    labels: Vec<u16>,
    shadow_policies: Vec<ShadowPolicy>,
    memories: Vec<PolicyMemory>,
    drop_policies: Vec<DropPolicy>,
    keep_policies: Vec<KeepPolicy>,
    /// The index in `keep_policies` of the only policy whose evidence can decide a trace before it is complete.
    prover: Option<usize>,
    sample_on_first_match: bool,
    /// The condition on the spans that are counted; its bit is [`COUNTED`].
    counted: Option<Condition>,
    /// True if every trace has a chance to be kept.
    keeps_any: bool,
    predicates: Predicates,
    states: Vec<PolicyState>,
    /// The number of instances that share each limit. All policies of a process have the same.
    members: Members,
}

/// A policy of type `drop`.
#[derive(Debug)]
struct DropPolicy {
    policy: u16,
    /// The expression that keeps the traces that this policy does not drop.
    survives: Expression,
}

/// A policy that may keep a trace.
#[derive(Debug)]
struct KeepPolicy {
    policy: u16,
    rule: KeepRule,
}

#[derive(Debug)]
pub(super) enum KeepRule {
    Expression(Expression),
    Composite(CompositeRule),
}

/// The rule of a policy of the top level.
#[derive(Debug)]
pub(super) enum TopRule {
    Keep(KeepRule),
    /// The expression that keeps the traces that the policy does not drop.
    Drop(Expression),
}

impl KeepPolicy {
    fn is_stateful(&self) -> bool {
        match &self.rule {
            KeepRule::Expression(expression) => expression.is_stateful(),
            KeepRule::Composite(_) => true,
        }
    }

    fn can_be_certain(&self) -> bool {
        match &self.rule {
            KeepRule::Expression(expression) => expression.can_be_certain(),
            KeepRule::Composite(_) => true,
        }
    }

    fn is_settled(&self, summary: &Summary) -> bool {
        match &self.rule {
            KeepRule::Expression(expression) => expression.is_settled(summary),
            KeepRule::Composite(_) => false,
        }
    }

    fn keep(&self, trace: &DecisionInput<'_>) -> Option<Keep> {
        match &self.rule {
            KeepRule::Expression(expression) => {
                expression.evaluate(trace).map(|threshold| Keep::new(self.policy, threshold))
            }
            KeepRule::Composite(composite) => composite.keep(trace),
        }
    }
}

impl KeepRule {
    /// Returns the threshold at which the policy keeps the trace if all states answer as `trace` assumes.
    pub(super) fn would_keep(&self, trace: &DecisionInput<'_>) -> Option<Threshold> {
        match self {
            KeepRule::Expression(expression) => expression.evaluate(trace),
            // The allowances are a state, too.
            KeepRule::Composite(composite) => {
                composite.would_keep(trace).filter(|_| trace.assumed == Some(AssumedStates::Pass))
            }
        }
    }
}

impl Policies {
    /// Compiles the policies in the order of the configuration.
    ///
    /// # Errors
    /// There are more conditions, keys or policies than fit, or a `drop` or `composite` is within another policy.
    pub fn compile(policies: &[Policy], sample_on_first_match: bool) -> Result<Self, CompileError> {
        Self::compile_set(PolicySet { policies, shadow: &[], sample_on_first_match, counted: None }, None)
    }

    /// Does the same as [`Policies::compile`] for policies and shadow policies. They take the place of `previous`:
    /// policies of the same name keep their numbers, and those that are the same keep their memory of other traces.
    ///
    /// # Errors
    /// See [`Policies::compile`].
    pub fn compile_set(set: PolicySet<'_>, previous: Option<&Policies>) -> Result<Self, CompileError> {
        let PolicySet { policies, shadow, sample_on_first_match, counted } = set;
        let mut compiled = SetCompiler::after(previous);
        let counted = counted.or_else(|| previous.and_then(|previous| previous.counted.as_ref())).cloned();
        if let Some(counted) = &counted {
            // It comes first, so that its bit is the same whatever the policies are.
            compiled.compiler.predicates.bit(counted).ok_or(CompileError::Counted)?;
        }
        let (mut labels, mut drop_policies, mut keep_policies) = (Vec::new(), Vec::new(), Vec::new());
        for policy in policies {
            compiled.label(&policy.name)?;
        }
        for policy in policies {
            let (policy, rule, own) = compiled.policy(policy, false)?;
            labels.push(policy);
            labels.extend(own);
            match rule {
                TopRule::Drop(survives) => drop_policies.push(DropPolicy { policy, survives }),
                TopRule::Keep(rule) => keep_policies.push(KeepPolicy { policy, rule }),
            }
        }
        let mut shadow_policies = Vec::new();
        for policy in shadow {
            let first = compiled.compiler.states.len();
            let (policy, rule, _) = compiled.policy(policy, true)?;
            shadow_policies.push(ShadowPolicy { policy, rule, states: first..compiled.compiler.states.len() });
        }
        let prover =
            if sample_on_first_match { Some(0) } else { keep_policies.iter().position(KeepPolicy::can_be_certain) };
        let ratio = |policy: &KeepPolicy| matches!(&policy.rule, KeepRule::Expression(rule) if rule.keeps_any());
        let keeps_any = drop_policies.is_empty() && keep_policies.iter().any(ratio);
        let SetCompiler { names, memories, compiler: Compiler { mut predicates, states, .. }, .. } = compiled;
        predicates.set_generation(previous.map_or(0, |previous| previous.generation().wrapping_add(1)));
        Ok(Policies {
            marks: names.iter().map(|name| NameMark::of(name)).collect(),
            names,
            labels,
            shadow_policies,
            memories,
            drop_policies,
            keep_policies,
            prover,
            sample_on_first_match,
            counted,
            keeps_any,
            predicates,
            states,
            members: previous.map(|previous| previous.members.clone()).unwrap_or_default(),
        })
    }

    /// Returns the number of this set of policies: one more than that of its predecessor. Summaries and scans carry it.
    #[must_use]
    #[inline]
    pub fn generation(&self) -> u16 {
        self.predicates.generation()
    }

    /// Returns the same policies with another generation, to plant a fault.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn renumbered(mut self, generation: u16) -> Self {
        self.predicates.set_generation(generation);
        self
    }

    /// Returns the names of the policies that decide, with those of policies within composites.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().filter_map(|&number| self.names.get(usize::from(number))).map(String::as_str)
    }

    /// Returns the names of the shadow policies.
    pub fn shadow_labels(&self) -> impl Iterator<Item = &str> {
        let numbers = self.shadow_policies.iter().map(|shadow| usize::from(shadow.policy));
        numbers.filter_map(|number| self.names.get(number)).map(String::as_str)
    }

    /// Returns the names of the shadow policies, each with the change that it can make to verdicts.
    pub fn shadow_effects(&self) -> impl Iterator<Item = (&str, ShadowEffect)> {
        self.shadow_labels().zip(self.shadow_policies.iter().map(ShadowPolicy::possible_effect))
    }

    /// Calls `found` for each shadow policy that would change `verdict`, the verdict on the trace that `summary`
    /// describes, with its index in [`Policies::names`]. The caller must ask once for each trace.
    #[inline]
    pub fn shadow(
        &self,
        summary: &Summary,
        trace_id: TraceId,
        now_ms: u64,
        verdict: Verdict,
        mut found: impl FnMut(u16, ShadowEffect),
    ) {
        for shadow in &self.shadow_policies {
            let trace = self.trace(summary, trace_id, now_ms);
            let effect = shadow.effect(&trace, verdict);
            if effect == Some(ShadowEffect::Keep) {
                shadow.charge(&self.states, summary.span_count.saturating_mul(self.members()), now_ms);
            }
            effect.into_iter().for_each(|effect| found(shadow.policy, effect));
        }
    }

    /// Returns the names of the policies in the order of the configuration, followed by those of policies within
    /// composites and of shadow policies. The names of earlier configurations of the process stand before them.
    /// [`Keep::policy`] and [`Verdict::DroppedByPolicy`] are indices into them.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the number of a policy of the top level: its index in [`Policies::names`].
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u16> {
        self.names.iter().position(|known| known == name).and_then(|number| u16::try_from(number).ok())
    }

    /// Returns the conditions that the scan evaluates for each span.
    #[must_use]
    pub fn probe(&self) -> &impl Probe {
        &self.predicates
    }

    /// Returns the summary of some spans of one trace. `facts` are from `scan`, which was made of `body` with
    /// [`Policies::probe`].
    #[must_use]
    pub fn summary<'a>(&self, facts: impl Iterator<Item = &'a SpanFact> + Clone, scan: &Scan, body: &[u8]) -> Summary {
        let mut summary = Summary::of_generation(self.generation());
        self.predicates.keys().note(&mut summary, &facts, scan, body);
        facts.for_each(|fact| summary.add(fact));
        summary
    }

    /// Returns the bit of the spans that the metrics of spans count; 0 if there are none. It is the same for all policies
    /// of a process.
    #[must_use]
    #[inline]
    pub fn counted(&self) -> Bits {
        if self.counted.is_some() { COUNTED } else { 0 }
    }

    /// Returns true if the policies keep the trace that `summary` describes with a probability above zero, so that kept
    /// traces stand for it. A policy that remembers other traces counts only if it keeps a ratio of them. A summary that
    /// is stale is taken as one of a trace that may be kept.
    #[must_use]
    pub fn may_keep(&self, summary: &Summary) -> bool {
        if self.keeps_any || summary.generation != self.generation() {
            return true;
        }
        let randomness = threshold::RANDOMNESS_MAX;
        let assumed = Some(AssumedStates::Chance);
        let trace = DecisionInput { summary, randomness, now_ms: 0, members: 1, states: &self.states, assumed };
        self.drop_policies.iter().all(|policy| policy.survives.evaluate(&trace).is_some())
            && self.keep_policies.iter().any(|policy| policy.rule.would_keep(&trace).is_some())
    }

    /// Returns the bytes that a summary takes on the heap.
    #[must_use]
    pub fn summary_heap_bytes(&self) -> usize {
        self.predicates.keys().heap_bytes()
    }

    /// Returns the verdict on the trace that `summary` describes, at `now_ms` of a monotonic clock.
    ///
    /// If several policies keep the trace, the verdict names the least strict one, or the first of those. With
    /// `sample_on_first_match` it names the first policy that keeps the trace. The caller must ask once for each trace,
    /// because this charges limits and changes the states of policies.
    #[must_use]
    pub fn decide(&self, summary: &Summary, trace_id: TraceId, now_ms: u64) -> Verdict {
        self.decide_with_answers(summary, trace_id, now_ms, |_, _| {})
    }

    /// Does the same as [`Policies::decide`], and calls `answered` with the number and the answer of each policy that
    /// the verdict took into account.
    #[inline]
    pub fn decide_with_answers(
        &self,
        summary: &Summary,
        trace_id: TraceId,
        now_ms: u64,
        mut answered: impl FnMut(u16, Answer),
    ) -> Verdict {
        let trace = self.trace(summary, trace_id, now_ms);
        let mut survival = Threshold::ALWAYS;
        for drop_policy in &self.drop_policies {
            let survives = drop_policy.survives.evaluate(&trace);
            answered(drop_policy.policy, Answer::of_drop_policy(survives));
            match survives {
                Some(threshold) => survival = survival.max(threshold),
                None => return Verdict::DroppedByPolicy(drop_policy.policy),
            }
        }
        self.decide_keep(&trace, |_| true, answered)
            .map_or(Verdict::Dropped, |keep| Verdict::Kept(surviving(keep, survival)))
    }

    /// Returns the answers of all policies on the trace that `summary` describes, each with the policy's number, in the
    /// order of the configuration. This changes no state: a policy whose answer depends on other traces is not asked.
    #[must_use]
    pub fn answers(&self, summary: &Summary, trace_id: TraceId) -> Vec<(u16, Answer)> {
        let trace = BothAssumptions::of(self.trace(summary, trace_id, 0));
        let drops = self.drop_policies.iter().map(|drop| (drop.policy, trace.drop_answer(&drop.survives)));
        let keeps = self.keep_policies.iter().map(|keep| (keep.policy, trace.keep_answer(&keep.rule)));
        let mut answers: Vec<_> = drops.chain(keeps).collect();
        // Numbers have the order of the first configuration that had the policy.
        answers.sort_by_cached_key(|(policy, _)| self.labels.iter().position(|label| label == policy));
        answers
    }

    /// Returns the answers of all shadow policies on the trace, as [`Policies::answers`] does for those that decide.
    #[must_use]
    pub fn shadow_answers(&self, summary: &Summary, trace_id: TraceId) -> Vec<(u16, Answer)> {
        let trace = BothAssumptions::of(self.trace(summary, trace_id, 0));
        let answer = |rule: &TopRule| match rule {
            TopRule::Drop(survives) => trace.drop_answer(survives),
            TopRule::Keep(rule) => trace.keep_answer(rule),
        };
        self.shadow_policies.iter().map(|shadow| (shadow.policy, answer(&shadow.rule))).collect()
    }

    /// Returns the verdict if there is evidence: more spans cannot change it, so the trace need not wait.
    ///
    /// It is the verdict that [`Policies::decide`] gives when the trace is complete. So there is none as long as an
    /// earlier policy might still have evidence, or a policy of type `drop` might still drop the trace.
    #[must_use]
    #[inline]
    pub fn proven(&self, summary: &Summary) -> Option<Keep> {
        let prover = self.keep_policies.get(self.prover?)?;
        let is_proven = prover.is_settled(summary)
            && self.drop_policies.iter().all(|drop_policy| drop_policy.survives.is_settled(summary));
        is_proven.then_some(Keep::new(prover.policy, Threshold::ALWAYS))
    }

    /// Charges a kept trace of `spans` spans to the budgets, no matter which policy kept it.
    pub fn kept(&self, spans: u32, now_ms: u64) {
        let spans = spans.saturating_mul(self.members());
        self.states.iter().for_each(|state| state.kept(spans, now_ms));
    }

    /// Returns the number of instances that share each limit.
    pub(super) fn members(&self) -> u32 {
        self.members.get()
    }

    pub(super) fn marks(&self) -> &[NameMark] {
        &self.marks
    }

    pub(super) fn members_ref(&self) -> &Members {
        &self.members
    }

    /// Returns the number of the first policy that keeps traces on evidence; of the first one if there is none.
    pub(super) fn first_certain(&self) -> u16 {
        let certain = self.keep_policies.iter().find(|policy| policy.can_be_certain());
        certain.or(self.keep_policies.first()).map_or(0, |policy| policy.policy)
    }

    /// Returns the maximum bytes that the states of all policies take.
    #[must_use]
    pub fn state_bytes_max(&self) -> usize {
        self.states.iter().map(PolicyState::bytes_max).sum()
    }

    /// Returns the number of spans that a month exports at the present pace. `None` if no policy is a budget, because
    /// only budgets count the kept spans.
    #[must_use]
    pub fn month_estimate(&self, now_ms: u64) -> Option<f64> {
        // The states of shadow policies are the last ones. They count spans that are not exported, too.
        let first_shadow = self.shadow_policies.first().map_or(self.states.len(), |shadow| shadow.states.start);
        self.states[..first_shadow].iter().find_map(|state| state.month_estimate(now_ms))
    }

    fn trace<'a>(&'a self, summary: &'a Summary, trace_id: TraceId, now_ms: u64) -> DecisionInput<'a> {
        let randomness = summary.randomness(trace_id);
        DecisionInput { summary, randomness, now_ms, members: self.members(), states: &self.states, assumed: None }
    }

    /// Returns the verdict of the keep policies for which `asked` returns true; `None` if none of them keeps the trace.
    /// Calls `answered` with their answers.
    #[inline]
    fn decide_keep(
        &self,
        trace: &DecisionInput<'_>,
        asked: impl Fn(&KeepPolicy) -> bool,
        mut answered: impl FnMut(u16, Answer),
    ) -> Option<Keep> {
        let mut best: Option<Keep> = None;
        for keep_policy in self.keep_policies.iter().filter(|keep_policy| asked(keep_policy)) {
            if self.sample_on_first_match && best.is_some() && keep_policy.is_stateful() {
                continue;
            }
            let keep = keep_policy.keep(trace);
            answered(keep_policy.policy, keep.map_or(Answer::KeepsNot, |keep| Answer::Keeps(keep.threshold)));
            let Some(keep) = keep else { continue };
            best = Some(match best {
                // The verdict names the first policy, but the adjusted count depends on all policies that keep the
                // trace.
                Some(first) if self.sample_on_first_match => {
                    Keep { threshold: first.threshold.min(keep.threshold), ..first }
                }
                Some(best) if best.threshold <= keep.threshold => best,
                _ => keep,
            });
        }
        best
    }
}

/// Returns `keep` with the stricter one of its threshold and the threshold `survival` of the policies of type `drop`.
fn surviving(keep: Keep, survival: Threshold) -> Keep {
    Keep { threshold: keep.threshold.max(survival), ..keep }
}

/// Compiles one policy after the other, with the names and the memory of earlier policies.
struct SetCompiler<'p> {
    previous: Option<&'p Policies>,
    names: Vec<String>,
    memories: Vec<PolicyMemory>,
    compiler: Compiler,
}

impl<'p> SetCompiler<'p> {
    fn after(previous: Option<&'p Policies>) -> Self {
        let names = previous.map_or_else(Vec::new, |previous| previous.names.clone());
        SetCompiler { previous, names, memories: Vec::new(), compiler: Compiler::default() }
    }

    /// Returns the number of a name.
    fn label(&mut self, name: &str) -> Result<u16, CompileError> {
        let known = self.names.iter().position(|known| known == name);
        let at = known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        u16::try_from(at).ok().filter(|&at| usize::from(at) < NAMES_MAX).ok_or(CompileError::Policies)
    }

    /// Compiles a policy of the top level. Returns its number, its rule and the numbers of the policies within it that
    /// have labels of their own: those of a composite, unless it is a shadow policy.
    fn policy(&mut self, policy: &Policy, is_shadow: bool) -> Result<(u16, TopRule, Vec<u16>), CompileError> {
        let number = self.label(&policy.name)?;
        let first = self.compiler.states.len();
        let inherited = self.previous.and_then(|previous| {
            previous.memories.iter().find_map(|memory| memory.hand_over(policy, &previous.states))
        });
        self.compiler.inherited = inherited.unwrap_or_default();
        let error = |error| CompileError::Policy { name: policy.name.clone(), error };
        let (mut labels, mut allowances) = (Vec::new(), None);
        let rule = match &policy.rule {
            Rule::Drop(parts) => TopRule::Drop(self.compiler.all(parts).map_err(error)?.negated()),
            Rule::Composite(composite) if is_shadow => {
                let numbers = vec![number; composite.policies.len()];
                TopRule::Keep(KeepRule::Composite(self.compiler.composite(composite, &numbers).map_err(error)?))
            }
            Rule::Composite(composite) => {
                labels = policy.sub_labels().map(|name| self.label(&name)).collect::<Result<_, _>>()?;
                TopRule::Keep(KeepRule::Composite(self.compiler.composite(composite, &labels).map_err(error)?))
            }
            _ => TopRule::Keep(KeepRule::Expression(self.compiler.expression(&policy.rule).map_err(error)?)),
        };
        if let TopRule::Keep(KeepRule::Composite(composite)) = &rule {
            allowances = Some(std::sync::Arc::clone(&composite.allowances));
        }
        self.memories.push(PolicyMemory::new(policy, first..self.compiler.states.len(), allowances));
        Ok((number, rule, labels))
    }
}
