//! The policies of a configuration, compiled.

use thiserror::Error;

use super::compile::Compiler;
use super::composite::Composite;
use super::expression::{Expression, Trace};
use super::predicates::Predicates;
use super::state::State;
use super::{Keep, Summary, Threshold, Verdict};
use crate::config::settings::{Rule, TailSampling};
use crate::otlp::TraceId;
use crate::otlp::scan::{Bits, Probe, Scan, SpanFact};

/// Why policies cannot be compiled. Only the configuration can mend it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CompileError {
    /// One of them does not fit beside those before it.
    #[error("policy \"{name}\" {misfit}")]
    Policy {
        /// Its name, or that of the one that it stands in.
        name: String,
        /// What does not fit.
        misfit: Misfit,
    },
    /// [`Keep::policy`] is 16 bits wide.
    #[error("more than {max} policies", max = u16::MAX)]
    Policies,
}

/// What of a policy does not fit.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Misfit {
    /// Each distinct condition on a span takes one bit, and the tests within it some more.
    #[error("asks more of spans than the {max} conditions that all policies share", max = Bits::BITS)]
    Conditions,
    /// Each distinct key takes a slot of every trace.
    #[error("has one `key` more than all policies may have together: let some have the same")]
    Keys,
    /// Its type stands at the top level only.
    #[error("cannot hold a `drop` or a `composite`")]
    Nested,
}

/// All policies of a configuration: what the scan evaluates, the verdict over a summary, and what they remember.
#[derive(Debug)]
pub struct Policies {
    names: Vec<String>,
    vetoes: Vec<Veto>,
    voters: Vec<Voter>,
    /// The one of `voters` whose proof is the verdict before the trace is whole.
    prover: Option<usize>,
    sample_on_first_match: bool,
    predicates: Predicates,
    states: Vec<State>,
}

/// A policy of type `drop`.
#[derive(Debug)]
struct Veto {
    policy: u16,
    /// What a trace must be to survive it.
    survives: Expression,
}

/// A policy that may keep a trace.
#[derive(Debug)]
struct Voter {
    policy: u16,
    voice: Voice,
}

#[derive(Debug)]
enum Voice {
    Expression(Expression),
    Composite(Composite),
}

impl Voter {
    fn is_stateful(&self) -> bool {
        match &self.voice {
            Voice::Expression(expression) => expression.is_stateful(),
            Voice::Composite(_) => true,
        }
    }

    fn can_be_certain(&self) -> bool {
        match &self.voice {
            Voice::Expression(expression) => expression.can_be_certain(),
            Voice::Composite(_) => true,
        }
    }

    fn is_settled(&self, summary: &Summary) -> bool {
        match &self.voice {
            Voice::Expression(expression) => expression.is_settled(summary),
            Voice::Composite(_) => false,
        }
    }

    fn vote(&self, trace: &Trace<'_>) -> Option<Keep> {
        match &self.voice {
            Voice::Expression(expression) => {
                expression.evaluate(trace).map(|threshold| Keep::new(self.policy, threshold))
            }
            Voice::Composite(composite) => composite.vote(trace),
        }
    }
}

impl Policies {
    /// Compiles the policies, in their order.
    ///
    /// # Errors
    /// More conditions, keys or policies than fit.
    pub fn compile(settings: &TailSampling) -> Result<Self, CompileError> {
        let policies = &settings.policies;
        let sample_on_first_match = settings.sample_on_first_match;
        let mut names: Vec<String> = policies.iter().map(|policy| policy.name.clone()).collect();
        let (mut vetoes, mut voters) = (Vec::new(), Vec::new());
        let mut compiler = Compiler::default();
        for (index, policy) in policies.iter().enumerate() {
            let number = u16::try_from(index).map_err(|_| CompileError::Policies)?;
            let misfit = |misfit| CompileError::Policy { name: policy.name.clone(), misfit };
            let voice = match &policy.rule {
                Rule::Drop(parts) => {
                    vetoes.push(Veto { policy: number, survives: compiler.all(parts).map_err(misfit)?.negated() });
                    continue;
                }
                Rule::Composite(composite) => {
                    let first_label = u16::try_from(names.len()).map_err(|_| CompileError::Policies)?;
                    names.extend(policy.sub_labels());
                    Voice::Composite(compiler.composite(composite, first_label).map_err(misfit)?)
                }
                _ => Voice::Expression(compiler.expression(&policy.rule).map_err(misfit)?),
            };
            voters.push(Voter { policy: number, voice });
        }
        u16::try_from(names.len()).map_err(|_| CompileError::Policies)?;
        let prover = if sample_on_first_match { Some(0) } else { voters.iter().position(Voter::can_be_certain) };
        let Compiler { predicates, states } = compiler;
        Ok(Policies { names, vetoes, voters, prover, sample_on_first_match, predicates, states })
    }

    /// The names in the order of the configuration, and behind them those within composites. [`Keep::policy`] and
    /// [`Verdict::Vetoed`] are indices into them.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What the scan asks of each span.
    #[must_use]
    pub fn probe(&self) -> &impl Probe {
        &self.predicates
    }

