//! Paths to fields (`contexts/ottlspan`, `ottlspanevent`, `ottlscope`, `ottlresource`).

use crate::condition::Field;
use crate::condition::formula::FieldOwner;

use super::grammar::{Expr, ExprNode, PathSegment};
use super::lexer::quote;
use super::value::{FieldView, Measure};
use super::{ConditionContext, OttlError};
use crate::settings::suggest::did_you_mean;

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
const SPAN: [(&str, Field, FieldView); 18] = [
    ("name", Field::Name, FieldView::Text),
    ("kind", Field::Kind, FieldView::Integer),
    ("kind.string", Field::Kind, FieldView::KindText(KINDS)),
    ("kind.deprecated_string", Field::Kind, FieldView::KindText(KINDS_OF_PROTO)),
    ("status.code", Field::StatusCode, FieldView::Integer),
    ("status.message", Field::StatusMessage, FieldView::Text),
    ("trace_state", Field::TraceState, FieldView::Text),
    ("flags", Field::Flags, FieldView::Integer),
    ("start_time", Field::StartTime, FieldView::Time),
    ("end_time", Field::EndTime, FieldView::Time),
    ("start_time_unix_nano", Field::StartTime, FieldView::Integer),
    ("end_time_unix_nano", Field::EndTime, FieldView::Integer),
    ("trace_id", Field::TraceId, FieldView::Id(16)),
    ("trace_id.string", Field::TraceId, FieldView::IdText(16)),
    ("span_id", Field::SpanId, FieldView::Id(8)),
    ("span_id.string", Field::SpanId, FieldView::IdText(8)),
    ("parent_span_id", Field::ParentSpanId, FieldView::Id(8)),
    ("parent_span_id.string", Field::ParentSpanId, FieldView::IdText(8)),
];

/// The paths of a scope that have no keys.
const SCOPE: [(&str, Field, FieldView); 2] =
    [("name", Field::ScopeName, FieldView::Text), ("version", Field::ScopeVersion, FieldView::Text)];

/// The paths of an event that have no keys.
const EVENT: [(&str, Field, FieldView); 3] = [
    ("name", Field::EventName, FieldView::Text),
    ("time", Field::EventTime, FieldView::Time),
    ("time_unix_nano", Field::EventTime, FieldView::Integer),
];

impl FieldOwner {
    /// Returns the owner that the first name of a path stands for.
    fn of_name(name: &str) -> Option<Self> {
        match name {
            "span" => Some(FieldOwner::Span),
            "spanevent" => Some(FieldOwner::Event),
            "scope" | "instrumentation_scope" => Some(FieldOwner::Scope),
            "resource" => Some(FieldOwner::Resource),
            _ => None,
        }
    }

    /// Returns the owner of paths that do not name one.
    fn of_context(context: ConditionContext) -> Self {
        match context {
            ConditionContext::Span => FieldOwner::Span,
            ConditionContext::Event => FieldOwner::Event,
            ConditionContext::Resource => FieldOwner::Resource,
        }
    }

    fn is_seen_from(self, context: ConditionContext) -> bool {
        match context {
            ConditionContext::Span => self != FieldOwner::Event,
            ConditionContext::Event => true,
            ConditionContext::Resource => self == FieldOwner::Resource,
        }
    }

    fn attribute(self, key: &str) -> Field {
        let key = key.to_owned();
        match self {
            FieldOwner::Span => Field::SpanAttribute(key),
            FieldOwner::Event => Field::EventAttribute(key),
            FieldOwner::Scope => Field::ScopeAttribute(key),
            FieldOwner::Resource => Field::ResourceAttribute(key),
        }
    }

    fn fields(self) -> &'static [(&'static str, Field, FieldView)] {
        match self {
            FieldOwner::Span => &SPAN,
            FieldOwner::Event => &EVENT,
            FieldOwner::Scope => &SCOPE,
            FieldOwner::Resource => &[],
        }
    }
}

/// Resolves a path to its field. A key inside of the field's value is an error.
pub(super) fn measure(path: &[PathSegment], offset: usize, context: ConditionContext) -> Result<Measure, OttlError> {
    let (_, measure, keys) = place(path, offset, context)?;
    match keys.first() {
        None => Ok(measure),
        Some(key) => Err(OttlError::new(key.offset, "a key inside an attribute's value").beyond_tests()),
    }
}

/// Resolves a path. Returns the owner, the field, and the keys inside of the field's value.
pub(super) fn place(
    path: &[PathSegment],
    offset: usize,
    context: ConditionContext,
) -> Result<(FieldOwner, Measure, Vec<&Expr>), OttlError> {
    let named = match path {
        [first, _, ..] if first.keys.is_empty() => FieldOwner::of_name(&first.name),
        _ => None,
    };
    let (owner, rest) = named.map_or((FieldOwner::of_context(context), path), |owner| (owner, &path[1..]));
    if !owner.is_seen_from(context) {
        return Err(unseen(path, offset, context));
    }
    let name = dotted(rest);
    let keys: Vec<&Expr> = rest.iter().flat_map(|segment| &segment.keys).collect();
    let measure = match (name.as_str(), keys.as_slice()) {
        ("attributes", [key, inner @ ..]) => {
            let measure = Measure::new(owner.attribute(key_text(key)?), FieldView::Attribute);
            return Ok((owner, measure, inner.to_vec()));
        }
        ("attributes", []) => {
            Err(OttlError::new(offset, "`attributes` needs a key").help("name one: `attributes[\"http.route\"]`"))
        }
        ("trace_state", [key]) if owner == FieldOwner::Span => {
            Ok(Measure::new(Field::TraceStateEntry(key_text(key)?.to_owned()), FieldView::Text))
        }
        (_, [key, ..]) => Err(OttlError::new(key.offset, format!("{} has no keys", quote(&dotted(path))))),
        // A bare key: the documented form of conditions in `where:`.
        (key, []) if context == ConditionContext::Resource && named.is_none() => {
            Ok(Measure::new(owner.attribute(key), FieldView::Attribute))
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

fn dotted(path: &[PathSegment]) -> String {
    path.iter().map(|segment| segment.name.as_str()).collect::<Vec<_>>().join(".")
}

fn key_text(key: &Expr) -> Result<&str, OttlError> {
    match &key.node {
        ExprNode::Text(text) => Ok(text),
        _ => Err(OttlError::new(key.offset, "the key is not a string").help("write it in double quotes")),
    }
}

fn unseen(path: &[PathSegment], offset: usize, context: ConditionContext) -> OttlError {
    let help = match context {
        ConditionContext::Resource => "a condition on a resource can use only the attributes of the resource",
        ConditionContext::Span | ConditionContext::Event => "write conditions on events in the list `spanevent`",
    };
    OttlError::new(offset, format!("{} cannot be used here", quote(&dotted(path)))).help(help)
}

fn unknown(path: &[PathSegment], name: &str, owner: FieldOwner, offset: usize) -> OttlError {
    let error = OttlError::new(offset, format!("unknown path {}", quote(&dotted(path))));
    let known: Vec<&str> = owner.fields().iter().map(|(known, ..)| *known).chain(["attributes[\"key\"]"]).collect();
    match did_you_mean(name, known.iter().copied()) {
        Some(help) => error.help(help),
        None => error.help(format!("known paths are {}", known.join(", "))),
    }
}
