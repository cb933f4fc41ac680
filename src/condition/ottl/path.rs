//! Paths to fields (`contexts/ottlspan`, `ottlspanevent`, `ottlscope`, `ottlresource`).

use crate::condition::Field;
use crate::condition::formula::Owner;

use super::grammar::{Expr, Node, Segment};
use super::lexer::quote;
use super::value::{Measure, View};
use super::{Context, OttlError};

/// The names of span kinds in `kind.string`: `SpanKind.String()` of the Collector's pdata.
const KINDS: [&str; 6] = ["Unspecified", "Internal", "Server", "Client", "Producer", "Consumer"];

/// The names of span kinds in `kind.deprecated_string`: those of `trace.proto`.
const KINDS_OF_PROTO: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

/// The enum names of the span contexts, with their values.
const ENUMS: [(&str, i64); 9] = [
    ("STATUS_CODE_UNSET", 0),
    ("STATUS_CODE_OK", 1),
    ("STATUS_CODE_ERROR", 2),
    ("SPAN_KIND_UNSPECIFIED", 0),
    ("SPAN_KIND_INTERNAL", 1),
    ("SPAN_KIND_SERVER", 2),
    ("SPAN_KIND_CLIENT", 3),
    ("SPAN_KIND_PRODUCER", 4),
    ("SPAN_KIND_CONSUMER", 5),
];

/// The paths of a span that have no keys.
const SPAN: [(&str, Field, View); 18] = [
    ("name", Field::Name, View::Text),
    ("kind", Field::Kind, View::Integer),
    ("kind.string", Field::Kind, View::KindText(KINDS)),
    ("kind.deprecated_string", Field::Kind, View::KindText(KINDS_OF_PROTO)),
    ("status.code", Field::StatusCode, View::Integer),
    ("status.message", Field::StatusMessage, View::Text),
    ("trace_state", Field::TraceState, View::Text),
    ("flags", Field::Flags, View::Integer),
    ("start_time", Field::StartTime, View::Time),
    ("end_time", Field::EndTime, View::Time),
    ("start_time_unix_nano", Field::StartTime, View::Integer),
    ("end_time_unix_nano", Field::EndTime, View::Integer),
    ("trace_id", Field::TraceId, View::Id(16)),
    ("trace_id.string", Field::TraceId, View::IdText(16)),
    ("span_id", Field::SpanId, View::Id(8)),
    ("span_id.string", Field::SpanId, View::IdText(8)),
    ("parent_span_id", Field::ParentSpanId, View::Id(8)),
    ("parent_span_id.string", Field::ParentSpanId, View::IdText(8)),
];

/// The paths of a scope that have no keys.
const SCOPE: [(&str, Field, View); 2] =
    [("name", Field::ScopeName, View::Text), ("version", Field::ScopeVersion, View::Text)];

/// The paths of an event that have no keys.
const EVENT: [(&str, Field, View); 3] = [
    ("name", Field::EventName, View::Text),
    ("time", Field::EventTime, View::Time),
    ("time_unix_nano", Field::EventTime, View::Integer),
];

/// The Jaro-Winkler similarity above which a word is suggested. Such words differ in one or two letters.
const SIMILAR: f64 = 0.85;

impl Owner {
    /// Returns the owner that the first name of a path stands for.
    fn of_name(name: &str) -> Option<Self> {
        match name {
            "span" => Some(Owner::Span),
            "spanevent" => Some(Owner::Event),
            "scope" | "instrumentation_scope" => Some(Owner::Scope),
            "resource" => Some(Owner::Resource),
            _ => None,
        }
    }

    /// Returns the owner of paths that do not name one.
    fn of_context(context: Context) -> Self {
        match context {
            Context::Span => Owner::Span,
            Context::Event => Owner::Event,
            Context::Resource => Owner::Resource,
        }
    }

    fn is_seen_from(self, context: Context) -> bool {
        match context {
            Context::Span => self != Owner::Event,
            Context::Event => true,
            Context::Resource => self == Owner::Resource,
        }
    }

    fn attribute(self, key: &str) -> Field {
        let key = key.to_owned();
        match self {
            Owner::Span => Field::SpanAttribute(key),
            Owner::Event => Field::EventAttribute(key),
            Owner::Scope => Field::ScopeAttribute(key),
            Owner::Resource => Field::ResourceAttribute(key),
        }
    }