    /// The summary of some spans of one trace: facts of `scan`, which was made of `body` with [`Policies::probe`].
    #[must_use]
    pub fn summary<'a>(&self, facts: impl Iterator<Item = &'a SpanFact> + Clone, scan: &Scan, body: &[u8]) -> Summary {
        let mut summary = Summary::default();
        self.predicates.keys().note(&mut summary, &facts, scan, body);
        facts.for_each(|fact| summary.add(fact));
        summary
    }

    /// The memory that a summary takes beside itself.
    #[must_use]
    pub fn summary_heap_bytes(&self) -> usize {
        self.predicates.keys().heap_bytes()
    }

    /// The verdict on a trace of which `summary` is all that is known, at `now_ms` of a monotonic clock. Of the policies
    /// that keep it the least strict one is named, and the first of equals. To be asked once of a trace: limits are
    /// charged and policies remember what they said.
    #[must_use]
    pub fn decide(&self, summary: &Summary, trace_id: TraceId, now_ms: u64) -> Verdict {
        let trace = self.trace(summary, trace_id, now_ms);
        let mut survival = Threshold::ALWAYS;
        for veto in &self.vetoes {
            match veto.survives.evaluate(&trace) {
                Some(threshold) => survival = survival.max(threshold),
                None => return Verdict::Vetoed(veto.policy),
            }
        }
        self.vote(&trace, |_| true).map_or(Verdict::Dropped, |keep| Verdict::Kept(surviving(keep, survival)))
    }

    /// The verdict on a trace that more spans cannot change any more: it need not wait. It is the verdict that
    /// [`Policies::decide`] will give once the trace is whole, so a policy that is listed earlier and might still
    /// prove itself holds it back, and so does one that might still drop it.
    #[must_use]
    #[inline]
    pub fn proven(&self, summary: &Summary) -> Option<Keep> {
        let prover = self.voters.get(self.prover?)?;
        let is_proven = prover.is_settled(summary) && self.vetoes.iter().all(|veto| veto.survives.is_settled(summary));
        is_proven.then_some(Keep::new(prover.policy, Threshold::ALWAYS))
    }

    /// The verdict on a trace that was dropped, after late spans came. Policies that remember other traces are not asked
    /// again; the others are, and a trace that they keep is kept as if the spans had come in time.
    #[must_use]
    pub fn rescue(&self, summary: &Summary, trace_id: TraceId) -> Option<Keep> {
        let trace = self.trace(summary, trace_id, 0);
        let survival = self.lasting_survival(&trace)?;
        self.vote(&trace, |voter| !voter.is_stateful()).map(|keep| rescued(surviving(keep, survival)))
    }

    /// The verdict on late spans of a dropped trace whose other spans are gone: only what these spans prove alone
    /// counts.
    #[must_use]
    pub fn evidence(&self, summary: &Summary, trace_id: TraceId) -> Option<Keep> {
        let trace = self.trace(summary, trace_id, 0);
        let survival = self.lasting_survival(&trace)?;
        let voter = self.voters.iter().find(|voter| voter.is_settled(summary))?;
        Some(rescued(surviving(Keep::new(voter.policy, Threshold::ALWAYS), survival)))
    }

    /// The verdict on late spans of a kept trace: that of the trace, unless they prove alone that it would have been kept
    /// more certainly. It counts for less traces then. If it did not, it would count for those that the ratio dropped, which
    /// the same proof rescues, and each of which counts for itself.
    #[must_use]
    #[inline]
    pub fn amended(&self, keep: Keep, summary: &Summary, trace_id: TraceId) -> Keep {
        if keep.threshold == Threshold::ALWAYS {
            return keep;
        }
        match self.evidence(summary, trace_id) {
            Some(proof) if proof.threshold < keep.threshold => {
                Keep { policy: proof.policy, threshold: proof.threshold, ..keep }
            }
            _ => keep,
        }
    }

    /// `spans` spans were kept, by whatever policy: they are charged to the budgets.
    pub fn kept(&self, spans: u32, now_ms: u64) {
        self.states.iter().for_each(|state| state.kept(spans, now_ms));
    }

    /// The most bytes that policies take for what they remember of other traces.
    #[must_use]
    pub fn state_bytes_max(&self) -> usize {
        self.states.iter().map(State::bytes_max).sum()
    }

    /// Spans that a month exports at the present pace; `None` without a budget, as nobody counts then.
    #[must_use]
    pub fn month_estimate(&self, now_ms: u64) -> Option<f64> {
        self.states.iter().find_map(|state| state.month_estimate(now_ms))
    }

    fn trace<'a>(&'a self, summary: &'a Summary, trace_id: TraceId, now_ms: u64) -> Trace<'a> {
        Trace { summary, randomness: summary.randomness(trace_id), now_ms, states: &self.states }
    }

    /// The threshold at which the trace survives all policies of type `drop` that need not be asked but once; `None` if
    /// it does not.
    fn lasting_survival(&self, trace: &Trace<'_>) -> Option<Threshold> {
        let lasting = self.vetoes.iter().filter(|veto| !veto.survives.is_stateful());
        lasting
            .map(|veto| veto.survives.evaluate(trace))
            .try_fold(Threshold::ALWAYS, |so_far, threshold| threshold.map(|threshold| threshold.max(so_far)))
    }

    /// What the voters that may be `asked` say of a trace.
    fn vote(&self, trace: &Trace<'_>, asked: impl Fn(&Voter) -> bool) -> Option<Keep> {
        let mut best: Option<Keep> = None;
        for voter in self.voters.iter().filter(|voter| asked(voter)) {
            if self.sample_on_first_match && best.is_some() && voter.is_stateful() {
                continue;
            }
            let Some(keep) = voter.vote(trace) else { continue };
            best = Some(match best {
                // The first is named, but what the trace stands for follows from all that would keep it.
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

/// A trace that must be kept and must survive is as strict as the stricter of the two.
fn surviving(keep: Keep, survival: Threshold) -> Keep {
    Keep { threshold: keep.threshold.max(survival), ..keep }
}

fn rescued(keep: Keep) -> Keep {
    Keep { rescued: true, ..keep }
}
