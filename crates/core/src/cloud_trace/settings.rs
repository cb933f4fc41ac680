//! The section `export.attribute_mapping` of the configuration.

use crate::settings::diagnostic::{SettingError, quote};
use crate::settings::kinds::{ATTRIBUTE_KEY, ByHand, Choice, NestedKeys, ScalarKind};
use crate::settings::reader::Section;
use crate::settings::setting::Shape;
use crate::settings::values;
use crate::settings::{Limit, keys};

/// The names of attributes in Cloud Trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeMapping {
    /// The keys that are renamed unless the operator's own pairs have them.
    pub base: BaseMapping,
    /// The operator's own pairs: keys and their names in Cloud Trace.
    pub own: Vec<(String, String)>,
}

/// A set of keys that are renamed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BaseMapping {
    /// No key is renamed.
    None,
    /// The five keys that Google's Go exporter renames.
    #[default]
    Google,
    /// These, and the keys of all ages of the semantic conventions for which the console has a label.
    Console,
}

const BASES: [(&str, BaseMapping); 3] =
    [("none", BaseMapping::None), ("google", BaseMapping::Google), ("console", BaseMapping::Console)];
const BASE: Choice<BaseMapping> = Choice::of("attribute mapping", &BASES);
const PAIRS: Limit<usize> = Limit { min: 0, max: 1024, why: "Cloud Trace keeps 1024 attributes of a span" };

keys! {
    fn mapping_keys;
    /// `google`: the five keys that Google's Go exporter renames. `console`: the HTTP and error keys of all ages of the
    /// semantic conventions get the labels that the Cloud Trace console knows. `none`: no key is renamed.
    base: ByHand::like(&BASE).default("google");
    /// Pairs of your own; they come before those of the base.
    own: NestedKeys(ByHand::list(Shape::Section, &PAIRS).default("[]"), pair_keys);
}

keys! {
    fn pair_keys;
    /// The key as it is sent. Each key may stand once.
    key: ByHand::like(&ATTRIBUTE_KEY).required();
    /// Its name in Cloud Trace.
    replacement: ByHand::like(&ATTRIBUTE_KEY).required();
}

/// Returns the declaration of the mapping: the name of a base, or a section.
pub fn mapping() -> NestedKeys {
    let form = Shape::Either(Box::new(BASE.shape()), Box::new(Shape::Section));
    NestedKeys(ByHand::of(form).default("google"), mapping_keys)
}

/// Reads the mapping under `key`.
pub fn read_mapping(section: &mut Section<'_>, key: &str, mapping: &mut AttributeMapping) {
    if section.entry(key).is_some_and(|(_, node)| node.is_scalar()) {
        return section.set(key, &mut mapping.base, |node| BASE.read(node));
    }
    let Some(mut section) = section.section(key) else { return };
    section.set("base", &mut mapping.base, |node| BASE.read(node));
    for node in section.items("own", &PAIRS).unwrap_or_default() {
        let pair = section.item("own", node).and_then(read_pair);
        if let Some((key, _)) = pair.as_ref().filter(|(key, _)| mapping.own.iter().any(|(known, _)| known == key)) {
            section
                .error(node.at, SettingError::new(format!("the key {} is given twice", quote(key))).help("keep one"));
        }
        mapping.own.extend(pair);
    }
}

fn read_pair(mut section: Section<'_>) -> Option<(String, String)> {
    section.refuse_unknown(&[]);
    let key = section.require("key", values::attribute_key);
    let replacement = section.require("replacement", values::attribute_key);
    key.zip(replacement)
}