    fn fields(self) -> &'static [(&'static str, Field, View)] {
        match self {
            Owner::Span => &SPAN,
            Owner::Event => &EVENT,
            Owner::Scope => &SCOPE,
            Owner::Resource => &[],
        }
    }
}

/// Resolves a path to its field. A key inside of the field's value is an error.
pub(super) fn measure(path: &[Segment], offset: usize, context: Context) -> Result<Measure, OttlError> {
    let (_, measure, keys) = place(path, offset, context)?;
    match keys.first() {
        None => Ok(measure),
        Some(key) => Err(OttlError::new(key.offset, "a key inside an attribute's value").beyond_tests()),
    }
}

/// Resolves a path. Returns the owner, the field, and the keys inside of the field's value.
pub(super) fn place(
    path: &[Segment],
    offset: usize,
    context: Context,
) -> Result<(Owner, Measure, Vec<&Expr>), OttlError> {
    let named = match path {
        [first, _, ..] if first.keys.is_empty() => Owner::of_name(&first.name),
        _ => None,
    };
    let (owner, rest) = named.map_or((Owner::of_context(context), path), |owner| (owner, &path[1..]));
    if !owner.is_seen_from(context) {
        return Err(unseen(path, offset, context));
    }
    let name = dotted(rest);
    let keys: Vec<&Expr> = rest.iter().flat_map(|segment| &segment.keys).collect();
    let measure = match (name.as_str(), keys.as_slice()) {
        ("attributes", [key, inner @ ..]) => {
            let measure = Measure::new(owner.attribute(key_text(key)?), View::Attribute);
            return Ok((owner, measure, inner.to_vec()));
        }
        ("attributes", []) => {
            Err(OttlError::new(offset, "`attributes` needs a key").help("name one: `attributes[\"http.route\"]`"))
        }
        ("trace_state", [key]) if owner == Owner::Span => {
            Ok(Measure::new(Field::TraceStateEntry(key_text(key)?.to_owned()), View::Text))
        }
        (_, [key, ..]) => Err(OttlError::new(key.offset, format!("{} has no keys", quote(&dotted(path))))),
        // A bare key: the documented form of conditions in `where:`.
        (key, []) if context == Context::Resource && named.is_none() => {
            Ok(Measure::new(owner.attribute(key), View::Attribute))
        }
        (name, []) => {
            let field = owner.fields().iter().find(|(known, ..)| *known == name);
            let measure = field.map(|(_, field, view)| Measure::new(field.clone(), *view));
            measure.ok_or_else(|| unknown(path, name, owner, offset))
        }
    };
    Ok((owner, measure?, Vec::new()))
}

pub(super) fn enum_value(name: &str, offset: usize) -> Result<i64, OttlError> {
    let found = ENUMS.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known = ENUMS.map(|(known, _)| known).join(", ");
        OttlError::new(offset, format!("unknown name {}", quote(name))).help(format!("known names are {known}"))
    })
}

fn dotted(path: &[Segment]) -> String {
    path.iter().map(|segment| segment.name.as_str()).collect::<Vec<_>>().join(".")
}

fn key_text(key: &Expr) -> Result<&str, OttlError> {
    match &key.node {
        Node::Text(text) => Ok(text),
        _ => Err(OttlError::new(key.offset, "the key is not a string").help("write it in double quotes")),
    }
}

fn unseen(path: &[Segment], offset: usize, context: Context) -> OttlError {
    let help = match context {
        Context::Resource => "a condition on a resource can use only the attributes of the resource",
        Context::Span | Context::Event => "write conditions on events in the list `spanevent`",
    };
    OttlError::new(offset, format!("{} cannot be used here", quote(&dotted(path)))).help(help)
}

fn unknown(path: &[Segment], name: &str, owner: Owner, offset: usize) -> OttlError {
    let error = OttlError::new(offset, format!("unknown path {}", quote(&dotted(path))));
    let known: Vec<&str> = owner.fields().iter().map(|(known, ..)| *known).chain(["attributes[\"key\"]"]).collect();
    match closest(name, &known) {
        Some(closest) => error.help(format!("did you mean `{closest}`?")),
        None => error.help(format!("known paths are {}", known.join(", "))),
    }
}

/// Returns the known word that the operator probably meant.
pub(super) fn closest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let similar = known.iter().map(|known| (strsim::jaro_winkler(word, known), *known));
    similar.filter(|(score, _)| *score > SIMILAR).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}
