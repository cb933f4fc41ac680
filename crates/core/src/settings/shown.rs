//! The settings in force, as text, with the origin of each.

use super::node::{Node, NodeValue, ScalarNode};
use super::setting::{Preset, Setting, Shape};
use super::suggest::join;

/// The text in the place of a secret.
const MASK: &str = "***";

/// A setting that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownSetting {
    /// The path of its key; `[0]` stands for the first item of a list.
    pub key: String,
    /// Its value.
    pub value: ShownValue,
    /// The origin of the value.
    pub origin: Origin,
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShownValue {
    /// No value: the feature is off, or the daemon finds the value out at the start.
    Nothing,
    /// True or false.
    Bool(bool),
    /// A number in decimal digits.
    Number(String),
    /// Another value as it could be written.
    Text(String),
    /// A list of values as they could be written.
    List(Vec<String>),
}

/// The origin of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is not written, so it has its default.
    Default,
    /// It is written on this line of the file.
    File(usize),
    /// It is written on this line of the file, and part of it comes from the environment.
    Environment(usize),
}

impl Origin {
    fn of(node: Option<&Node>) -> Self {
        let Some(node) = node else { return Origin::Default };
        let is_expanded = match &node.value {
            NodeValue::Scalar(ScalarNode { is_from_environment, .. }) => *is_from_environment,
            NodeValue::Seq(items) => items.iter().any(|item| matches!(Origin::of(Some(item)), Origin::Environment(_))),
            NodeValue::Map(_) | NodeValue::Broken => false,
        };
        if is_expanded { Origin::Environment(node.at.line) } else { Origin::File(node.at.line) }
    }
}

/// The place to which the settings of one section are added.
pub struct ShownSection<'a> {
    declared: &'a [Setting],
    path: String,
    node: Option<&'a Node>,
    out: &'a mut Vec<ShownSetting>,
}

impl<'a> ShownSection<'a> {
    /// Returns the top level of a configuration, whose settings are added to `out`.
    pub fn top(declared: &'a [Setting], root: Option<&'a Node>, out: &'a mut Vec<ShownSetting>) -> Self {
        ShownSection { declared, path: String::new(), node: root, out }
    }

    /// Returns the place of the key `name`.
    pub fn at(&mut self, name: &str) -> ShownKey<'_> {
        let node = self.node.and_then(|node| node.find(&[name]));
        ShownKey { declared: self.declared, path: join(&self.path, name), node, out: self.out }
    }

    /// Adds the keys that are written and not in `names`.
    pub fn others(&mut self, names: &[&str]) {
        let Some(NodeValue::Map(entries)) = self.node.map(|node| &node.value) else { return };
        for (key, _) in entries.iter().filter(|(key, _)| !names.contains(&key.name.as_str())) {
            self.at(&key.name).written();
        }
    }
}

/// The place of one setting.
pub struct ShownKey<'a> {
    declared: &'a [Setting],
    path: String,
    node: Option<&'a Node>,
    out: &'a mut Vec<ShownSetting>,
}

impl<'a> ShownKey<'a> {
    /// Adds a value. `None` stands for one that has no text of its own: it is shown as it is written.
    pub fn value(self, shown: Option<String>) {
        let Some(shown) = shown.filter(|_| !self.is_secret()) else { return self.written() };
        let setting = setting(self.declared, &self.path);
        let value = typed(setting.map(|setting| &setting.shape), unquoted(&shown));
        self.out.push(ShownSetting { key: self.path, value, origin: Origin::of(self.node) });
    }

    /// Adds a list of values, as [`ShownKey::value`] does.
    pub fn list(self, shown: Option<Vec<String>>) {
        let Some(shown) = shown.filter(|_| !self.is_secret()) else { return self.written() };
        let value = ShownValue::List(shown.iter().map(|item| unquoted(item)).collect());
        self.out.push(ShownSetting { key: self.path, value, origin: Origin::of(self.node) });
    }

    /// Adds a section that is off.
    pub fn off(self) {
        self.out.push(ShownSetting { key: self.path, value: ShownValue::Nothing, origin: Origin::of(self.node) });
    }

    /// Returns the section under the key, which is in force, written or not.
    pub fn section(self) -> ShownSection<'a> {
        ShownSection { declared: self.declared, path: self.path, node: self.node, out: self.out }
    }

    /// Adds the value as it is written, or else its default as the reference describes it.
    pub fn written(self) {
        let ShownKey { declared, path, node, out } = self;
        let walk = Walk { declared, out };
        walk.key(&path, &path, node);
    }

    fn is_secret(&self) -> bool {
        setting(self.declared, &self.path).is_some_and(|setting| setting.shape.is_secret())
    }
}

/// Adds values as they are written. `path` is the path that is shown, `declared_path` the one of the declaration.
struct Walk<'a> {
    declared: &'a [Setting],
    out: &'a mut Vec<ShownSetting>,
}

