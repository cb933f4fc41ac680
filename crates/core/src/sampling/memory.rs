//! The memory of policies, handed over from one set of policies to the next.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::composite::Allowances;
use super::state::PolicyState;
use crate::sampling::settings::{Policy, Rule};

/// The memory of one policy of the top level, with the rule that it belongs to.
#[derive(Debug)]
pub(super) struct PolicyMemory {
    name: String,
    rule: Rule,
    /// The states of the policy, as a range of all states.
    pub(super) states: Range<usize>,
    allowances: Option<Arc<Mutex<Allowances>>>,
}

/// The memory that a policy takes over from its predecessor.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    /// The states in the order in which the policy is compiled, which is the same for equal rules.
    pub(super) states: std::vec::IntoIter<PolicyState>,
    pub(super) allowances: Option<Arc<Mutex<Allowances>>>,
}

impl PolicyMemory {
    pub(super) fn new(policy: &Policy, states: Range<usize>, allowances: Option<Arc<Mutex<Allowances>>>) -> Self {
        PolicyMemory { name: policy.name.clone(), rule: policy.rule.clone(), states, allowances }
    }

    /// Returns the memory for `policy`, if it has the same name and the same rule. `states` are all states of the set
    /// that this memory belongs to.
    pub(super) fn hand_over(&self, policy: &Policy, states: &[PolicyState]) -> Option<Inherited> {
        let is_same = self.name == policy.name && self.rule == policy.rule;
        let states = states.get(self.states.clone()).filter(|_| is_same)?.to_vec();
        Some(Inherited { states: states.into_iter(), allowances: self.allowances.clone() })
    }
}
