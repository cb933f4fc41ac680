//! Conditions on spans, compiled. Each condition of a policy is one bit, which the scan of the span's bytes sets.
//!
//! Conditions, and the tests inside them, are elements of one set of bits: the [`Notes`]. A check that passes sets the
//! notes that it proves, so most conditions are settled after the last attribute. The others are evaluated at the end
//! of the span: first checks of its fields, then of its events, then trees of `not` and `all` over the notes that are
//! set.

mod checks;
mod fields;
mod notes;
mod tree;

use self::checks::{AttributeChecks, FieldChecks};
use self::fields::{ResourceSource, ScopeSource, SpanSource};
use self::notes::NoteSet;
use self::tree::Tree;
use super::keys::PolicyKeys;
use crate::condition::formula::{FieldOwner, FieldSource, Formula};
use crate::condition::{Condition, Field, Test};
use crate::otlp::fields::span as span_fields;
use crate::otlp::scan::{Bits, Probe, SpanFields};
use crate::otlp::view::{self, AnyValue, Attributes};
use crate::sampling::settings::TraceKey;

/// The conditions and keys of all policies, ready for the scan.
#[derive(Clone, Debug, Default)]
pub(super) struct Predicates {
    /// The conditions that have a bit, in the order of the bits.
    conditions: Vec<Condition>,
    /// The tests, formulas and [`Condition::AnyEvent`]s inside trees, in the order of their notes, which follow
    /// [`Bits`].
    leaves: Vec<Condition>,
    /// The notes that every span has.
    always: NoteSet,
    resource: AttributeChecks,
    resource_formulas: Formulas,
    scope: Checks,
    span: Checks,
    event: Checks,
    /// Trees that are evaluated for each event with the notes of its span, and the notes that each tree proves.
    event_trees: Vec<(Tree, NoteSet)>,
    /// Trees that are evaluated at the end of a span, and the bits that each tree proves. No tree depends on the result
    /// of another one.
    trees: Vec<(Tree, Bits)>,
    keys: PolicyKeys,
    generation: u16,
}

/// The checks of a scope, a span or an event.
#[derive(Clone, Debug, Default)]
struct Checks {
    attributes: AttributeChecks,
    fields: FieldChecks,
    formulas: Formulas,
}

/// Formulas of one owner, each with the notes that it proves.
#[derive(Clone, Debug, Default)]
struct Formulas(Vec<(Formula, NoteSet)>);

impl Formulas {
    #[inline]
    fn note(&self, source: &impl FieldSource, notes: &mut NoteSet) {
        for (formula, proven) in &self.0 {
            if formula.holds(source) {
                *notes |= *proven;
            }
        }
    }
}

impl Predicates {
    /// Returns the bit of `condition`; `None` if there are more conditions than bits, or more tests inside them than
    /// notes. Equal conditions share a bit.
    pub(super) fn bit(&mut self, condition: &Condition) -> Option<Bits> {
        let known = self.conditions.iter().position(|known| known == condition);
        let index = known.unwrap_or(self.conditions.len());
        let bit = (1 as Bits).checked_shl(index as u32)?;
        if known.is_none() {
            self.conditions.push(condition.clone());
            self.compile(condition, NoteSet::one(index)?)?;
        }
        Some(bit)
    }

    /// Returns the slot of `key` in summaries; `None` if there are more keys than slots. Equal keys share a slot.
    pub(super) fn key(&mut self, key: &TraceKey) -> Option<usize> {
        self.keys.slot(key)
    }

    /// Sets the number of the set of policies.
    pub(super) fn set_generation(&mut self, generation: u16) {
        self.generation = generation;
    }

    /// Returns the keys of all policies.
    pub(super) fn keys(&self) -> &PolicyKeys {
        &self.keys
    }

    /// Compiles `condition`, so that the scan sets the notes `proven` in spans for which it holds.
    fn compile(&mut self, condition: &Condition, proven: NoteSet) -> Option<()> {
        match condition {
            Condition::Constant(true) => self.always |= proven,
            Condition::Constant(false) => {}
            Condition::Test(test) => self.check(test, proven),
            Condition::Formula(formula) => self.formulas(formula.owner).0.push((*formula.clone(), proven)),
            Condition::Any(parts) => parts.iter().try_for_each(|part| self.compile(part, proven))?,
            Condition::AnyEvent(condition) => {
                let tree = self.tree(condition)?;
                self.event_trees.push((tree, proven));
            }
            Condition::Not(_) | Condition::All(_) => {
                let tree = self.tree(condition)?;
                self.trees.push((tree, proven.bits()));
            }
        }
        Some(())
    }

