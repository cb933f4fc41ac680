//! The JSON Schema (2020-12) of a configuration, made from the declarations of the modules, for editors.
//!
//! It accepts `${env:NAME}` in place of any value, and everything that the reader accepts with a warning. It does not know
//! rules between keys: `spansieve validate` does.

use serde_json::{Map, Value, json};

use crate::settings::setting::{Preset, Setting, Shape};

/// Returns the schema of a file with the keys in `settings`.
pub(super) fn schema(title: &str, settings: &[Setting]) -> Value {
    let mut schema = section(settings, "");
    if let Value::Object(keywords) = &mut schema {
        keywords.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        keywords.insert("title".into(), json!(title));
        keywords.insert("$defs".into(), definitions());
        if let Some(Value::Object(properties)) = keywords.get_mut("properties")
            && properties.contains_key("export")
        {
            let old_name =
                json!({"$ref": "#/properties/export", "deprecated": true, "description": "Now called `export`."});
            properties.insert("cloud_trace".into(), old_name);
        }
    }
    schema
}

/// Forms that many keys have.
fn definitions() -> Value {
    json!({
        "env": {"type": "string", "pattern": r"\$\{env:"},
        "text": {"type": ["string", "number", "boolean"]},
        "boolean": {"anyOf": [{"type": "boolean"}, {"$ref": "#/$defs/env"}]},
        "grouped": {"type": "string", "pattern": "^[0-9]+(_[0-9]+)+$"},
        "duration": {"anyOf": [
            {"const": 0},
            {"type": "string", "pattern": "^(0|([0-9.]+ *(ns|us|µs|μs|ms|s|m|h) *)+)$"},
            {"$ref": "#/$defs/env"},
        ]},
        "bytes": {"anyOf": [
            {"type": "integer", "minimum": 0},
            {"type": "string", "pattern": "^[0-9.]+ *(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?$"},
            {"$ref": "#/$defs/env"},
        ]},
        "percents": {"type": "string", "pattern": "^[0-9.]+ *%$"},
    })
}

/// Returns the schema of the section at `path`.
fn section(settings: &[Setting], path: &str) -> Value {
    let own = |setting: &&Setting| setting.path.rsplit_once('.').unwrap_or(("", &setting.path)).0 == path;
    let mut properties = Map::new();
    let (mut required, mut by_type) = (Vec::new(), Vec::new());
    for setting in settings.iter().filter(own) {
        let name = setting.path.rsplit('.').next().unwrap_or_default();
        match &setting.preset {
            Preset::Required => required.push(name),
            Preset::RequiredByType => by_type.push(json!({
                "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
                "then": {"required": [name]},
            })),
            Preset::None | Preset::Value(_) | Preset::Words(_) => {}
        }
        properties.insert(name.to_owned(), described(settings, setting));
    }
    let mut schema = json!({"type": ["object", "null"], "additionalProperties": false, "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !by_type.is_empty() {
        schema["allOf"] = json!(by_type);
    }
    schema
}

/// Returns the schema of a key's value, with its text and its default.
fn described(settings: &[Setting], setting: &Setting) -> Value {
    let mut schema = of_shape(settings, &setting.path, &setting.shape);
    if !setting.text.is_empty() {
        schema["description"] = json!(without_links(&setting.text));
    }
    if let Preset::Value(value) = &setting.preset {
        schema["default"] = default(&setting.shape, value);
    }
    schema
}

fn of_shape(settings: &[Setting], path: &str, shape: &Shape) -> Value {
    let or_env = |schema: Value| json!({"anyOf": [schema, {"$ref": "#/$defs/env"}]});
    match shape {
        Shape::Section => section(settings, path),
        Shape::Like(path) => json!({"$ref": pointer(path)}),
        Shape::OwnKeys => json!({"type": ["object", "null"], "additionalProperties": {"$ref": "#/$defs/text"}}),
        Shape::List(item, min, max) => {
            let items = of_shape(settings, &format!("{path}[]"), item);
            json!({"type": ["array", "null"], "items": items, "minItems": min, "maxItems": max})
        }
        Shape::Either(one, other) => {
            json!({"anyOf": [of_shape(settings, path, one), of_shape(settings, path, other)]})
        }
        Shape::Any => json!({}),
        Shape::Boolean => json!({"$ref": "#/$defs/boolean"}),
        Shape::Integer(min, max) => json!({"anyOf": [
            {"type": "integer", "minimum": min, "maximum": max},
            {"$ref": "#/$defs/grouped"},
            {"$ref": "#/$defs/env"},
        ]}),
        Shape::Number(min, max) if *min == f64::MIN && *max == f64::MAX => or_env(json!({"type": "number"})),
        Shape::Number(min, max) => or_env(json!({"type": "number", "minimum": min, "maximum": max})),
        Shape::Percentage(min, max) => json!({"anyOf": [
            {"type": "number", "minimum": min, "maximum": max},
            {"$ref": "#/$defs/percents"},
            {"$ref": "#/$defs/env"},
        ]}),
        Shape::Duration => json!({"$ref": "#/$defs/duration"}),
        Shape::Bytes => json!({"$ref": "#/$defs/bytes"}),
        Shape::Size => json!({"anyOf": [{"$ref": "#/$defs/bytes"}, {"$ref": "#/$defs/percents"}]}),
        Shape::Choice(names) => or_env(json!({"enum": names})),
        Shape::AnyCase(names) => json!({"anyOf": [
            {"enum": names},
            {"type": "string", "pattern": "^[A-Za-z_]*[A-Z][A-Za-z_]*$"},
            {"$ref": "#/$defs/env"},
        ]}),
        Shape::Text(_) => json!({"$ref": "#/$defs/text"}),
        Shape::OrNothing(shape) => json!({"anyOf": [of_shape(settings, path, shape), {"type": "null"}]}),
        Shape::Secret(shape) => of_shape(settings, path, shape),
    }
}

/// Returns the place in the schema of the section at `path`.
fn pointer(path: &str) -> String {
    let steps = path.split('.').map(|step| match step.strip_suffix("[]") {
        Some(name) => format!("properties/{name}/items"),
        None => format!("properties/{step}"),
    });
    format!("#/{}", steps.collect::<Vec<_>>().join("/"))
}

/// Returns a default as it is written as JSON.
fn default(shape: &Shape, value: &str) -> Value {
    match shape {
        Shape::List(..) => {
            let items = value.trim_matches(['[', ']']).split(", ").filter(|item| !item.is_empty());
            items.map(|item| item.trim_matches('"')).collect()
        }
        Shape::Boolean | Shape::Integer(..) | Shape::Number(..) | Shape::Percentage(..) => {
            serde_json::from_str(value).unwrap_or_else(|_| json!(value))
        }
        _ => json!(value.trim_matches('"')),
    }
}

/// Returns Markdown with the words of its links, without their targets.
fn without_links(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        match after.split_once("](").and_then(|(words, after)| Some((words, after.split_once(')')?.1))) {
            Some((words, after)) if !words.contains(['[', '`']) => {
                out.extend([before, words]);
                rest = after;
            }
            _ => {
                out.extend([before, "["]);
                rest = after;
            }
        }
    }
    out + rest
}
