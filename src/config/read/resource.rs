//! `resource`: the actions of the Collector's resource processor, with its keys
//! (opentelemetry-collector-contrib `internal/coreinternal/attraction`), and ours.

use crate::condition::ottl::resource_condition;
use crate::config::limits::ACTION_COUNT;
use crate::config::settings::{
    Action, AttributeAction, ConvertedType, Detector, Keys, Normalize, Resource, ValueSource,
};
use crate::config::values;
use crate::settings::fault::Fault;
use crate::settings::node::Node;
use crate::settings::reader::Section;

#[derive(Clone, Copy, PartialEq)]
enum Verb {
    Insert,
    Update,
    Upsert,
    Delete,
    Hash,
    Extract,
    Convert,
}

const VERBS: [(&str, Verb); 7] = [
    ("insert", Verb::Insert),
    ("update", Verb::Update),
    ("upsert", Verb::Upsert),
    ("delete", Verb::Delete),
    ("hash", Verb::Hash),
    ("extract", Verb::Extract),
    ("convert", Verb::Convert),
];

const CONVERTED_TYPES: [(&str, ConvertedType); 3] =
    [("string", ConvertedType::String), ("int", ConvertedType::Int), ("double", ConvertedType::Double)];

const DETECTORS: [(&str, Detector); 1] = [("gcp", Detector::Gcp)];

const NORMALIZATIONS: [(&str, Normalize); 3] =
    [("off", Normalize::Off), ("resource", Normalize::Resource), ("span", Normalize::Span)];

/// The keys of an action that say what is done, in the order in which they are missed.
const OPERANDS: [&str; 5] = ["value", "from_attribute", "default_value", "pattern", "converted_type"];

pub(super) fn resource(mut section: Section<'_>, resource: &mut Resource) {
    section.set("detect", &mut resource.detect, |node| values::choice(node, "detector", &DETECTORS).map(Some));
    section.set("normalize", &mut resource.normalize, |node| values::choice(node, "choice", &NORMALIZATIONS));
    for node in section.items("attributes", &ACTION_COUNT).unwrap_or_default() {
        resource.attributes.extend(section.item("attributes", node).and_then(attribute_action));
    }
}

fn attribute_action(mut section: Section<'_>) -> Option<AttributeAction> {
    section.refuse_unknown(&["from_context"]);
    if let Some((at, _)) = section.entry("from_context") {
        let fault = Fault::new("`from_context` has no effect here: requests are not kept with what they came with");
        section.error(at, fault.help("let the sender set an attribute, and use `from_attribute`"));
    }
    let verb = section.require("action", |node| values::choice_in_any_case(node, "action", &VERBS))?;
    let condition = match section.has("where") {
        true => {
            let (_, node) = section.entry("where")?;
            Some(super::ottl::condition(&mut section, node, resource_condition)?)
        }
        false => None,
    };
    Some(AttributeAction { condition, action: action(&mut section, verb)? })
}

fn action(section: &mut Section<'_>, verb: Verb) -> Option<Action> {
    let operands: &[&str] = match verb {
        Verb::Insert | Verb::Update | Verb::Upsert => &["value", "from_attribute", "default_value"],
        Verb::Delete | Verb::Hash | Verb::Extract => &["pattern"],
        Verb::Convert => &["converted_type"],
    };
    refuse_other_operands(section, verb, operands);
    Some(match verb {
        Verb::Insert => value_of_key(section, |key, source| Action::Insert { key, source })?,
        Verb::Update => value_of_key(section, |key, source| Action::Update { key, source })?,
        Verb::Upsert => value_of_key(section, |key, source| Action::Upsert { key, source })?,
        Verb::Delete => Action::Delete(keys(section)?),
        Verb::Hash => Action::Hash(keys(section)?),
        Verb::Extract => {
            let key = section.require("key", values::attribute_key);
            Action::Extract { pattern: section.require("pattern", values::named_groups)?, key: key? }
        }
        Verb::Convert => {
            let key = section.require("key", values::attribute_key);
            let to = |node: &Node| values::choice(node, "type", &CONVERTED_TYPES);
            Action::Convert { to: section.require("converted_type", to)?, key: key? }
        }
    })
}

fn value_of_key(section: &mut Section<'_>, action: fn(String, ValueSource) -> Action) -> Option<Action> {
    let key = section.require("key", values::attribute_key);
    let source = source(section);
    Some(action(key?, source?))
}

/// What belongs to another action says that something else was meant.
fn refuse_other_operands(section: &mut Section<'_>, verb: Verb, operands: &[&str]) {
    let name = VERBS.iter().find(|(_, known)| *known == verb).map_or("", |(name, _)| name);
    for key in OPERANDS.iter().filter(|key| !operands.contains(key)) {
        if let Some((at, _)) = section.entry(key) {
            section.error(at, Fault::new(format!("`{name}` takes no `{key}`")).help("remove it"));
        }
    }
}

/// A key, a pattern of keys, or both.
fn keys(section: &mut Section<'_>) -> Option<Keys> {
    if !section.has("key") && !section.has("pattern") {
        let fault = Fault::new("the action has neither `key` nor `pattern`");
        section.error(section.at(), fault.help("add one of the two"));
        return None;
    }
    let key = section.read("key", values::attribute_key);
    let pattern = section.read("pattern", values::pattern);
    (key.is_some() == section.has("key") && pattern.is_some() == section.has("pattern"))
        .then_some(Keys { key, pattern })
}

/// One of `value` and `from_attribute`, and what stands in for an attribute that is absent; or that alone.
fn source(section: &mut Section<'_>) -> Option<ValueSource> {
    let default = section.read("default_value", values::attribute_value);
    if default.is_none() && section.has("default_value") {
        return None;
    }
    match (section.has("value"), section.entry("from_attribute")) {
        (true, Some((at, _))) => {
            section.error(at, Fault::new("`from_attribute` beside `value`").help("keep one of the two"));
            None
        }
        (false, None) if !section.has("from_attribute") => {
            if default.is_none() {
                let fault = Fault::new("the action has neither `value` nor `from_attribute`");
                section.error(section.at(), fault.help("add one of the two"));
            }
            default.map(ValueSource::Value)
        }
        (true, None) => {
            if let Some((at, _)) = section.entry("default_value") {
                let fault = Fault::new("`default_value` has no effect beside `value`");
                section.warn(at, fault.help("remove it, or write `from_attribute` in place of `value`"));
            }
            section.read("value", values::attribute_value).map(ValueSource::Value)
        }
        (false, _) => {
            let key = section.read("from_attribute", values::attribute_key)?;
            Some(ValueSource::FromAttribute { key, default })
        }
    }
}