    /// Adds the check of `test`, so that the scan sets the notes `proven` in spans with a value that passes.
    fn check(&mut self, test: &Test, proven: NoteSet) {
        let Test { field, check } = test;
        match field {
            Field::Attribute(key) => {
                self.resource.add(key, check, proven);
                self.span.attributes.add(key, check, proven);
            }
            Field::ResourceAttribute(key) => self.resource.add(key, check, proven),
            Field::ScopeAttribute(key) => self.scope.attributes.add(key, check, proven),
            Field::SpanAttribute(key) => self.span.attributes.add(key, check, proven),
            Field::EventAttribute(key) => self.event.attributes.add(key, check, proven),
            Field::ScopeName | Field::ScopeVersion => self.scope.fields.add(field, check, proven),
            Field::EventName | Field::EventTime => self.event.fields.add(field, check, proven),
            _ => self.span.fields.add(field, check, proven),
        }
    }

    fn formulas(&mut self, owner: FieldOwner) -> &mut Formulas {
        match owner {
            FieldOwner::Resource => &mut self.resource_formulas,
            FieldOwner::Scope => &mut self.scope.formulas,
            FieldOwner::Span => &mut self.span.formulas,
            FieldOwner::Event => &mut self.event.formulas,
        }
    }

    fn tree(&mut self, condition: &Condition) -> Option<Tree> {
        Some(match condition {
            Condition::Constant(value) => Tree::Constant(*value),
            Condition::Test(_) | Condition::AnyEvent(_) | Condition::Formula(_) => Tree::Leaf(self.leaf(condition)?),
            Condition::Not(condition) => Tree::Not(Box::new(self.tree(condition)?)),
            Condition::All(parts) => Tree::All(self.trees(parts)?),
            Condition::Any(parts) => Tree::Any(self.trees(parts)?),
        })
    }

    fn trees(&mut self, parts: &[Condition]) -> Option<Box<[Tree]>> {
        parts.iter().map(|part| self.tree(part)).collect()
    }

    /// Returns the note of a leaf of a tree: a test, a formula or a [`Condition::AnyEvent`]. Equal leaves share a note.
    fn leaf(&mut self, condition: &Condition) -> Option<usize> {
        let known = self.leaves.iter().position(|known| known == condition);
        let index = Bits::BITS as usize + known.unwrap_or(self.leaves.len());
        if known.is_none() {
            let note = NoteSet::one(index)?;
            self.leaves.push(condition.clone());
            self.compile(condition, note)?;
        }
        Some(index)
    }

    /// Returns the notes that the events of the span prove.
    fn events(&self, notes: &NoteSet, span: &SpanFields<'_>) -> NoteSet {
        let mut proven = NoteSet::default();
        for event in view::submessages(span.message, span_fields::EVENTS) {
            let mut notes = *notes;
            for (key, value) in Attributes::of_event(event).iter() {
                self.event.attributes.note(key, value, &mut notes);
            }
            self.event.fields.note(|field| fields::of_event(field, event), &mut notes);
            self.event.formulas.note(&SpanSource { span, event: Some(event) }, &mut notes);
            for (tree, holds) in &self.event_trees {
                if tree.holds(&notes) {
                    proven |= *holds;
                }
            }
        }
        proven
    }
}

impl Probe for Predicates {
    type Notes = NoteSet;

    #[inline]
    fn generation(&self) -> u16 {
        self.generation
    }

    #[inline]
    fn notes(&self) -> NoteSet {
        self.always
    }

    #[inline]
    fn resource_attribute(&self, notes: &mut NoteSet, key: &[u8], value: AnyValue<'_>) {
        self.resource.note(key, value, notes);
    }

    #[inline]
    fn resource(&self, notes: &mut NoteSet, resource: &[u8]) {
        self.resource_formulas.note(&ResourceSource(resource), notes);
    }

    #[inline]
    fn key_attributes(&self) -> usize {
        self.keys.resource_attributes()
    }

    #[inline]
    fn key_attribute(&self, keys: &mut [u64], key: &[u8], value: AnyValue<'_>) {
        self.keys.note_resource_attribute(keys, key, value);
    }

    #[inline]
    fn asks_of_scopes(&self) -> bool {
        !self.scope.fields.is_empty() || !self.scope.attributes.is_empty() || !self.scope.formulas.0.is_empty()
    }

    fn scope(&self, notes: &mut NoteSet, scope: &[u8]) {
        for (key, value) in Attributes::of_scope(scope).iter() {
            self.scope.attributes.note(key, value, notes);
        }
        self.scope.fields.note(|field| fields::of_scope(field, scope), notes);
        self.scope.formulas.note(&ScopeSource(scope), notes);
    }

    #[inline]
    fn span_attribute(&self, notes: &mut NoteSet, key: &[u8], value: AnyValue<'_>) {
        self.span.attributes.note(key, value, notes);
    }

    #[inline]
    fn span(&self, notes: &mut NoteSet, span: &SpanFields<'_>) -> Bits {
        self.span.fields.note(|field| fields::of_span(field, span), notes);
        self.span.formulas.note(&SpanSource { span, event: None }, notes);
        if !self.event_trees.is_empty() {
            *notes |= self.events(notes, span);
        }
        let proven = self.trees.iter().filter(|(tree, _)| tree.holds(notes));
        proven.fold(notes.bits(), |bits, (_, proven)| bits | proven)
    }
}

#[cfg(test)]
mod tests;
