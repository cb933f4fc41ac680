//! Actions of the Collector's resource processor, with its keys (opentelemetry-collector-contrib
//! `internal/coreinternal/attraction`), and our own keys.

use super::{ActionType, AttributeAction, ConvertedType, Keys, LiteralValue, ValueSource};
use crate::condition::ottl::resource_condition;
use crate::condition::{Pattern, settings};
use crate::settings::diagnostic::{SettingError, quote};
use crate::settings::keys;
use crate::settings::kinds::{ATTRIBUTE_KEY, ByHand, Choice, ScalarKind as _};
use crate::settings::node::{Node, NodeValue, ScalarNode, ScalarType};
use crate::settings::reader::Section;
use crate::settings::setting::{Preset, Shape};
use crate::settings::values::{self, Read};

/// Bytes of a string value (Cloud Trace quotas, "Trace API v2": attribute values).
const VALUE_BYTES_MAX: usize = 65_532;

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

keys! {
    pub(super) fn describe;
    /// The attribute.
    key: ByHand::like(&ATTRIBUTE_KEY).or(Preset::Words("required, but see `pattern`"));
    /// `insert` sets the attribute if it is absent, `update` if it is present, `upsert` always; `delete` removes it; `hash`
    /// replaces its value by the SHA-256 in hex; `extract` sets an attribute for each named group of `pattern`; `convert`
    /// converts it to another type. In lower or upper case.
    action: ByHand::of(Shape::AnyCase(VERBS.iter().map(|(name, _)| *name).collect())).required();
    /// An OTTL condition for the resources that the action applies to: `service.name == "shop"`,
    /// `IsMatch(service.name, "^batch-") and region != nil`. See `docs/ottl.md`.
    condition as "where": ByHand::of(Shape::Text("string"));
    /// For `delete` and `hash`: attributes whose keys it matches, beside or in place of `key`. For `extract`: required,
    /// with a name for each group: `^/(?P<version>v[0-9]+)/`.
    pattern: ByHand::of(Shape::Text("regular expression"));
    /// For `convert`: `string`, `int` or `double`. A value that cannot be converted stays as it is.
    converted_type: ByHand::like(&TYPE);
    /// The new value, of its YAML type: quotes make a string; lists and sections become lists and maps. At most 65532 bytes
    /// of text, Cloud Trace's limit.
    value: ByHand::of(Shape::Any);
    /// The attribute that has the new value; if it is absent and there is no `default_value`, the action does nothing. For
    /// `insert`, `update` and `upsert` exactly one of this key and `value` is required. The Collector's `from_context` is an
    /// error, because requests are not kept with their metadata.
    from_attribute: ByHand::like(&ATTRIBUTE_KEY);
    /// The new value where the attribute of `from_attribute` is absent. It may also stand without `from_attribute`. Like
    /// `value`.
    default_value: ByHand::of(Shape::Any);
}

const TYPE: Choice<ConvertedType> = Choice::of("type", &CONVERTED_TYPES);

/// The operands of actions.
const OPERANDS: [&str; 5] = ["value", "from_attribute", "default_value", "pattern", "converted_type"];

/// Reads one action.
pub(super) fn action(mut section: Section<'_>) -> Option<AttributeAction> {
    section.refuse_unknown(&["from_context"]);
    if let Some((at, _)) = section.entry("from_context") {
        let fault =
            SettingError::new("`from_context` has no effect here: requests are not kept with what they came with");
        section.error(at, fault.help("let the sender set an attribute, and use `from_attribute`"));
    }
    let verb = section.require("action", |node| values::choice_in_any_case(node, "action", &VERBS))?;
    let condition = match section.has("where") {
        true => {
            let (_, node) = section.entry("where")?;
            Some(settings::condition(&mut section, node, resource_condition)?)
        }
        false => None,
    };
    Some(AttributeAction { condition, action: action_of(&mut section, verb)? })
}

fn action_of(section: &mut Section<'_>, verb: Verb) -> Option<ActionType> {
    let operands: &[&str] = match verb {
        Verb::Insert | Verb::Update | Verb::Upsert => &["value", "from_attribute", "default_value"],
        Verb::Delete | Verb::Hash | Verb::Extract => &["pattern"],
        Verb::Convert => &["converted_type"],
    };
    refuse_other_operands(section, verb, operands);
    Some(match verb {
        Verb::Insert => value_of_key(section, |key, source| ActionType::Insert { key, source })?,
        Verb::Update => value_of_key(section, |key, source| ActionType::Update { key, source })?,
        Verb::Upsert => value_of_key(section, |key, source| ActionType::Upsert { key, source })?,
        Verb::Delete => ActionType::Delete(keys(section)?),
        Verb::Hash => ActionType::Hash(keys(section)?),
        Verb::Extract => {
            let key = section.require("key", values::attribute_key);
            ActionType::Extract { pattern: section.require("pattern", named_groups)?, key: key? }
        }
        Verb::Convert => {
            let key = section.require("key", values::attribute_key);
            let to = |node: &Node| TYPE.read(node);
            ActionType::Convert { to: section.require("converted_type", to)?, key: key? }
        }
    })
}

