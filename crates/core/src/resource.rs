//! Rewriting of resource attributes, as the Collector's resource processor does it
//! (opentelemetry-collector-contrib `internal/coreinternal/attraction`).
//!
//! A resource is rewritten once for each distinct resource, not for each span. First, keys of old conventions get their
//! present names. Then detected attributes are added. Then the actions are applied in the order of the configuration.

mod attributes;
pub mod cache;
mod conventions;
mod project;
pub mod settings;
#[cfg(test)]
mod tests;
mod value;

use std::sync::Arc;

use self::settings::{ActionType, AttributeAction, Keys, ValueSource};
use crate::condition::formula::FieldSource;
use crate::condition::{Condition, Field, Pattern, Test};
use crate::otlp::view::AnyValue;
use crate::replaceable::{Replaceable, Seen};

pub use self::attributes::{ATTRIBUTES_MAX, ResourceAttributes};
pub use self::conventions::span_keys;

/// The configured actions, ready to be applied to resources.
#[derive(Clone, Debug, Default)]
pub struct Rewriter {
    normalize: bool,
    /// Keys and encoded `AnyValue` messages. They are set in resources that do not have the key.
    detected: Vec<(String, Vec<u8>)>,
    actions: Vec<AttributeAction>,
}

impl Rewriter {
    /// Creates a rewriter that applies the actions of `settings` in order. `detected` has attributes that describe
    /// where the daemon runs, as `(key, value)`. They are added to resources that lack them.
    #[must_use]
    pub fn new(settings: &settings::ResourceSettings, detected: &[(&str, String)]) -> Self {
        let detected = detected.iter().map(|(key, text)| ((*key).to_owned(), value::string(text)));
        Rewriter {
            normalize: settings.normalize != settings::Normalize::Off,
            detected: detected.collect(),
            actions: settings.attributes.clone(),
        }
    }

    /// Returns the rewritten attributes of `resource`, an encoded `Resource` message.
    #[must_use]
    pub fn rewrite(&self, resource: &[u8]) -> ResourceAttributes {
        let mut attributes = ResourceAttributes::read(resource);
        if self.normalize {
            conventions::normalize(&mut attributes);
        }
        for (key, value) in &self.detected {
            if attributes.get(key).is_none() {
                attributes.set(key.as_bytes(), value.clone());
            }
        }
        for AttributeAction { condition, action } in &self.actions {
            if condition.as_ref().is_none_or(|condition| holds(condition, &attributes)) {
                apply(action, &mut attributes);
            }
        }
        attributes
    }
}

/// A rewriter whose actions can be replaced while encoders use it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct SharedRewriter(Arc<Replaceable<Rewriter>>);

impl From<Rewriter> for SharedRewriter {
    fn from(rewriter: Rewriter) -> Self {
        SharedRewriter(Arc::new(Replaceable::new(rewriter)))
    }
}

impl SharedRewriter {
    /// Puts other actions in force if they differ. Detected attributes and `normalize` stay.
    pub fn replace(&self, actions: &[AttributeAction]) {
        self.0.replace(|rewriter| {
            let differs = rewriter.actions != actions;
            differs.then(|| Rewriter { actions: actions.to_vec(), ..Rewriter::clone(rewriter) })
        });
    }

    /// Returns a user of the rewriter.
    #[must_use]
    pub fn user(&self) -> RewriterUser {
        RewriterUser { shared: self.clone(), seen: self.0.see() }
    }
}

/// A user of a [`SharedRewriter`], with the rewriter as it last saw it.
#[derive(Debug)]
pub struct RewriterUser {
    shared: SharedRewriter,
    seen: Seen<Rewriter>,
}

impl RewriterUser {
    /// Takes up the present actions. Returns true if they have changed: resources that were rewritten before are then
    /// out of date.
    #[inline]
    pub fn refresh(&mut self) -> bool {
        self.shared.0.refresh(&mut self.seen)
    }

    /// Returns the rewriter.
    #[must_use]
    pub fn get(&self) -> &Rewriter {
        &self.seen
    }
}

/// Returns true if `condition` holds for a resource. A resource has only attributes, so tests of other fields fail.
fn holds(condition: &Condition, attributes: &ResourceAttributes) -> bool {
    match condition {
        Condition::Constant(value) => *value,
        Condition::Test(Test { field: Field::ResourceAttribute(key) | Field::Attribute(key), check }) => {
            attributes.get(key).is_some_and(|value| check.passes(value))
        }
        Condition::Formula(formula) => formula.holds(attributes),
        Condition::Test(_) | Condition::AnyEvent(_) => false,
        Condition::Not(other) => !holds(other, attributes),
        Condition::All(parts) => parts.iter().all(|part| holds(part, attributes)),
        Condition::Any(parts) => parts.iter().any(|part| holds(part, attributes)),
    }
}

impl FieldSource for ResourceAttributes {
    fn value(&self, field: &Field) -> AnyValue<'_> {
        match field {
            Field::ResourceAttribute(key) => self.get(key).unwrap_or(AnyValue::Empty),
            _ => AnyValue::Empty,
        }
    }
}

fn apply(action: &ActionType, attributes: &mut ResourceAttributes) {
    match action {
        ActionType::Insert { key, source } => set(key, source, attributes, |present| !present),
        ActionType::Update { key, source } => set(key, source, attributes, |present| present),
        ActionType::Upsert { key, source } => set(key, source, attributes, |_| true),
        ActionType::Delete(keys) => attributes.remove_where(|key| is_meant(keys, key)),
        ActionType::Hash(keys) => {
            attributes.change_where(|key| is_meant(keys, key), |value| Some(value::hashed(value)));
        }
        ActionType::Extract { key, pattern } => extract(key, pattern, attributes),
        ActionType::Convert { key, to } => {
            attributes.change_where(|found| found == key.as_bytes(), |value| value::converted(value, *to));
        }
    }
}

/// Sets `key` if `wanted` returns true. Its argument says if the key is present. Does nothing if the value comes from
/// an attribute that is absent and has no default.
fn set(key: &str, source: &ValueSource, attributes: &mut ResourceAttributes, wanted: impl Fn(bool) -> bool) {
    let value = match source {
        ValueSource::Value(literal) => Some(value::literal(literal)),
        ValueSource::FromAttribute { key, default } => {
            let sent = attributes.raw(key.as_bytes()).map(<[u8]>::to_vec);
            sent.or_else(|| default.as_ref().map(value::literal))
        }
    };
    if let Some(value) = value.filter(|_| wanted(attributes.get(key).is_some())) {
        attributes.set(key.as_bytes(), value);
    }
}

/// Returns true if `keys` names `key`, or if its pattern matches `key`.
fn is_meant(keys: &Keys, key: &[u8]) -> bool {
    let is_named = keys.key.as_ref().is_some_and(|named| named.as_bytes() == key);
    is_named || keys.pattern.as_ref().is_some_and(|pattern| pattern.is_match(key))
}

/// Sets an attribute for each named group of the pattern if the pattern matches the value of `key`, a string. A group
/// that takes no part in the match becomes an empty string.
fn extract(key: &str, pattern: &Pattern, attributes: &mut ResourceAttributes) {
    let Some(AnyValue::String(text)) = attributes.get(key) else { return };
    let Some(parts) = pattern.captures(text) else { return };
    let parts: Vec<_> = parts.into_iter().map(|(name, part)| (name, value::bytes_as_string(&part))).collect();
    for (name, value) in parts {
        attributes.set(name.as_bytes(), value);
    }
}