impl Walk<'_> {
    fn key(self, path: &str, declared_path: &str, node: Option<&Node>) {
        let Walk { declared, out } = self;
        let found = setting(declared, declared_path);
        let Some(node) = node else {
            let value = found.map_or(ShownValue::Nothing, of_preset);
            out.push(ShownSetting { key: path.to_owned(), value, origin: Origin::Default });
            return;
        };
        let is_secret = found.is_some_and(|setting| setting.shape.is_secret());
        let inner = found.map_or(declared_path, |setting| of_like(&setting.shape).unwrap_or(declared_path));
        match &node.value {
            NodeValue::Seq(items) if items.iter().all(|item| matches!(item.value, NodeValue::Scalar(_))) => {
                let text = |item: &Node| if is_secret { Some(MASK.to_owned()) } else { scalar(item) };
                let value = ShownValue::List(items.iter().filter_map(|item| text(item)).collect());
                out.push(ShownSetting { key: path.to_owned(), value, origin: Origin::of(Some(node)) });
            }
            NodeValue::Seq(items) => {
                let inner = if inner.ends_with("[]") { inner.to_owned() } else { format!("{inner}[]") };
                for (index, item) in items.iter().enumerate() {
                    Walk { declared, out: &mut *out }.section(&format!("{path}[{index}]"), &inner, item, is_secret);
                }
            }
            NodeValue::Map(_) => Walk { declared, out }.section(path, inner, node, is_secret),
            NodeValue::Scalar(_) | NodeValue::Broken => {
                let shown = if is_secret { Some(MASK.to_owned()) } else { scalar(node) };
                let value = shown.map_or(ShownValue::Nothing, |text| typed(found.map(|found| &found.shape), text));
                out.push(ShownSetting { key: path.to_owned(), value, origin: Origin::of(Some(node)) });
            }
        }
    }

    /// Adds the keys that are written in a section, and the defaults of the other keys that have a single value.
    fn section(self, path: &str, declared_path: &str, node: &Node, is_secret: bool) {
        let Walk { declared, out } = self;
        let NodeValue::Map(entries) = &node.value else {
            return Walk { declared, out }.key(path, declared_path, Some(node));
        };
        for (key, value) in entries {
            let shown = join(path, &key.name);
            if is_secret {
                let origin = Origin::of(Some(value));
                out.push(ShownSetting { key: shown, value: ShownValue::Text(MASK.to_owned()), origin });
            } else {
                let inner = join(declared_path, &key.name);
                Walk { declared, out: &mut *out }.key(&shown, &inner, Some(value));
            }
        }
        let own =
            |setting: &&Setting| setting.path.rsplit_once('.').is_some_and(|(section, _)| section == declared_path);
        for setting in declared.iter().filter(own) {
            let name = setting.path.rsplit('.').next().unwrap_or_default();
            let is_written = entries.iter().any(|(key, _)| key.name == name);
            if let (Preset::Value(_), false) = (&setting.preset, is_written) {
                let value = of_preset(setting);
                out.push(ShownSetting { key: join(path, name), value, origin: Origin::Default });
            }
        }
    }
}

fn setting<'a>(declared: &'a [Setting], path: &str) -> Option<&'a Setting> {
    declared.iter().find(|setting| setting.path == path)
}

/// Returns the path of the keys that a section of this shape borrows.
fn of_like(shape: &Shape) -> Option<&'static str> {
    match shape {
        Shape::Like(path) => Some(path),
        Shape::List(item, ..) => of_like(item),
        _ => None,
    }
}

fn of_preset(setting: &Setting) -> ShownValue {
    match &setting.preset {
        Preset::Value(value) => match value.strip_prefix('[').and_then(|value| value.strip_suffix(']')) {
            Some("") => ShownValue::List(Vec::new()),
            Some(items) => ShownValue::List(items.split(", ").map(unquoted).collect()),
            None => typed(Some(&setting.shape), unquoted(value)),
        },
        Preset::Words(words) => ShownValue::Text((*words).to_owned()),
        Preset::None | Preset::Required | Preset::RequiredByType => ShownValue::Nothing,
    }
}

/// Returns the value of a setting of this shape with this text.
fn typed(shape: Option<&Shape>, text: String) -> ShownValue {
    match shape {
        Some(Shape::OrNothing(shape)) => typed(Some(shape), text),
        Some(Shape::Boolean) => text.to_ascii_lowercase().parse().map_or(ShownValue::Text(text), ShownValue::Bool),
        Some(Shape::Integer(..) | Shape::Number(..) | Shape::Percentage(..)) => {
            let digits = text.replace('_', "");
            let is_decimal = digits.chars().all(|c| c.is_ascii_digit() || "-.".contains(c));
            let is_number = is_decimal && digits.parse::<f64>().is_ok();
            if is_number { ShownValue::Number(digits) } else { ShownValue::Text(text) }
        }
        _ => ShownValue::Text(text),
    }
}

/// Returns the text of a scalar that is not null.
fn scalar(node: &Node) -> Option<String> {
    match &node.value {
        NodeValue::Scalar(ScalarNode { text, .. }) if !node.is_null() => Some(text.clone()),
        _ => None,
    }
}

/// Returns a text without the quotes that the reference puts around some values.
fn unquoted(text: &str) -> String {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).to_owned()
}