fn value_of_key(section: &mut Section<'_>, action: fn(String, ValueSource) -> ActionType) -> Option<ActionType> {
    let key = section.require("key", values::attribute_key);
    let source = source(section);
    Some(action(key?, source?))
}

/// Reports operands of another action, because they show a mistake.
fn refuse_other_operands(section: &mut Section<'_>, verb: Verb, operands: &[&str]) {
    let name = VERBS.iter().find(|(_, known)| *known == verb).map_or("", |(name, _)| name);
    for key in OPERANDS.iter().filter(|key| !operands.contains(key)) {
        if let Some((at, _)) = section.entry(key) {
            section.error(at, SettingError::new(format!("`{name}` takes no `{key}`")).help("remove it"));
        }
    }
}

/// Reads a key, a pattern of keys, or both.
fn keys(section: &mut Section<'_>) -> Option<Keys> {
    if !section.has("key") && !section.has("pattern") {
        let fault = SettingError::new("the action has neither `key` nor `pattern`");
        section.error(section.at(), fault.help("add one of the two"));
        return None;
    }
    let key = section.read("key", values::attribute_key);
    let pattern = section.read("pattern", settings::pattern);
    (key.is_some() == section.has("key") && pattern.is_some() == section.has("pattern"))
        .then_some(Keys { key, pattern })
}

/// Reads `value`, or `from_attribute` with an optional `default_value`, or `default_value` alone.
fn source(section: &mut Section<'_>) -> Option<ValueSource> {
    let default = section.read("default_value", attribute_value);
    if default.is_none() && section.has("default_value") {
        return None;
    }
    match (section.has("value"), section.entry("from_attribute")) {
        (true, Some((at, _))) => {
            section.error(at, SettingError::new("`from_attribute` beside `value`").help("keep one of the two"));
            None
        }
        (false, None) if !section.has("from_attribute") => {
            if default.is_none() {
                let fault = SettingError::new("the action has neither `value` nor `from_attribute`");
                section.error(section.at(), fault.help("add one of the two"));
            }
            default.map(ValueSource::Value)
        }
        (true, None) => {
            if let Some((at, _)) = section.entry("default_value") {
                let fault = SettingError::new("`default_value` has no effect beside `value`");
                section.warn(at, fault.help("remove it, or write `from_attribute` in place of `value`"));
            }
            section.read("value", attribute_value).map(ValueSource::Value)
        }
        (false, _) => {
            let key = section.read("from_attribute", values::attribute_key)?;
            Some(ValueSource::FromAttribute { key, default })
        }
    }
}

/// Reads a regular expression with groups, all of which have names.
fn named_groups(node: &Node) -> Read<Pattern> {
    let pattern = settings::pattern(node)?;
    let names: Vec<_> = pattern.groups().collect();
    if names.is_empty() || names.contains(&None) {
        let fault = SettingError::new("each group of the pattern needs a name, and there must be one");
        return Err(fault.help("write `(?P<name>...)`: the name is the attribute's key; `(?:...)` only groups"));
    }
    Ok(pattern)
}

/// Reads the value of an attribute, by its YAML type.
fn attribute_value(node: &Node) -> Read<LiteralValue> {
    if node.is_null() {
        return Err(values::expected("a value", node));
    }
    let mut text_bytes = 0;
    let value = any_attribute_value(node, &mut text_bytes)?;
    if text_bytes > VALUE_BYTES_MAX {
        return Err(SettingError::new(format!("a value must be at most {VALUE_BYTES_MAX} bytes")));
    }
    Ok(value)
}

/// Reads a value, which may be within another one, and adds the bytes of its texts to `text_bytes`.
fn any_attribute_value(node: &Node, text_bytes: &mut usize) -> Read<LiteralValue> {
    match &node.value {
        NodeValue::Scalar(scalar) => {
            *text_bytes += scalar.text.len();
            simple_attribute_value(scalar)
        }
        NodeValue::Seq(_) => {
            let values = node.items().map(|item| any_attribute_value(item, text_bytes));
            values.collect::<Read<_>>().map(LiteralValue::List)
        }
        NodeValue::Map(entries) => {
            let values = entries.iter().map(|(key, node)| {
                *text_bytes += key.name.len();
                Ok((key.name.clone(), any_attribute_value(node, text_bytes)?))
            });
            values.collect::<Read<_>>().map(LiteralValue::Map)
        }
        NodeValue::Broken => Ok(LiteralValue::Nothing),
    }
}

fn simple_attribute_value(ScalarNode { text, kind, .. }: &ScalarNode) -> Read<LiteralValue> {
    match kind {
        ScalarType::Null => Ok(LiteralValue::Nothing),
        ScalarType::Bool(value) => Ok(LiteralValue::Bool(*value)),
        ScalarType::Int(value) => Ok(LiteralValue::Int(*value)),
        ScalarType::Float(value) if value.is_finite() && text.contains(['.', 'e', 'E']) => {
            Ok(LiteralValue::Double(*value))
        }
        ScalarType::Float(_) => {
            let fault = SettingError::new(format!("{} is a number that cannot be kept as it is", quote(text)));
            Err(fault.help(format!("put it in quotes: {}", quote(&format!("\"{text}\"")))))
        }
        ScalarType::Text => Ok(LiteralValue::String(text.clone())),
    }
}
