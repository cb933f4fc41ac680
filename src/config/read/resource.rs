//! `resource`: the actions of the Collector's resource processor, with its keys
//! (opentelemetry-collector-contrib `internal/coreinternal/attraction`).

use crate::config::limits::ACTION_COUNT;
use crate::config::problem::Fault;
use crate::config::section::Section;
use crate::config::settings::{Action, AttributeAction, Resource, ValueSource};
use crate::config::values;

#[derive(Clone, Copy, PartialEq)]
enum Verb {
    Insert,
    Update,
    Upsert,
    Delete,
}

const VERBS: [(&str, Verb); 4] =
    [("insert", Verb::Insert), ("update", Verb::Update), ("upsert", Verb::Upsert), ("delete", Verb::Delete)];

const UNSUPPORTED_VERBS: [&str; 3] = ["hash", "extract", "convert"];

pub(super) fn resource(mut section: Section<'_>, resource: &mut Resource) {
    for node in section.items("attributes", &ACTION_COUNT).unwrap_or_default() {
        resource.attributes.extend(section.item("attributes", node).and_then(attribute_action));
    }
}

fn attribute_action(mut section: Section<'_>) -> Option<AttributeAction> {
    section.refuse_unknown(&[]);
    let key = section.require("key", values::attribute_key);
    let verb =
        section.require("action", |node| values::supported_choice(node, "action", &VERBS, &UNSUPPORTED_VERBS))?;
    let action = match verb {
        Verb::Delete => delete(&mut section)?,
        Verb::Insert => Action::Insert(source(&mut section)?),
        Verb::Update => Action::Update(source(&mut section)?),
        Verb::Upsert => Action::Upsert(source(&mut section)?),
    };
    Some(AttributeAction { key: key?, action })
}

fn delete(section: &mut Section<'_>) -> Option<Action> {
    for key in ["value", "from_attribute"] {
        if let Some((at, _)) = section.entry(key) {
            section.error(at, Fault::new(format!("`delete` takes no `{key}`")).help("remove it"));
        }
    }
    Some(Action::Delete)
}

/// Exactly one of `value` and `from_attribute`.
fn source(section: &mut Section<'_>) -> Option<ValueSource> {
    match (section.has("value"), section.entry("from_attribute")) {
        (true, Some((at, _))) => {
            section.error(at, Fault::new("`from_attribute` beside `value`").help("keep one of the two"));
            None
        }
        (false, None) if !section.has("from_attribute") => {
            let fault = Fault::new("the action has neither `value` nor `from_attribute`");
            section.error(section.at(), fault.help("add one of the two"));
            None
        }
        (true, None) => section.read("value", values::attribute_value).map(ValueSource::Value),
        (false, _) => section.read("from_attribute", values::attribute_key).map(ValueSource::FromAttribute),
    }
}
